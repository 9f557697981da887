"""Packs in JAX, written for this race: `vmap` over members, Adam written out, on a GPU `lax.scan` over steps.

The network, loss, batch and sharing of images and noise by the members of one seed are those of the stacked path, β
changing fastest. Products are in full float32 on any device. Runs in an environment that has JAX and need not have
PyTorch. Axis order: `member, batch`, then features; images are `channel, row, column`.

On a CPU each step is a call of its own: inside XLA's loop a convolution is slower there, and a gradient that takes
46 ms outside of it takes 466 ms (transposed convolution, 64 channels to 3, batch 128).
"""

import functools
import itertools
import os
from typing import Any

import numpy as np

from benchmarks.contenders import Task
from benchmarks.sizes import Size, layers
from rdstudy.model.description import KERNEL, PADDING, STRIDE, Convolution, Dense
from rdstudy.study import PAPER_BETAS

_LEARNING_RATE, _DECAY, _SQUARE_DECAY, _EPSILON = 1e-3, 0.9, 0.999, 1e-8


def build(task: Task) -> "Ensemble":
    """Set JAX up before its first import in this process."""
    os.environ["JAX_PLATFORMS"] = task.device
    os.environ["NPROC"] = str(task.threads)  # of the pool that computes
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # others need memory of the device too
    if task.device == "cpu" and task.threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")  # JAX's default on a GPU is TF32
    return Ensemble(task)


class Ensemble:
    """A pack. Implements `benchmarks.contenders.Trainer`."""

    def __init__(self, task: Task) -> None:
        import jax
        import jax.numpy as jnp

        size = task.size
        pairs = list(itertools.islice(itertools.product(range(5), PAPER_BETAS), task.members))
        seed_of_member = jnp.array([seed for seed, _ in pairs])
        beta = jnp.array([beta for _, beta in pairs], dtype=jnp.float32)
        images = jnp.asarray(np.load(task.images))
        of_seed = jax.vmap(lambda key: _initial(size, key))(jax.random.split(jax.random.key(0), pairs[-1][0] + 1))
        weights = jax.tree.map(lambda values: values[seed_of_member], of_seed)
        zeros = jax.tree.map(jnp.zeros_like, weights)
        self._state = (weights, zeros, jax.tree.map(jnp.zeros_like, weights), jnp.zeros((), jnp.int32))
        self._key = jax.random.key(1)
        self.models = len(pairs)
        self.parameter_count = sum(values[0].size for values in jax.tree.leaves(weights))
        gradient = jax.vmap(jax.grad(lambda *arguments: _loss(size, *arguments)))
        seeds = pairs[-1][0] + 1

        def step(state: Any, key: Any) -> tuple[Any, None]:
            index_key, noise_key = jax.random.split(key)
            index = jax.random.randint(index_key, (seeds, size.batch_size), 0, len(images))
            noise = jax.random.normal(noise_key, (seeds, size.batch_size, size.latent_dim))
            x = images[index].astype(jnp.float32) / 255
            return _adam(state, gradient(state[0], x[seed_of_member], noise[seed_of_member], beta)), None

        def train(state: Any, keys: Any) -> Any:
            return jax.lax.scan(step, state, keys)[0] if self._scans else step(state, keys)[0]

        self._scans = task.device == "cuda"
        self._train = jax.jit(train, donate_argnums=0)

    def take_steps(self, steps: int) -> None:
        """Go on where the last call ended. The first call, on a GPU with a number of steps, compiles."""
        import jax

        self._key, key = jax.random.split(self._key)
        keys = jax.random.split(key, steps)
        for drawn in [keys] if self._scans else keys:
            self._state = self._train(self._state, drawn)
        jax.block_until_ready(self._state)


def _initial(size: Size, key: Any) -> list[tuple[Any, Any]]:
    """Weight and bias of each layer, uniform in ±1/sqrt(fan in)."""
    import jax

    weights = []
    for layer, layer_key in zip(layers(size), jax.random.split(key, len(layers(size))), strict=True):
        convolution = isinstance(layer, Convolution)
        shape = (layer.outputs, layer.inputs, *[KERNEL] * 2) if convolution else (layer.inputs, layer.outputs)
        width = (layer.inputs * (KERNEL**2 if convolution else 1)) ** -0.5
        weight_key, bias_key = jax.random.split(layer_key)
        weight = jax.random.uniform(weight_key, shape, minval=-width, maxval=width)
        weights.append((weight, jax.random.uniform(bias_key, (layer.outputs,), minval=-width, maxval=width)))
    return weights


