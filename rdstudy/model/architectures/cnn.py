"""Convolutions that halve the image (paper, 4.3), mirrored in the decoder; one linear layer to and from the code."""

import math

from rdstudy.model.description import (
    Convolution,
    Dense,
    Description,
    Flatten,
    NetworkShape,
    Operation,
    Relu,
    Reshape,
)

WIDTH = 64
"""Channels of a layer (paper, 4.3)."""


def cnn(shape: NetworkShape) -> Description:
    """`depth` convolutions of `width` channels each way.

    Raises:
        ValueError: a side of the image cannot be halved so often.
    """
    channels, rows, columns = shape.image_shape
    deepest = min((side & -side).bit_length() - 1 for side in (rows, columns))
    if shape.depth > deepest:
        raise ValueError(
            f"depth is {shape.depth} for a cnn on {rows}×{columns} images; "
            f"allowed: 1 to {deepest}, each layer halves the image"
        )
    down: list[Operation] = [Reshape(shape.image_shape)]
    up: list[Operation] = []
    for _ in range(shape.depth):
        layer = Convolution(channels, shape.width, rows, columns)
        back = Convolution(shape.width, channels, *layer.output_shape[1:], transposed=True)
        down += [layer, Relu()]
        up = [Relu(), back, *up]
        channels, rows, columns = layer.output_shape
    inner = (channels, rows, columns)
    flat = math.prod(inner)
    return Description(
        encoder=(*down, Flatten(), Dense(flat, 2 * shape.latent_dim)),
        decoder=(Dense(shape.latent_dim, flat), Relu(), Reshape(inner), *up[1:], Flatten()),
    )
