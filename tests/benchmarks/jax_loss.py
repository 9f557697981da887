"""Run by an interpreter that has JAX: `python -m tests.benchmarks.jax_loss ARCHITECTURE FILE`.

Writes a network's weights, a batch, and its loss and gradients as the contender computes them, for a test to compare.
"""

import sys
from typing import Any

import jax
import numpy as np

from benchmarks.contenders import jax_ensemble
from tests.benchmarks.small import small

BETA = 0.7


def main(architecture: str, file: str) -> None:
    jax.config.update("jax_default_matmul_precision", "highest")
    size = small(architecture)
    weights = jax_ensemble._initial(size, jax.random.key(2))
    x = jax.random.uniform(jax.random.key(3), (size.batch_size, *size.image_shape))
    noise = jax.random.normal(jax.random.key(4), (size.batch_size, size.latent_dim))
    loss, gradients = jax.value_and_grad(lambda w: jax_ensemble._loss(size, w, x, noise, BETA))(weights)
    arrays = {"x": x, "noise": noise, "loss": loss}
    for number, (pair, gradient) in enumerate(zip(weights, gradients, strict=True)):
        arrays |= {f"weight {number}": pair[0], f"bias {number}": pair[1]}
        arrays |= {f"weight gradient {number}": gradient[0], f"bias gradient {number}": gradient[1]}
    named: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    np.savez(file, **named)


if __name__ == "__main__":
    main(*sys.argv[1:])
