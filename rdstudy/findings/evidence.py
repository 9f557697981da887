"""What seeds say about a contrast: Student's t on one number a seed, and how parts of a claim combine.

Members of a cell with the same seed share initial weights, batches and noise, so a contrast is computed within each
seed and only then over seeds: n seeds are n numbers. Where a value was measured on a small sample of images that all
seeds share, the choice of images is in the error too (`rdstudy.findings.spread`). A contrast `holds` when its mean is
above 0. Axis order: seed, candidate, part. There are two forms,

    exists   some candidate has all its parts above 0          (a minimum at some β, lower than both edges)
    never    no candidate has all its parts above 0            (between no two β does the curve rise)

and a single candidate is the plain form. Nothing is pooled over candidates or parts: noise may differ tenfold between
β.

For `exists`, the first fifth of the seeds, one at least, choose the candidate and are then left out, so that no seed is
judged by its own choice; all parts of it must hold (intersection-union). Letting each seed be judged by the choice of
all others wastes none, but these choices hang together: on curves that are flat, five seeds then find a minimum among
ten β in 8 % of studies instead of 2.5 %. Seeds that share images share the error that these make, so there the choice
is not a seed's but corrected for: Bonferroni over candidates.

Against `exists`, every candidate must be refuted, each by any of its parts: of one or two, corrected for their number;
of more, by the part that the first fifth of the seeds choose, where there are five seeds or more and no shared images.
With five seeds a correction for eight parts asks for an effect of 2.5 standard deviations, the choice for 1.6.
`never` is the reverse.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rdstudy.findings.spread import Shared, Spread, spread_of
from rdstudy.findings.student import student_quantile

LEAST_SEEDS = 3
"""Two seeds give an interval 13 standard errors wide on either side, and no idea of what a seed can do."""

LEVEL = 0.95
"""Of the intervals; each verdict errs with at most half of what is left, 2.5 %, where nothing is to be found."""

ERROR = (1.0 - LEVEL) / 2

POWER = 0.8
"""The chance with which an effect is told that this study "would have seen"."""

_SEEDS_TO_CHOOSE_A_PART = 5
_PARTS_TO_CORRECT_FOR = 2


@dataclass(frozen=True)
class Effect:
    """A mean over seeds with its interval, and what it is held against.

    Attributes:
        mean: over seeds.
        low: end of Student's interval of the distance to the threshold, laid around the mean.
        high: the other end.
        threshold: to hold, the effect must be `above` it, or else below it.
        above: which of these.
        label: what it is.
        unit: of all these.
        seeds: in the interval.
        seen: the distance to the threshold that an interval as wide as this one tells with a chance of `POWER`.
        images: in the interval too: in the smallest of the samples that all seeds share; 0 where there is none.
        chosen: how it was chosen of several, and which seeds are therefore not in the interval; empty of one alone.
        rows: what is counted as `seeds`, in words.
    """

    mean: float
    low: float
    high: float
    threshold: float
    above: bool
    label: str
    unit: str
    seeds: int
    seen: float = math.nan
    images: int = 0
    chosen: str = ""
    rows: str = "seeds"

    @property
    def side(self) -> int:
        """1 where all of the interval is where the effect must be, −1 where none of it is, 0 where it is on both."""
        above, below = self.low > self.threshold, self.high < self.threshold
        return (above - below) * (1 if self.above else -1)


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
        parts: of the contrasts that it is made of, where `least` of them must hold.
        least: how many; 0 where it is made of none.
    """

    p_for: float
    p_against: float
    weakest: Effect | None
    refuted: Effect | None
    seeds: int
    notes: tuple[str, ...] = ()
    parts: "tuple[Evidence, ...]" = ()
    least: int = 0


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
        doubts: why nothing follows from these numbers; none where something does. They speak for neither side then.
        against: what is held against the claim instead, where an estimate errs to one side: the effects and thresholds
            of this sample then err against the claim, and those of `against` for it.
        images: `[seed, candidate, part, image]` for each sample of images that all seeds share: what they add to the
            distances between effects and thresholds.
        shared: what shared images add to the variance, where their single numbers are not known.
        handicaps: `[seed, candidate]`, taken off the values of candidates when seeds choose one of them: one with
            less noise than others is to be chosen unless others are better by so much.
        seeds: their numbers, in the order of the rows; their places where none are given.
        candidates: what each is, in words.
        rows: what the rows are, in words: seeds, or what stands in their place.
    """

    effects: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    labels: Sequence[Sequence[str]]
    unit: str
    below: bool = False
    never: bool = False
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    against: "Sample | None" = None
    images: tuple[NDArray[np.float64], ...] = ()
    shared: Shared | None = None
    handicaps: NDArray[np.float64] | None = None
    seeds: Sequence[int] = ()
    candidates: Sequence[str] = ()
    rows: str = "seeds"

    @property
    def values(self) -> NDArray[np.float64]:
        """`[seed, candidate, part]`: above 0 where an effect holds."""
        return self.thresholds - self.effects if self.below else self.effects - self.thresholds

    @property
    def share_images(self) -> bool:
        """Whether seeds share an error, so that no seed may choose for the others."""
        return bool(self.images) or self.shared is not None

    def spread(self, first: int = 0) -> Spread:
        """Of the means over the seeds from `first` on."""
        return spread_of(self.values[first:], [sample[first:] for sample in self.images], self.shared)

    def candidate(self, place: int) -> str:
        """A candidate in words."""
        return self.candidates[place] if self.candidates else f"candidate {place + 1} of {self.effects.shape[1]}"

    def choosers(self, first: int, what: str) -> str:
        """Such as "seed 3 chose β = 0.01 and is not in the interval"."""
        names = [str(seed) for seed in (self.seeds or range(first))][:first]
        seeds, verb = ("seed", "is") if first == 1 else ("seeds", "are")
        return f"{seeds} {', '.join(names)} chose {what} and {verb} not in the interval"


def decide(sample: Sample) -> Evidence:
    """Evidence of a sample; of too few seeds, or of numbers that are in doubt, none for either side."""
    seeds, candidates, parts = sample.effects.shape
    if sample.doubts or seeds < LEAST_SEEDS or not candidates or not parts:
        return Evidence(1.0, 1.0, None, None, seeds, (*sample.notes, *sample.doubts))
    p_exists, exists = _some_candidate(sample)
    p_none, none = _no_candidate(sample.against or sample)
    if sample.never:
        return Evidence(p_none, p_exists, none, exists, seeds, sample.notes)
    return Evidence(p_exists, p_none, exists, none, seeds, sample.notes)


def _some_candidate(sample: Sample) -> tuple[float, Effect]:
    """P of a candidate with all its parts, were there none, and its weakest effect."""
    seeds, candidates, _ = sample.effects.shape
    if candidates == 1 or sample.share_images:
        spread = sample.spread()
        p_parts = spread.p_above()
        chosen, tries, first = int(np.argmin(p_parts.max(axis=1))), candidates, 0
    else:
        first, tries = _choosing(seeds), 1
        lowest = sample.values[:first].mean(axis=0).min(axis=1)
        chosen = int(np.argmax(lowest if sample.handicaps is None else lowest - sample.handicaps[:first].mean(axis=0)))
        spread = sample.spread(first)
        p_parts = spread.p_above()
    weakest = int(np.argmax(p_parts[chosen]))
    effect = _effect(sample, spread, chosen, weakest, first=first, chosen=_chosen_for(sample, chosen, first))
    return min(1.0, tries * float(p_parts[chosen, weakest])), effect


def _chosen_for(sample: Sample, candidate: int, first: int) -> str:
    """How a candidate was chosen, in words."""
    many = sample.effects.shape[1]
    if many == 1:
        return ""
    if first:
        return sample.choosers(first, sample.candidate(candidate))
    return f"{sample.candidate(candidate)} is the best of {many}, for which the verdict is corrected"


def _no_candidate(sample: Sample) -> tuple[float, Effect]:
    """P of every candidate's failing, were there one that does not, and the effect that refutes the hardest."""
    seeds, _, parts = sample.effects.shape
    if parts <= _PARTS_TO_CORRECT_FOR or seeds < _SEEDS_TO_CHOOSE_A_PART or sample.share_images:
        first, spread = 0, sample.spread()
        p = np.minimum(1.0, spread.p_below() * parts)
        refuting = p.argmin(axis=1)
    else:
        first = _choosing(seeds)
        refuting = sample.values[:first].mean(axis=0).argmin(axis=1)
        spread = sample.spread(first)
        p = spread.p_below()
    p_candidates = np.take_along_axis(p, refuting[:, None], axis=1)[:, 0]
    hardest = int(np.argmax(p_candidates))
    chosen = _chosen_against(sample, hardest, first)
    effect = _effect(sample, spread, hardest, int(refuting[hardest]), first=first, chosen=chosen)
    return float(p_candidates[hardest]), effect


