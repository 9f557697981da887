"""The error of a mean over seeds, and over images that all seeds share: two-way crossed variance components.

A number y of seed s and image i is m + a_s + b_i + e_si (Searle, Casella and McCulloch 1992, 4.3, without replication).
With S seeds and I images, the variance of the grand mean is

    σ²_a/S + σ²_b/I + σ²_e/(S·I),  estimated by  V_seeds + V_images − V_rest,

    V_seeds   variance of the seeds' means, by S        expects  σ²_a/S + σ²_e/(S·I)
    V_images  variance of the images' means, by I       expects  σ²_b/I + σ²_e/(S·I)
    V_rest    mean square of the residuals, by S·I      expects  σ²_e/(S·I)

and never taken as less than V_seeds or V_images, of which each is too small on average only by the other's effect.
Degrees of freedom are Satterthwaite's (1946). Seeds and images may differ as they like: no two seeds, β or arms are
assumed to scatter alike, as a contrast is computed first. Axis order: seed, candidate, part, image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.student import student_cdf

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
    least_df = seeds - 1
    weights = over_seeds**2 / least_df
    over_images, rest = np.zeros_like(over_seeds), np.zeros_like(over_seeds)
    for sample in images:
        many = sample.shape[-1]
        of_images = sample.mean(axis=0, keepdims=True)
        residuals = sample - of_images - sample.mean(axis=-1, keepdims=True) + of_images.mean(axis=-1, keepdims=True)
        variance = of_images[0].var(axis=-1, ddof=1) / many
        square = (residuals**2).sum(axis=(0, -1)) / ((seeds - 1) * (many - 1) * seeds * many)
        over_images, rest = over_images + variance, rest + square
        weights = weights + variance**2 / (many - 1) + square**2 / ((seeds - 1) * (many - 1))
        least_df = min(least_df, many - 1)
    total = np.maximum(np.maximum(over_seeds, over_images), over_seeds + over_images - rest)
    if shared is not None:
        total = total + shared.variance
        weights = weights + shared.variance**2 / max(1, shared.images - 1)
        least_df = min(least_df, max(1, shared.images - 1))
    if images or shared is not None:
        df = np.divide(total**2, weights, out=np.full_like(total, least_df), where=weights > 0)
        df = np.maximum(np.floor(df), least_df).astype(np.int64)
    else:
        df = np.full(total.shape, least_df, np.int64)
    return Spread(values.mean(axis=0), np.sqrt(total), df)