def _loss(size: Size, weights: list[tuple[Any, Any]], x: Any, noise: Any, beta: Any) -> Any:
    """D + β R of one member, averaged over its batch (paper, equation 1)."""
    import jax
    import jax.numpy as jnp

    half = len(weights) // 2
    all_layers = layers(size)
    mean, log_var = jnp.split(_network(all_layers[:half], weights[:half], x), 2, axis=-1)
    z = mean + jnp.exp(0.5 * log_var) * noise
    logits = _network(all_layers[half:], weights[half:], z).reshape(len(x), -1)
    distortion = (jax.nn.softplus(logits) - x.reshape(len(x), -1) * logits).sum()
    rate = 0.5 * (mean**2 + jnp.expm1(log_var) - log_var).sum()
    return (distortion + beta * rate) / len(x)


def _network(layers: tuple[Dense | Convolution, ...], weights: list[tuple[Any, Any]], x: Any) -> Any:
    import jax

    for number, (layer, (weight, bias)) in enumerate(zip(layers, weights, strict=True)):
        if number:
            x = jax.nn.relu(x)
        if isinstance(layer, Convolution):
            x = _convolution(layer, weight, x.reshape(len(x), -1, layer.rows, layer.columns)) + bias[:, None, None]
        else:
            x = x.reshape(len(x), -1) @ weight + bias
    return x


def _convolution(layer: Convolution, weight: Any, x: Any) -> Any:
    """Halve the side, or double it."""
    return _doubling()(x, weight) if layer.transposed else _halve(x, weight)


def _halve(x: Any, weight: Any) -> Any:
    import jax

    return jax.lax.conv_general_dilated(x, weight, (STRIDE, STRIDE), [(PADDING, PADDING)] * 2)


@functools.cache
def _doubling() -> Any:
    """A transposed convolution: over an input spread out with zeros, `weight` `[output, input, row, column]`.

    Its weight gradient is written out as that of the convolution that halves. JAX's own keeps the zeros in, and takes
    27 times as long on a CPU (64 channels, side 8).
    """
    import jax

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def double(x: Any, weight: Any) -> Any:
        border = KERNEL - 1 - PADDING
        return jax.lax.conv_general_dilated(x, weight, (1, 1), [(border, border)] * 2, lhs_dilation=(STRIDE, STRIDE))

    def forward(x: Any, weight: Any) -> tuple[Any, Any]:
        return double(x, weight), (x, weight)

    def backward(kept: Any, gradient: Any) -> tuple[Any, Any]:
        x, weight = kept
        # double is the adjoint of halve with this weight: <double(x), g> = <x, halve(g)>
        x_gradient, pull = jax.vjp(functools.partial(_halve, gradient), _adjoint(weight))
        return x_gradient, _adjoint(pull(x)[0])

    double.defvjp(forward, backward)
    return double


def _adjoint(weight: Any) -> Any:
    """The weight of the convolution that halves, from that of its adjoint that doubles, and back."""
    return weight.swapaxes(0, 1)[..., ::-1, ::-1]


def _adam(state: Any, gradients: Any) -> Any:
    """A step of Adam (Kingma and Ba 2015, algorithm 1) for all members."""
    import jax
    import jax.numpy as jnp

    weights, means, squares, step = state
    step = step + 1
    means = jax.tree.map(lambda mean, g: _DECAY * mean + (1 - _DECAY) * g, means, gradients)
    squares = jax.tree.map(lambda square, g: _SQUARE_DECAY * square + (1 - _SQUARE_DECAY) * g**2, squares, gradients)
    rate, unbias = _LEARNING_RATE / (1 - _DECAY**step), 1 - _SQUARE_DECAY**step
    weights = jax.tree.map(
        lambda w, mean, square: w - rate * mean / (jnp.sqrt(square / unbias) + _EPSILON), weights, means, squares
    )
    return weights, means, squares, step
