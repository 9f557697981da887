"""Fully connected layers of one width (paper, 4.3), mirrored in the decoder."""

from rdstudy.model.description import Description, NetworkShape, perceptron

WIDTH = 512
"""Hidden units of a layer (paper, 4.3)."""


def mlp(shape: NetworkShape) -> Description:
    """`depth` hidden layers of `width` units each way."""
    hidden = [shape.width] * shape.depth
    return Description(
        encoder=perceptron([shape.pixels, *hidden, 2 * shape.latent_dim]),
        decoder=perceptron([shape.latent_dim, *hidden, shape.pixels]),
    )
