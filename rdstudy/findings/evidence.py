"""What seeds say about a contrast: Student's t on one number a seed, and how parts of a claim combine.

Members of a cell with the same seed share initial weights, batches and noise, so a contrast is computed within each
seed and only then over seeds: n seeds are n numbers. A contrast `holds` when its mean is above 0. Axis order: seed,
candidate, part. There are two forms,

    exists   some candidate has all its parts above 0          (a minimum at some β, lower than both edges)
    never    no candidate has all its parts above 0            (between no two β does the curve rise)

and a single candidate is the plain form. For `exists`, the first fifth of the seeds, one at least, choose the candidate
and are then left out, so that no seed is judged by its own choice; all parts of it must hold (intersection-union).
Letting each seed be judged by the choice of all others wastes none, but these choices hang together: on curves that are
flat, five seeds then find a minimum among ten β in 8 % of studies instead of 2.5 %. Against `exists`, every candidate
must be refuted, each by any of its parts, corrected for their number. `never` is the reverse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.student import student_cdf, student_quantile

LEAST_SEEDS = 3
"""Two seeds give an interval 13 standard errors wide on either side, and no idea of what a seed can do."""

LEVEL = 0.95
"""Of the intervals; each verdict errs with at most half of what is left, 2.5 %, where nothing is to be found."""

ERROR = (1.0 - LEVEL) / 2


@dataclass(frozen=True)
class Effect:
    """A mean over seeds with its interval, and what it is held against.

    `low` and `high` are the ends of Student's interval; to hold, the effect must be `above` the threshold, or else
    below it.
    """

    mean: float
    low: float
    high: float
    threshold: float
    above: bool
    label: str
    unit: str
    seeds: int


@dataclass(frozen=True)
class Evidence:
    """What is known of a contrast.

    Attributes:
        p_for: chance of numbers that speak so much for it, were it false.
        p_against: chance of numbers that speak so much against it, were it true.
        weakest: the effect that decides whether it holds.
        refuted: the effect that speaks most against it.
        seeds: complete seeds.
        notes: what a reader must know of it.
    """

    p_for: float
    p_against: float
    weakest: Effect | None
    refuted: Effect | None
    seeds: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sample:
    """A contrast's numbers.

    Attributes:
        effects: `[seed, candidate, part]`, as a reader sees them.
        thresholds: `[seed, candidate, part]`: an effect holds above it.
        labels: `[candidate][part]`, what each effect is.
        unit: of the effects.
        below: whether an effect holds below its threshold instead.
        never: whether no candidate may hold.
        notes: what a reader must know.
        against: what is held against the claim instead, where an estimate errs to one side: the effects and thresholds
            of this sample then err against the claim, and those of `against` for it.
    """

    effects: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    labels: Sequence[Sequence[str]]
    unit: str
    below: bool = False
    never: bool = False
    notes: tuple[str, ...] = ()
    against: "Sample | None" = None

    @property
    def values(self) -> NDArray[np.float64]:
        """`[seed, candidate, part]`: above 0 where an effect holds."""
        return self.thresholds - self.effects if self.below else self.effects - self.thresholds


def decide(sample: Sample) -> Evidence:
    """Evidence of a sample; of too few seeds, none for either side."""
    values = sample.values
    seeds, candidates, parts = values.shape
    if seeds < LEAST_SEEDS or not candidates or not parts:
        return Evidence(1.0, 1.0, None, None, seeds, sample.notes)
    choosing = max(1, seeds // 5) if candidates > 1 else 0
    chosen = int(np.argmax(values[:choosing].mean(axis=0).min(axis=1))) if choosing else 0
    p_parts = _p_below(-values[choosing:, chosen])
    weakest = int(np.argmax(p_parts))
    refuting = sample.against or sample
    p_refuted = np.minimum(1.0, _p_below(refuting.values) * parts)  # [candidate, part]
    hardest = int(np.argmax(p_refuted.min(axis=1)))
    part = int(np.argmin(p_refuted[hardest]))
    exists = _effect(sample, chosen, weakest, first=choosing)
    none = _effect(refuting, hardest, part, first=0)
    p_exists, p_none = float(p_parts.max()), float(p_refuted[hardest, part])
    if sample.never:
        return Evidence(p_none, p_exists, none, exists, seeds, sample.notes)
    return Evidence(p_exists, p_none, exists, none, seeds, sample.notes)


def at_least(least: int, found: Sequence[Evidence]) -> Evidence:
    """Evidence that at least so many of some contrasts hold: partial conjunction (Benjamini and Heller 2008).

    For it speaks the `least`-th smallest p, against it the p of the last one that may fail; Bonferroni over those
    that may be left out.
    """
    many = len(found)
    # of equal p, those of too few seeds first: more runs could change them
    decisive = sorted(found, key=lambda one: (one.p_for, one.seeds >= LEAST_SEEDS))[least - 1]
    p_for = min(1.0, (many - least + 1) * decisive.p_for)
    against = sorted(found, key=lambda one: one.p_against)[many - least]
    p_against = min(1.0, least * against.p_against)
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    return Evidence(p_for, p_against, decisive.weakest, against.refuted, decisive.seeds, notes)


def _p_below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """One-sided p of means over the first axis: how likely so low a mean is where the true one is 0 or more."""
    seeds = len(values)
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / math.sqrt(seeds)
    # seeds that all agree have no error: the sign of their mean decides, and nothing does where it is 0
    certain = np.where(mean > 0, np.inf, np.where(mean < 0, -np.inf, 0.0))
    return student_cdf(np.divide(mean, error, out=certain, where=error > 0), seeds - 1)


def _effect(sample: Sample, candidate: int, part: int, *, first: int) -> Effect:
    """The mean effect over the seeds from `first` on; its interval is that of the distance to the threshold."""
    distance = sample.values[first:, candidate, part]
    seeds = len(distance)
    half = student_quantile((1 + LEVEL) / 2, seeds - 1) * float(distance.std(ddof=1)) / math.sqrt(seeds)
    mean = float(sample.effects[first:, candidate, part].mean())
    return Effect(
        mean=mean,
        low=mean - half,
        high=mean + half,
        threshold=float(sample.thresholds[first:, candidate, part].mean()),
        above=sample.below == sample.never,
        label=sample.labels[candidate][part],
        unit=sample.unit,
        seeds=seeds,
    )
