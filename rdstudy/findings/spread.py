"""The error of a mean over seeds, and over images that all seeds share: two-way crossed variance components.

A number y of seed s and image i is m + a_s + b_i + e_si (Searle, Casella and McCulloch 1992, 4.3, without replication).
With S seeds and I images, the variance of the grand mean is

    σ²_a/S + σ²_b/I + σ²_e/(S·I),  estimated by  V_seeds + V_images − V_rest,

    V_seeds   variance of the seeds' means, by S        expects  σ²_a/S + σ²_e/(S·I)
    V_images  variance of the images' means, by I       expects  σ²_b/I + σ²_e/(S·I)
    V_rest    mean square of the residuals, by S·I      expects  σ²_e/(S·I)

and never taken as less than V_seeds or V_images, of which each is too small on average only by the other's effect. The
quantile is the mean of those of the parts, weighted by the parts (Cochran and Cox 1957, 4.14), and the degrees of
freedom are those that have it: with Satterthwaite's (1946), intervals of three seeds and 200 images covered 93 %.
Seeds and images may differ as they like: no two seeds, β or arms are assumed to scatter alike, as a contrast is
computed first. Axis order: seed, candidate, part, image.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.student import student_cdf, student_quantile

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shared:
    """The variance of means by images that all seeds share, where no number of a single image is stored.

    Attributes:
        variance: `[candidate, part]`.
        images: how many there are.
    """

    variance: Floats
    images: int


@dataclass(frozen=True)
class Spread:
    """Means, their standard errors and degrees of freedom, `[candidate, part]` each."""

    mean: Floats
    error: Floats
    df: NDArray[np.int64]

    def p_below(self) -> Floats:
        """One-sided p: how likely so low a mean is where the true one is 0 or more."""
        return self._p(self.mean)

    def p_above(self) -> Floats:
        """One-sided p: how likely so high a mean is where the true one is 0 or less."""
        return self._p(-self.mean)

    def _p(self, mean: Floats) -> Floats:
        # seeds that all agree have no error: the sign of their mean decides, and nothing does where it is 0
        certain = np.where(mean > 0, np.inf, np.where(mean < 0, -np.inf, 0.0))
        t = np.divide(mean, self.error, out=certain, where=self.error > 0)
        p = np.empty_like(t)
        for df in np.unique(self.df):
            here = self.df == df
            p[here] = student_cdf(t[here], int(df))
        return p


def spread_of(values: Floats, images: Sequence[Floats] = (), shared: Shared | None = None) -> Spread:
    """The spread of means over seeds.

    Args:
        values: `[seed, candidate, part]`.
        images: independent samples of images: `[seed, candidate, part, image]` each, whose means over images are what
            the sample adds to `values`.
        shared: what shared images add otherwise.
    """
    seeds = len(values)
    over_seeds = values.var(axis=0, ddof=1) / seeds
    parts, rest = [(over_seeds, seeds - 1)], np.zeros_like(over_seeds)
    for sample in images:
        many = sample.shape[-1]
        of_images = sample.mean(axis=0, keepdims=True)
        residuals = sample - of_images - sample.mean(axis=-1, keepdims=True) + of_images.mean(axis=-1, keepdims=True)
        parts.append((of_images[0].var(axis=-1, ddof=1) / many, many - 1))
        rest = rest + (residuals**2).sum(axis=(0, -1)) / ((seeds - 1) * (many - 1) * seeds * many)
    if shared is not None:
        parts.append((shared.variance, max(1, shared.images - 1)))
    whole = np.sum([variance for variance, _ in parts], axis=0)
    total = np.maximum(whole - rest, np.maximum(over_seeds, whole - over_seeds))
    return Spread(values.mean(axis=0), np.sqrt(total), _degrees(parts, whole))


_MOST_DF = 60
"""More degrees of freedom are taken as so many: their quantile is 2 % too large."""


def _degrees(parts: Sequence[tuple[Floats, int]], whole: Floats) -> NDArray[np.int64]:
    """Degrees of freedom whose quantile is the weighted mean of the parts', rounded to the safe side."""
    if len(parts) == 1:
        return np.full(whole.shape, parts[0][1], np.int64)
    quantiles = _quantiles()
    weighted = np.sum([variance * quantiles[min(df, _MOST_DF) - 1] for variance, df in parts], axis=0)
    least = quantiles[min(_MOST_DF, *(df for _, df in parts)) - 1]
    mean = np.divide(weighted, whole, out=np.full_like(whole, least), where=whole > 0)
    degrees: NDArray[np.int64] = (quantiles[:, None, None] >= mean - 1e-9).sum(axis=0)
    return degrees


@functools.cache
def _quantiles() -> Floats:
    """t(0.975) of 1, 2, ... degrees of freedom."""
    return np.array([student_quantile(0.975, df) for df in range(1, _MOST_DF + 1)])