def _chosen_against(sample: Sample, candidate: int, first: int) -> str:
    """How a candidate and one of its parts were chosen, in words."""
    _, candidates, parts = sample.effects.shape
    hardest = f"of {candidates}, {sample.candidate(candidate)} is the hardest to refute" if candidates > 1 else ""
    by_seeds = sample.choosers(first, f"this comparison of {parts}") if first else ""
    return "; ".join(words for words in (hardest, by_seeds) if words)


def _choosing(seeds: int) -> int:
    """How many seeds choose, and judge no more."""
    return max(1, seeds // 5)


def at_least(least: int, parts: Sequence[Evidence]) -> Evidence:
    """Evidence that at least so many of some contrasts hold: partial conjunction (Benjamini and Heller 2008).

    For it speaks the `least`-th smallest p, against it the p of the last one that may fail; Bonferroni over those
    that may be left out.
    """
    many = len(parts)
    # of equal p, those of too few seeds first: more models could change them
    decisive = sorted(parts, key=lambda part: (part.p_for, part.seeds >= LEAST_SEEDS))[least - 1]
    p_for = min(1.0, (many - least + 1) * decisive.p_for)
    against = sorted(parts, key=lambda part: part.p_against)[many - least]
    p_against = min(1.0, least * against.p_against)
    notes = tuple(dict.fromkeys(note for part in parts for note in part.notes))
    effects = (decisive.weakest, against.refuted)
    return Evidence(p_for, p_against, *effects, decisive.seeds, notes, tuple(parts), least)


def _effect(sample: Sample, spread: Spread, candidate: int, part: int, *, first: int, chosen: str) -> Effect:
    """The mean effect over the seeds from `first` on; its interval is that of the distance to the threshold."""
    error, df = float(spread.error[candidate, part]), int(spread.df[candidate, part])
    sure = student_quantile((1 + LEVEL) / 2, df)
    mean = float(sample.effects[first:, candidate, part].mean())
    counts = [*(images.shape[-1] for images in sample.images), *([sample.shared.images] if sample.shared else [])]
    return Effect(
        mean=mean,
        low=mean - sure * error,
        high=mean + sure * error,
        threshold=float(sample.thresholds[first:, candidate, part].mean()),
        above=sample.below == sample.never,
        label=sample.labels[candidate][part],
        unit=sample.unit,
        seeds=len(sample.effects) - first,
        seen=(sure + student_quantile(POWER, df)) * error,
        images=min(counts, default=0),
        chosen=chosen,
        rows=sample.rows,
    )
