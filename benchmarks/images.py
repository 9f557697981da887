"""Images to train on, drawn: no benchmark reads a file of data."""

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets import tetrominoes


def draw_images(count: int) -> NDArray[np.uint8]:
    """So many Tetrominoes of all kinds, uint8 `[image, channel, row, column]`."""
    factors = tetrominoes.sample_factors(0)
    chosen = np.random.default_rng(0).choice(len(factors), count, replace=False)
    images = np.zeros((count, 3, tetrominoes.SIDE, tetrominoes.SIDE), dtype=np.uint8)
    tetrominoes.render(tetrominoes.shapes_from_factors(factors[chosen], "adaptive"), images)
    return images
