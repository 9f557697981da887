"""Means over seeds and images, of which each seed sees the same images: an interval that holds the choice of both.

An interval over seeds alone is one for these very images, and too short where another choice of images would have given
another mean. The arithmetic is that of the verdicts: `rdstudy.findings.spread`.
"""

from collections.abc import Iterator, Sequence
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
    return crossed_intervals([tables])[0]


def crossed_intervals(points: Sequence[Sequence[NDArray[np.float64]]]) -> list[Interval]:
    """`crossed_interval` of many points, those whose tables are of equal shapes at once.

    Raises:
        ValueError: of one point, as there.
    """
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = {}
    for at, tables in enumerate(points):
        alike.setdefault(tuple(table.shape for table in tables), []).append(at)
    intervals: dict[int, Interval] = {}
    for shapes, places in alike.items():
        if len({seeds for seeds, _ in shapes}) != 1 or any(images < 2 for _, images in shapes):
            raise ValueError(
                f"tables [seed, image] are {', '.join(map(str, shapes))}; allowed: equal numbers of seeds, two images "
                "or more"
            )
        tables = [np.stack([points[at][number] for at in places], axis=1) for number in range(len(shapes))]
        intervals |= zip(places, _intervals(tables), strict=True)
    return [intervals[at] for at in range(len(points))]


def _intervals(tables: Sequence[NDArray[np.float64]]) -> Iterator[Interval]:
    """Of tables [seed, point, image], the interval of each point."""
    many, images = len(tables[0]), sum(table.shape[2] for table in tables)
    means = np.sum([table.mean(axis=2) for table in tables], axis=0)  # [seed, point]
    if many == 1:  # nothing is known of seeds
        errors = np.sqrt(np.sum([table[0].var(axis=1, ddof=1) / table.shape[2] for table in tables], axis=0))
        degrees = np.full(len(errors), min(table.shape[2] for table in tables) - 1)
    else:
        spread = spread_of(means[:, :, None], [table[:, :, None] for table in tables])
        errors, degrees = spread.error[:, 0], spread.df[:, 0]
    for mean, error, df in zip(means.mean(axis=0).tolist(), errors.tolist(), degrees.tolist(), strict=True):
        half = student_quantile((1 + LEVEL) / 2, min(df, _MOST_DF)) * error
        yield Interval(mean, mean - half, mean + half, many, images)
