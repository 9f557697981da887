"""Networks small enough for a test, with a prime size per axis where there is a choice. Standard library alone."""

import dataclasses

from benchmarks.sizes import Size

TINY_MLP = Size("tiny-mlp", "mlp", depth=1, width=5, batch_size=7, latent_dim=2, channels=3, side=4)
TINY_CNN = dataclasses.replace(TINY_MLP, name="tiny-cnn", architecture="cnn")


def small(architecture: str) -> Size:
    """Three layers."""
    return dataclasses.replace(
        TINY_MLP, name=f"small-{architecture}", architecture=architecture, depth=3, width=11, side=16
    )
