"""Bringing images to the size that models take. Axis order: any, then `row, column`, but where it is said otherwise."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_LARGEST_FACTOR = 16  # 16 × 16 pixels of 255 still fit a uint16


def area_average(images: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Replace each `factor` × `factor` square of pixels by its mean, halves rounded up; the factor is from 1 to 16.

    Of images `[..., row, column]` whose sides are multiples of it.
    """
    rows, columns = images.shape[-2:]
    assert 1 <= factor <= _LARGEST_FACTOR
    assert rows % factor == columns % factor == 0, "callers check what they read"
    total = np.zeros((*images.shape[:-2], rows // factor, columns // factor), np.uint16)
    for row in range(factor):
        for column in range(factor):
            total += images[..., row::factor, column::factor]
    total += factor**2 // 2
    total //= factor**2
    return total.astype(np.uint8)


def mean_squares(pixels: NDArray[Any], side: int) -> NDArray[np.float64]:
    """The means of `side` × `side` equal squares of a square picture, whose borders may run through its pixels.

    Weights and sums are whole numbers, and exact as long as pixels are: the same means on every machine.

    Args:
        pixels: `[row, column, channel]`, as many rows as columns.
        side: of the result, in pixels; it may be larger than the picture's.

    Returns:
        `[channel, row, column]`.
    """
    rows, columns, channels = pixels.shape
    assert rows == columns, "callers cut a square out"
    edges = np.arange(side + 1) * rows  # of the squares, where a pixel of the picture is `side` long
    starts = np.arange(rows) * side  # of the picture's pixels
    overlaps = np.minimum(edges[1:, None], starts + side) - np.maximum(edges[:-1, None], starts)
    weights = np.maximum(overlaps, 0).astype(np.float64)
    total = np.zeros((side, columns * channels))
    for row in range(side):
        under = slice(edges[row] // side, -(-edges[row + 1] // side))  # the rows of the picture that it lies over
        total[row] = weights[row, under] @ pixels[under].reshape(-1, columns * channels).astype(np.float64)
    squares = np.einsum("ijc,kj->cik", total.reshape(side, columns, channels), weights)
    return np.asarray(squares / rows**2)


def paste_centred(images: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Put `images` in the middle of `out`, which is zero and has the larger sides, by a whole number of pixels."""
    margins = [(large - small) // 2 for large, small in zip(out.shape[-2:], images.shape[-2:], strict=True)]
    rows, columns = (slice(margin, margin + small) for margin, small in zip(margins, images.shape[-2:], strict=True))
    out[..., rows, columns] = images
