"""The networks that are timed, layer by layer, and the products that a training step of each cannot do without.

Standard library alone: every lane reads this, in whatever environment it runs. Counts of operations are floating-point
operations, a multiplication and an addition each counted as one.
"""

import itertools
from dataclasses import dataclass

KERNEL, STRIDE, PADDING = 4, 2, 1  # of every convolution (paper, 4.3)


@dataclass(frozen=True)
class Size:
    """A network and a batch. Images are square."""

    name: str
    architecture: str  # mlp or cnn
    depth: int  # hidden layers of the encoder, and of the decoder
    width: int  # hidden units of an MLP layer, channels of a CNN layer
    batch_size: int = 128
    latent_dim: int = 10
    channels: int = 3
    side: int = 32  # pixels

    @property
    def pixels(self) -> int:
        """Numbers in an image."""
        return self.channels * self.side**2

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channel, row, column."""
        return (self.channels, self.side, self.side)

    @property
    def inner_shape(self) -> tuple[int, int, int]:
        """Channel, row, column of the smallest feature map of a CNN."""
        return (self.width, self.side >> self.depth, self.side >> self.depth)

    @property
    def inner(self) -> int:
        """Numbers in the smallest feature map of a CNN."""
        return self.width * (self.side >> self.depth) ** 2


SIZES = {
    size.name: size
    for size in (
        Size("mlp-1", "mlp", depth=1, width=512),
        Size("mlp-3", "mlp", depth=3, width=512),
        Size("cnn-1", "cnn", depth=1, width=64),
        Size("cnn-3", "cnn", depth=3, width=64),
    )
}
"""The smallest and the largest of the paper's networks of each kind, by name."""


@dataclass(frozen=True)
class Linear:
    """A fully connected layer."""

    inputs: int
    outputs: int

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return (self.inputs + 1) * self.outputs

    def operations(self, batch_size: int) -> int:
        """Operations of one of its three products: forward, weight gradient or input gradient."""
        return 2 * batch_size * self.inputs * self.outputs


@dataclass(frozen=True)
class Convolution:
    """A convolution that halves the side of its input, or a transposed one that doubles it."""

    inputs: int  # channels
    outputs: int  # channels
    side: int  # of the input, pixels
    transposed: bool

    @property
    def parameter_count(self) -> int:
        """Weights and biases."""
        return self.inputs * self.outputs * KERNEL**2 + self.outputs

    @property
    def output_side(self) -> int:
        """Side of the output, pixels."""
        return self.side * STRIDE if self.transposed else self.side // STRIDE

    def operations(self, batch_size: int) -> int:
        """Operations of one of its three convolutions, those at the padded border counted in."""
        smaller_side = min(self.side, self.output_side)
        return 2 * batch_size * self.inputs * self.outputs * (KERNEL * smaller_side) ** 2


Layer = Linear | Convolution


def layers(size: Size) -> tuple[Layer, ...]:
    """The layers that have weights, encoder then decoder."""
    if size.architecture == "mlp":
        hidden = [size.width] * size.depth
        encoder = [size.pixels, *hidden, 2 * size.latent_dim]
        decoder = [size.latent_dim, *hidden, size.pixels]
        return tuple(Linear(*pair) for sizes in (encoder, decoder) for pair in itertools.pairwise(sizes))
    channels = [size.channels] + [size.width] * size.depth
    down = [
        Convolution(inputs, outputs, size.side >> level, transposed=False)
        for level, (inputs, outputs) in enumerate(itertools.pairwise(channels))
    ]
    up = [Convolution(layer.outputs, layer.inputs, layer.output_side, transposed=True) for layer in reversed(down)]
    return (*down, Linear(size.inner, 2 * size.latent_dim), Linear(size.latent_dim, size.inner), *up)


def parameter_count(size: Size) -> int:
    """Trained numbers of one network."""
    return sum(layer.parameter_count for layer in layers(size))


def step_operations(size: Size) -> int:
    """Operations in the products of a training step: three a layer, but for the gradient of the images."""
    all_layers = layers(size)
    three_each = sum(3 * layer.operations(size.batch_size) for layer in all_layers)
    return three_each - all_layers[0].operations(size.batch_size)
