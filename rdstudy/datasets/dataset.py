"""What a data set is to the rest of the package.

Axis order: `image, channel, row, column` for images, `image, factor` for factors.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Dataset:
    """A data set in memory, or mapped into it."""

    images: NDArray[np.uint8]  # [image, channel, row, column]
    factors: NDArray[np.float64] | None  # [image, factor] in the unit cube


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set before it is loaded."""

    name: str
    images: int
    image_shape: tuple[int, int, int]  # channel, row, column
    factor_names: tuple[str, ...]  # empty where the data set has none
    load: Callable[[], Dataset]
