"""Generative factors that come as a grid of levels, mapped to the unit cube.

A data set with every combination of its factors' levels once is to a split what a stratified sample is: level k of n
lies in the middle of stratum k, at (k + 1/2) / n. Levels without an order (a shape, a category) are taken in the order
of the file, so that `checkerboard` and `cd(N)` are defined; they say less there.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def unit_factors(levels: NDArray[np.uint8], sizes: Sequence[int]) -> NDArray[np.float64]:
    """Map levels `[image, factor]` to the unit cube; `sizes` is the number of levels of each factor."""
    return np.asarray((levels + 0.5) / np.array(sizes))


def levels_of_values(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """Number the distinct values of each column of `[image, factor]` in ascending order."""
    columns = [np.unique(column, return_inverse=True)[1] for column in values.T]
    return np.stack(columns, axis=1).astype(np.int64)


def check_grid(levels: NDArray[np.int64], sizes: Sequence[int], path: Path) -> None:
    """Hold that `[image, factor]` lists every combination of levels exactly once.

    Raises:
        ValueError: it does not; `path` is named as the place.
    """
    wanted = int(np.prod(sizes))
    if levels.shape != (wanted, len(sizes)):
        raise ValueError(f"{path} has factors of shape {levels.shape}; allowed: {(wanted, len(sizes))}")
    if (levels < 0).any() or (levels >= np.array(sizes)).any():
        raise ValueError(f"{path} has a factor outside its levels; allowed: 0 to below {tuple(sizes)}")
    combinations = np.ravel_multi_index(tuple(levels.T), tuple(sizes))
    distinct = int(np.count_nonzero(np.bincount(combinations, minlength=wanted)))
    if distinct != wanted:
        raise ValueError(f"{path} has {distinct:,} combinations of factors; allowed: each of {wanted:,} once")
