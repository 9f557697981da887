"""What a network is made of, said once: PyTorch builds modules from it, and a plan sums what they cost over it.

Standard library alone: a plan needs no torch. A network is described by the layers of its encoder and its decoder, in
order; the architectures are in `rdstudy.model.architectures`. Counts are those of one image.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rdstudy.study import Cell

KERNEL, STRIDE, PADDING = 4, 2, 1
"""Of every convolution: it halves an image's side exactly (paper, 4.3)."""


class NetworkShape(NamedTuple):  # looked up so often that the hash of a dataclass is felt
    """What fixes the shapes of all tensors of a network."""

    architecture: str  # a level of this factor
    depth: int  # hidden layers of the encoder, and of the decoder; a linear VAE has none, whatever stands here
    width: int  # hidden units of an MLP layer, channels of a CNN layer
    latent_dim: int
    image_shape: tuple[int, int, int]  # channel, row, column
    prior: str = "normal"  # a level of this factor
    likelihood: str = "bernoulli"  # a level of this factor

    @classmethod
    def of(cls, cell: Cell, image_shape: tuple[int, int, int]) -> "NetworkShape":
        """The network of a member, for images of `channel, row, column`."""
        names = ("architecture", "depth", "width", "latent_dim", "prior", "likelihood")
        return cls(image_shape=image_shape, **{name: getattr(cell, name) for name in names})

    @property
    def pixels(self) -> int:
        """Numbers in an image."""
        return math.prod(self.image_shape)


@dataclass(frozen=True)
class Dense:
    """A fully connected layer."""

    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return (self.inputs + 1) * self.outputs

    @property
    def numbers(self) -> int:
        """Numbers that it puts out."""
        return self.outputs

    @property
    def products(self) -> int:
        """Multiplications of a weight and a number."""
        return self.inputs * self.outputs


@dataclass(frozen=True)
class Convolution:
    """A convolution that halves the sides of its input, or a transposed one that doubles them."""

    inputs: int  # channels
    outputs: int  # channels
    rows: int  # of the input
    columns: int
    transposed: bool = False

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """Channel, row, column."""
        if self.transposed:
            return (self.outputs, self.rows * STRIDE, self.columns * STRIDE)
        return (self.outputs, self.rows // STRIDE, self.columns // STRIDE)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return KERNEL**2 * self.inputs * self.outputs + self.outputs

    @property
    def numbers(self) -> int:
        """Numbers that it puts out."""
        return math.prod(self.output_shape)

    @property
    def products(self) -> int:
        """Multiplications of a weight and a number: the whole kernel at each place of the smaller side."""
        places = min(self.rows * self.columns, math.prod(self.output_shape[1:]))
        return KERNEL**2 * self.inputs * self.outputs * places


class LayerCounts(NamedTuple):
    """What is counted of a layer with weights that no description has."""

    parameters: int
    numbers: int
    products: int


@dataclass(frozen=True)
class Relu:
    """max(0, x)."""


@dataclass(frozen=True)
class Reshape:
    """A flat image or feature map to `channel, row, column`."""

    shape: tuple[int, int, int]


@dataclass(frozen=True)
class Flatten:
    """`channel, row, column` to one axis."""


Operation = Dense | Convolution | Relu | Reshape | Flatten


class Description(NamedTuple):
    """A network: what its encoder and its decoder do, in order."""

    encoder: tuple[Operation, ...]  # pixel -> 2 latent
    decoder: tuple[Operation, ...]  # latent -> pixel

    @property
    def layers(self) -> tuple[Dense | Convolution, ...]:
        """Those with weights, encoder then decoder."""
        return tuple(part for part in itertools.chain(*self) if isinstance(part, Dense | Convolution))


def perceptron(sizes: Sequence[int]) -> tuple[Operation, ...]:
    """Fully connected layers from each of these numbers of units to the next, with a ReLU between any two."""
    parts = [part for pair in itertools.pairwise(sizes) for part in (Dense(*pair), Relu())]
    return tuple(parts[:-1])


@dataclass(frozen=True)
class NetworkCost:
    """What one image costs in a network: sums over its layers, and the largest of them."""

    pixels: int
    parameters: int  # trained numbers
    largest_layer: int  # trained numbers of the layer that has most
    numbers: int  # that all layers put out
    widest: int  # and the layer that puts out most
    products: int
    first_products: int  # of the layer that reads the images
    fixed_numbers: int = 0  # that a step computes once, whatever its batch: of a prior's pseudo-inputs
    fixed_products: int = 0

    @classmethod
    def of(
        cls,
        layers: Iterable[Dense | Convolution | LayerCounts],
        pixels: int,
        *,
        fixed_numbers: int = 0,
        fixed_products: int = 0,
    ) -> "NetworkCost":
        """Sum over layers with weights, encoder then decoder, then what a prior has."""
        counts = [(layer.parameters, layer.numbers, layer.products) for layer in layers]
        parameters, numbers, products = zip(*counts, strict=True)
        return cls(
            pixels=pixels,
            parameters=sum(parameters),
            largest_layer=max(parameters),
            numbers=sum(numbers),
            widest=max(numbers),
            products=sum(products),
            first_products=products[0],
            fixed_numbers=fixed_numbers,
            fixed_products=fixed_products,
        )

    def step_operations(self, batch_size: int) -> int:
        """Floating-point operations of the matrix products and convolutions of a training step.

        Forward, and backward for weights and for inputs, each 2 an image and product; the images need no gradient.
        """
        return 2 * batch_size * (3 * self.products - self.first_products) + 6 * self.fixed_products

    @property
    def measure_operations(self) -> int:
        """Floating-point operations of the products behind one image's rate and distortion."""
        return 2 * self.products

    @property
    def step_numbers(self) -> int:
        """Numbers that a training step holds for each image of its batch.

        The output of every layer, the image, the gradient in the logits, and a gradient on its way through the widest
        layer, before it and after it.
        """
        return self.numbers + 2 * self.pixels + 2 * self.widest

    @property
    def evaluation_numbers(self) -> int:
        """Numbers that are held, at most, for each image that is measured.

        Logits and three terms of the distortion; the widest layer before and after its ReLU.
        """
        return 4 * self.pixels + 2 * self.widest
