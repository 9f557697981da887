"""Means over seeds and images, of which each seed sees the same images: an interval that holds the choice of both.

An interval over seeds alone is one for these very images, and too short where another choice of images would have given
another mean.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile

_MOST_DF = 100
"""Student's quantile is within 1 % of the normal one there, and its closed form is a sum over degrees of freedom."""


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

    In each table k, y[s, i] = μ + seed s + image i + residual, all random and independent: two crossed random effects
    with one value a cell (Searle, Casella and McCulloch 1992, Variance Components, balanced data). Rows of equal
    number are one seed in all tables, so the seeds' share is that of the sums of their means, m[s] = Σ_k mean_i y_k:

        A = s²(m) / S,   B = Σ_k s²(mean_s y_k) / I_k,   C = Σ_k s²(residuals of k) / (S I_k)

    with S seeds, I_k images and (S - 1)(I_k - 1) degrees of freedom of the residuals. A and B each hold the residuals'
    share once, so the variance of the mean is A + B - C without bias; A and B are each what would be left, were the
    other 0, so the estimate is never less than the larger of them. Degrees of freedom after Satterthwaite (1946):
    V² / Σ (part² / its degrees of freedom), rounded down, and at least the fewest of a part. With two
    seeds A has one degree of freedom, where that rule holds the truth in 91 % of simulated tables, so the squares of
    the parts' own intervals are added instead (Banerjee 1960), which is never too short. Of one seed nothing is known
    of A: its interval is that of the images alone.

    Args:
        tables: one or more, each [seed, image] with two images or more and no gaps, all with the same seeds.

    Returns:
        The interval of the sum.

    Raises:
        ValueError: tables differ in seeds, or one has fewer than two images.
    """
    seeds = {len(table) for table in tables}
    if len(seeds) != 1 or any(table.shape[1] < 2 for table in tables):
        shapes = ", ".join(str(table.shape) for table in tables)
        raise ValueError(f"tables [seed, image] are {shapes}; allowed: equal numbers of seeds, two images or more")
    parts = [*_seeds_part(tables), *(part for table in tables for part in _image_parts(table))]
    mean, many = float(sum(table.mean() for table in tables)), seeds.pop()
    half = _added(parts) if many == 2 else _satterthwaite(parts)
    return Interval(mean, mean - half, mean + half, many, sum(table.shape[1] for table in tables))


_Part = tuple[float, int, str]  # a share of the variance, its degrees of freedom, and whose it is


def _seeds_part(tables: Sequence[NDArray[np.float64]]) -> list[_Part]:
    seeds = len(tables[0])
    if seeds < 2:
        return []
    means = np.sum([table.mean(axis=1) for table in tables], axis=0)
    return [(float(means.var(ddof=1)) / seeds, seeds - 1, "seeds")]


def _image_parts(table: NDArray[np.float64]) -> list[_Part]:
    seeds, images = table.shape
    part = (float(table.mean(axis=0).var(ddof=1)) / images, images - 1, "images")
    if seeds < 2:
        return [part]
    left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    df = (seeds - 1) * (images - 1)
    return [part, (float((left**2).sum()) / df / (seeds * images), df, "residuals")]


def _satterthwaite(parts: Sequence[_Part]) -> float:
    """Half the interval, A + B - C as one variance with degrees of freedom of its own."""
    by_kind = {
        kind: sum(part for part, _, whose in parts if whose == kind) for kind in ("seeds", "images", "residuals")
    }
    rows, columns = by_kind["seeds"], by_kind["images"]
    variance = max(rows + columns - by_kind["residuals"], rows, columns)
    fewest = min(df for _, df, _ in parts)
    spread = sum(part**2 / df for part, df, _ in parts)
    df = max(variance**2 / spread, fewest) if spread > 0 else fewest
    return math.sqrt(variance) * _quantile(int(df))


def _added(parts: Sequence[_Part]) -> float:
    """Half the interval, as the root of the sum of the squares of each part's own."""
    return math.sqrt(sum(part * _quantile(df) ** 2 for part, df, kind in parts if kind != "residuals"))


def _quantile(df: int) -> float:
    """Student's, of degrees of freedom rounded down to a few values, so that few quantiles are computed."""
    return student_quantile((1 + LEVEL) / 2, min(10 * (df // 10) if df >= 20 else df, _MOST_DF))
