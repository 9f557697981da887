"""Bringing images to the size that models take. Axis order: any, then `row, column`."""

import numpy as np
from numpy.typing import NDArray

_LARGEST_FACTOR = 16  # 16 × 16 pixels of 255 still fit a uint16


def area_average(images: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Replace each `factor` × `factor` square of pixels by its mean, halves rounded up.

    Args:
        images: `[..., row, column]`, sides that are multiples of `factor`.
        factor: from 1 to 16.
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


def paste_centred(images: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """Put `images` in the middle of `out`, which is zero and has the larger sides, by a whole number of pixels."""
    margins = [(large - small) // 2 for large, small in zip(out.shape[-2:], images.shape[-2:], strict=True)]
    rows, columns = (slice(margin, margin + small) for margin, small in zip(margins, images.shape[-2:], strict=True))
    out[..., rows, columns] = images
