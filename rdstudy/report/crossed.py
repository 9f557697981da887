"""Means over seeds and images, of which each seed sees the same images: an interval that holds the choice of both.

An interval over seeds alone is one for these very images, and too short where another choice of images would have given
another mean. The arithmetic is that of the verdicts: `rdstudy.findings.spread`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.spread import spread_of
from rdstudy.findings.student import student_quantile

_MOST_DF = 60  # of which the quantile is within 2 % of the normal one


@dataclass(frozen=True)
class Interval:
    """A mean with its interval at `LEVEL`.

    Attributes:
        mean: over seeds and images.
        low: lower end.
        high: upper end.
        seeds: how many; of 1, the interval holds the choice of images alone.
        images: how many, of all tables together.
    """

    mean: float
    low: float
    high: float
    seeds: int
    images: int


def crossed_interval(tables: Sequence[NDArray[np.float64]]) -> Interval:
    """The sum of the means of some tables [seed, image], each with images of its own: y - x is that of y and -x.

    Args:
        tables: one or more, each [seed, image] with two images or more and no gaps, all with the same seeds in the same
            order.

    Returns:
        The interval of the sum.

    Raises:
        ValueError: tables differ in seeds, or one has fewer than two images.
    """
    seeds = {len(table) for table in tables}
    if len(seeds) != 1 or any(table.shape[1] < 2 for table in tables):
        shapes = ", ".join(str(table.shape) for table in tables)
        raise ValueError(f"tables [seed, image] are {shapes}; allowed: equal numbers of seeds, two images or more")
    many, images = seeds.pop(), sum(table.shape[1] for table in tables)
    means = np.sum([table.mean(axis=1) for table in tables], axis=0)  # [seed]
    if many == 1:  # nothing is known of seeds
        error = math.sqrt(sum(float(table[0].var(ddof=1)) / table.shape[1] for table in tables))
        df = min(table.shape[1] for table in tables) - 1
    else:
        spread = spread_of(means[:, None, None], [table[:, None, None] for table in tables])
        error, df = float(spread.error[0, 0]), int(spread.df[0, 0])
    half = student_quantile((1 + LEVEL) / 2, min(df, _MOST_DF)) * error
    mean = float(means.mean())
    return Interval(mean, mean - half, mean + half, many, images)
