"""The networks that are timed, as `rdstudy.model.description` says what they are made of and what a step of them costs.

Standard library alone, as that is: every lane reads this, in whatever environment it runs. Counts of operations are
floating-point operations, a multiplication and an addition each counted as one.
"""

from dataclasses import dataclass

from rdstudy.model.architectures import describe, network_cost
from rdstudy.model.description import Convolution, Dense, NetworkShape
from rdstudy.study import Cell, Recipe
from rdstudy.study.study import default_width


@dataclass(frozen=True)
class Size:
    """A network and a batch. Images are square."""

    name: str
    architecture: str  # mlp or cnn
    depth: int  # hidden layers of the encoder, and of the decoder
    width: int  # hidden units of an MLP layer, channels of a CNN layer
    batch_size: int = Recipe.batch_size
    latent_dim: int = Cell.latent_dim
    prior: str = Cell.prior
    likelihood: str = Cell.likelihood
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
    def shape(self) -> NetworkShape:
        """The network alone."""
        return NetworkShape(
            self.architecture, self.depth, self.width, self.latent_dim, self.image_shape, self.prior, self.likelihood
        )


SIZES = {
    size.name: size
    for size in (
        Size("mlp-1", "mlp", depth=1, width=default_width("mlp")),
        Size("mlp-3", "mlp", depth=3, width=default_width("mlp")),
        Size("cnn-1", "cnn", depth=1, width=default_width("cnn")),
        Size("cnn-3", "cnn", depth=3, width=default_width("cnn")),
    )
}
"""The smallest and the largest of the paper's networks of each kind, by name."""


def layers(size: Size) -> tuple[Dense | Convolution, ...]:
    """The layers that have weights, encoder then decoder."""
    description = describe(size.shape)
    assert description is not None, "a size has a built-in architecture"
    return description.layers


def parameter_count(size: Size) -> int:
    """Trained numbers of one network."""
    return network_cost(size.shape).parameters


def step_operations(size: Size) -> int:
    """Operations in the products of a training step: three a layer, but for the gradient of the images."""
    return network_cost(size.shape).step_operations(size.batch_size)
