"""The kernels of a training step on a GPU, and the least time that a card takes for them.

Each kernel takes the longer of its arithmetic and its traffic, and kernels take turns: their times add. That is the
bound which a step can be held against; that of a whole step, the larger of all arithmetic and all traffic, supposes
that products and everything else are done at the same time, which no step does.

Standard library alone. All counts are of one member and step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rdstudy.model.architectures import describe
from rdstudy.model.description import Convolution, Dense, NetworkCost, NetworkShape
from rdstudy.planning.cards import Card

_NUMBER = 4  # bytes of a float32
_ADAM = 28  # bytes a parameter: weight and two moments read and written, the gradient read
_FUSED_ADAM = 24  # the same where the gradient is still at hand


@dataclass(frozen=True)
class Kernel:
    """What one kernel, or several alike, does for a member."""

    name: str
    traffic: float  # bytes
    operations: float = 0.0
    is_latent: bool = False  # a product that is float32 whatever the precision of the others

    def seconds(self, card: Card, precision: str) -> float:
        """The longer of arithmetic and traffic."""
        rate = card.float32 if self.is_latent else card.rate(precision)
        return max(self.operations / rate, self.traffic / card.bandwidth)


def step_seconds(kernels: Sequence[Kernel], card: Card, precision: str = "float32") -> float:
    """The time of kernels that take turns."""
    return sum(kernel.seconds(card, precision) for kernel in kernels)


def step_kernels(shape: NetworkShape, cost: NetworkCost, batch: int) -> tuple[Kernel, ...]:
    """The kernels of a step with an optimizer of its own, as `rdstudy.training.stacked` takes it.

    Args:
        shape: of the network.
        cost: of the same network: what a step costs where its layers are not described, counted as of one layer.
        batch: images of a step.
    """
    description = describe(shape) if shape.prior == "normal" else None
    if description is None:
        return tuple(_of_cost(cost, batch))
    return tuple(_of_layers(description.layers, shape, batch, images_of=1))


def updated_step_kernels(shape: NetworkShape, batch: int) -> tuple[Kernel, ...]:
    """The kernels of a step where a weight's gradient goes into the optimizer without being stored, and no more.

    Args:
        shape: of a network whose layers are described.
        batch: images of a step.
    """
    description = describe(shape)
    assert description is not None, "its layers are described"
    return tuple(_of_layers(description.layers, shape, batch, images_of=1, has_updates=True))


def fused_step_kernels(shape: NetworkShape, batch: int, *, members_of_seed: int) -> tuple[Kernel, ...]:
    """The kernels of the least step.

    The images of a seed are read once, what is done to each number is done where it is made, and a weight's gradient
    goes into the optimizer without being stored.

    Args:
        shape: of a network whose layers are described.
        batch: images of a step.
        members_of_seed: members that share the images of a batch.
    """
    description = describe(shape)
    assert description is not None, "its layers are described"
    return tuple(_of_layers(description.layers, shape, batch, images_of=members_of_seed, is_fused=True))


def _of_layers(
    layers: Sequence[Dense | Convolution],
    shape: NetworkShape,
    batch: int,
    *,
    images_of: int,
    is_fused: bool = False,
    has_updates: bool = False,
) -> Iterator[Kernel]:
    images = _NUMBER * batch * shape.pixels / images_of
    yield Kernel("images", images + (0 if is_fused else 2 * batch * shape.pixels))  # gathered as bytes
    for at, layer in enumerate(layers):
        yield from _of_layer(
            layer,
            batch,
            read=images if at == 0 else _NUMBER * batch * _inputs(layer),
            is_first=at == 0,
            is_last=at == len(layers) - 1,
            is_latent=isinstance(layer, Dense) and shape.latent_dim in (layer.inputs, layer.outputs / 2),
            is_fused=is_fused,
            has_update=is_fused or has_updates,
        )
    if not is_fused:
        output = _NUMBER * batch * layers[-1].numbers
        yield Kernel("gradient of the output", 2 * output + images)
        yield Kernel("gradient of the last bias", output)
    if not (is_fused or has_updates):
        yield Kernel("Adam", _ADAM * sum(layer.parameters for layer in layers))


def _of_layer(
    layer: Dense | Convolution,
    batch: int,
    *,
    read: float,
    is_first: bool,
    is_last: bool,
    is_latent: bool,
    is_fused: bool,
    has_update: bool,
) -> Iterator[Kernel]:
    """Forward, and backward; `read` bytes come in. Images need no gradient."""
    written, weights = _NUMBER * batch * layer.numbers, _NUMBER * layer.parameters
    operations = 2 * batch * layer.products
    yield Kernel("product", weights + read + written, operations, is_latent)
    if not (is_fused and is_last):
        yield Kernel("bias and ReLU", 2 * written)
    if not is_first:
        yield Kernel("gradient of the input", weights + read + written, operations, is_latent)
    if not is_last:
        yield Kernel("gradient of ReLU and bias", 3 * written)
    of_weight = _FUSED_ADAM * layer.parameters if has_update else weights
    yield Kernel("gradient of the weight", read + written + of_weight, operations, is_latent)


def _inputs(layer: Dense | Convolution) -> int:
    """Numbers that a layer reads of an image."""
    return layer.inputs if isinstance(layer, Dense) else layer.inputs * layer.rows * layer.columns


def _of_cost(cost: NetworkCost, batch: int) -> Iterator[Kernel]:
    weights, numbers = _NUMBER * cost.parameters, _NUMBER * (batch * cost.numbers + cost.fixed_numbers)
    images = _NUMBER * batch * cost.pixels
    yield Kernel("images", images + 2 * batch * cost.pixels)
    yield Kernel("products", 3 * (weights + 2 * numbers + images), cost.step_operations(batch))
    yield Kernel("between products", 5 * numbers + 3 * images)
    yield Kernel("Adam", _ADAM * cost.parameters)
