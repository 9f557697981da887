"""Kinds of contrasts -> samples: one number a seed, candidate and part.

`rdstudy.study.claims.contrasts` says what they mean.

A seed counts where all numbers that the contrast needs of it are there. A contrast that compares a β whose log p(x) is
not to be believed says nothing: leaving that β out and judging the rest would judge another claim.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rdstudy.findings.arms import (
    Arms,
    by_group,
    curve_of,
    decades,
    grouped,
    linear,
    mean_over_betas,
    named,
    one_candidate,
    rises,
    shared_arms,
    within,
)
from rdstudy.findings.clauses import value_words
from rdstudy.findings.evidence import LEAST_SEEDS, Evidence, Sample, at_least, decide
from rdstudy.findings.spread import Floats
from rdstudy.findings.values import Values, betas_phrase
from rdstudy.study.claims import Arm, Betas, Contrast
from rdstudy.study.claims.contrasts import RETIRED

_IMAGE_GROUPS = 10
"""Distances of images have no seeds: the test images, a random sample, are dealt into so many groups instead."""
_LEAST_IMAGES = 20  # in a group: fewer show no distribution
_QUANTILES = 100
_DISTANCE = "ℓ2 of pixels in [0, 1]"
_NEAR_DECADES = 0.5
"""β is near another at most this far away: of 0.1, neither 1 nor 0.01 is."""
_NO_OVERLAP = 0.999
"""Share of log N from which on no two codes of the training images overlap as far as can be told."""


def evidence(contrast: Contrast, values: Values) -> Evidence:
    """Hold a contrast against the numbers of a study.

    Raises:
        AmbiguousArmError: an arm is more than one cell.
    """
    if contrast.kind == "at_least":
        return at_least(contrast.settings["least"], [evidence(part, values) for part in contrast.parts])
    if contrast.kind in RETIRED:
        note = "declared by an older version, by a contrast that is judged no more: start the study again"
        return Evidence(1.0, 1.0, None, None, LEAST_SEEDS, (note,))
    arms = contrast.cells() if contrast.is_of_one_likelihood else []
    likelihoods = {name for arm in arms for name in values.likelihoods(arm)}
    if len(likelihoods) > 1:
        note = f"not comparable: {_name(contrast)} under the likelihoods {', '.join(sorted(likelihoods))}"
        return Evidence(1.0, 1.0, None, None, LEAST_SEEDS, (note,))
    return decide(_SAMPLES[contrast.kind](contrast, values))


def _interior_minimum(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    groups = arms.groups

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        (curve,) = by_group(arrays, groups)
        inner = curve[:, 1:-1]
        edges = np.stack([curve[:, :1] - inner, curve[:, -1:] - inner], axis=2)  # of the edges over the others
        return edges, contrast.settings["share"] * edges[:, :, ::-1]

    ends = (groups[0], groups[-1]) if groups else ()
    labels = [[f"rise from β = {named(inner)} to {named(edge)}" for edge in ends] for inner in groups[1:-1]]
    return linear(arms, rule, labels, candidates=_at(groups[1:-1]))


def _monotone(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    low, high = np.triu_indices(len(arms.groups), 1)

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        (curve,) = by_group(arrays, arms.groups)
        ups = (curve[:, low] - curve[:, high])[:, :, None]
        allowed = contrast.settings["share"] * (curve[:, -1:] - curve[:, :1])[:, :, None]
        return ups, np.broadcast_to(allowed, ups.shape)

    names = [named(group) for group in arms.groups]
    pairs = [f"rise from β = {names[j]} to {names[i]}" for i, j in zip(low, high, strict=True)]
    sample = linear(arms, rule, [[pair] for pair in pairs], candidates=[f"the {pair}" for pair in pairs])
    return dataclasses.replace(sample, never=True)


def _falls(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    labels = [f"fall from β = {named(low)} to {named(high)}" for low, high in itertools.pairwise(arms.groups)]

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        (curve,) = by_group(arrays, arms.groups)
        return one_candidate(curve[:, :-1] - curve[:, 1:], 0.0)

    return linear(arms, rule, [labels])


def _above(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    labels = [f"{_name(contrast)} at β = {named(group)}" for group in arms.groups]
    least = contrast.settings["least"]
    sample = linear(arms, lambda arrays: one_candidate(by_group(arrays, arms.groups)[0], 0.0), [labels])
    return dataclasses.replace(sample, thresholds=np.full_like(sample.effects, least))


def _mean_above(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    label = f"mean {_name(contrast)} at β = {betas_phrase(arms.betas[0])}"
    sample = linear(arms, lambda arrays: one_candidate(mean_over_betas(arrays[0]), 0.0), [[label]])
    return dataclasses.replace(sample, thresholds=np.full_like(sample.effects, contrast.settings["least"]))


def _lower_everywhere(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm", "than"))
    labels = [f"{_name(contrast)} at β = {named(group)}, lower by" for group in arms.groups]

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        low, high = by_group(arrays, arms.groups)
        return one_candidate(high - low, 0.0)

    return linear(arms, rule, [labels])


def _exceeds(contrast: Contrast, values: Values) -> Sample:
    curves = [curve_of(contrast, values, role) for role in ("arm", "over")]
    ranges = [Betas(**contrast.settings[name]) for name in ("betas", "over_betas")]
    betas = [within(curve.table, kept) for curve, kept in zip(curves, ranges, strict=True)]
    arms = Arms(curves, betas)
    label = f"mean {_name(contrast)}" + (f" at β = {betas_phrase(betas[0])}" if betas[0] != betas[1] else "")

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        arm, over = map(mean_over_betas, arrays)
        return one_candidate(arm[:, : over.shape[1]], contrast.settings["times"] * over[:, : arm.shape[1]])

    return linear(arms, rule, [[label]])


def _best_near(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm",))
    betas = arms.betas[0]
    is_near = [abs(decades(beta) - decades(contrast.settings["beta"])) <= _NEAR_DECADES for beta in betas]
    near = grouped([beta for beta, close in zip(betas, is_near, strict=True) if close])
    far = grouped([beta for beta, close in zip(betas, is_near, strict=True) if not close])

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        (curve,) = by_group(arrays, [*near, *far], betas)
        excess = curve[:, None, len(near) :] - curve[:, : len(near), None]
        return excess, np.zeros_like(excess)

    name = _name(contrast)
    labels = [[f"{name} at β = {named(there)} over that at {named(here)}" for there in far] for here in near]
    sample = linear(arms, rule, labels, candidates=_at(near))
    if not betas or near:
        return sample
    return dataclasses.replace(
        sample, notes=(*sample.notes, f"no {_name(contrast)} at a β near {contrast.settings['beta']:g}")
    )


def _deeper_minimum(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm", "than"))

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        deep, shallow = map(rises, by_group(arrays, arms.groups))
        shape = (len(deep), deep.shape[1], shallow.shape[1])
        return np.broadcast_to(deep[:, :, None], shape), np.broadcast_to(shallow[:, None, :], shape)

    names = [named(group) for group in arms.groups]
    labels = [[f"rise from β = {name} to the smallest, beside that from {its}" for its in names] for name in names]
    return linear(arms, rule, labels, candidates=_at(arms.groups))


def _rises_apart(contrast: Contrast, values: Values) -> Sample:
    """Some lowest point of `arm` has a larger rise than any point of `than`: that is, than the highest of its rises."""
    arms = shared_arms(contrast, values, ("arm", "than"))
    share = contrast.settings["share"]

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        arm, than = by_group(arrays, arms.groups)
        further = rises(arm)[:, :, None] - rises(than)[:, None, :]
        fall = share * (arm[:, -1:] - arm)[:, :, None]
        return further, np.broadcast_to(fall, further.shape)

    names = [named(group) for group in arms.groups]
    labels = [
        [f"rise to the smallest β from {name}, less the other arm's from {its}" for its in names] for name in names
    ]
    return linear(arms, rule, labels, candidates=_at(arms.groups))


def _rises_less_apart(contrast: Contrast, values: Values) -> Sample:
    """For the lowest points of `than` here and of `arm` there, whatever those of the two others are.

    A rise is the highest over all points from which it may start. The difference of two is small here and large there
    when it is so for some candidate, of the rise that is taken off here and of the one that it is taken off there, with
    all parts, of the two other rises. To take off none here, the rise from the smallest β itself, has no noise: seeds
    choose another only where it comes to half of what is allowed.
    """
    arms = shared_arms(contrast, values, ("arm", "than", "one", "other"))
    share, count = contrast.settings["share"], len(arms.groups)

    def rule(arrays: list[Floats]) -> tuple[Floats, Floats]:
        here, off_here, there, off_there = map(rises, by_group(arrays, arms.groups))
        effects = here[:, None, None, :, None] - off_here[:, None, :, None, None]
        limits = share * (there[:, :, None, None, None] - off_there[:, None, None, None, :])
        shape = (len(here), count, count, count, count)
        pairs = (len(here), count**2, count**2)
        return np.broadcast_to(effects, shape).reshape(pairs), np.broadcast_to(limits, shape).reshape(pairs)

    split = contrast.arms["arm"].get("split", "the split")
    names = [named(group) for group in arms.groups]
    parts = [f"rise to the smallest β on {split}, from {name}, less the other arm's" for name in names for _ in names]
    there = rises(by_group(arms.complete(), arms.groups)[2])
    handicaps = np.repeat(share / 2 * np.abs(there), count, axis=1) * (np.arange(count**2) % count > 0)
    beside = contrast.arms["one"].get("split", "the other split")
    lowest = [f"β = {name} as the lowest on {beside}, {its} as the other arm's" for name in names for its in names]
    sample = linear(arms, rule, [parts] * count**2, candidates=lowest)
    return dataclasses.replace(sample, below=True, handicaps=handicaps)


def _alike(contrast: Contrast, values: Values) -> Sample:
    arms = shared_arms(contrast, values, ("arm", "to", "one", "other"))
    arm, to, far, away = arms.complete()
    label, unit, doubts, notes = "mean difference of the curves", arms.unit, arms.doubts(), arms.notes()
    if contrast.settings.get("overlap"):
        more, unknown = _codes_apart(contrast, values, arms)
        doubts, notes = (*doubts, *more), (*notes, *unknown)
    if any(curve.images for curve in arms.curves):
        notes = (*notes, f"the choice of images is not in the interval of a {label}")
    sample = _nearer(_apart(arm, to), _apart(far, away), share=contrast.settings["share"], about=(label, unit, notes))
    return dataclasses.replace(sample, doubts=doubts)


def _codes_apart(contrast: Contrast, values: Values, arms: "Arms") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Why nothing follows where no codes overlap, and whether it is not known that they do."""
    share = values.curve(contrast.arms["to"], "information_share", "train").table
    known = [beta for beta in arms.betas[0] if beta in share and share[beta].notna().any()]
    if len(known) < len(arms.betas[0]):
        return (), ("whether codes overlap was not measured: where they do not, nothing changes by construction",)
    apart = [beta for beta in known if share[beta].mean() >= _NO_OVERLAP]
    reason = f"at β = {betas_phrase(apart)} no two codes overlap, so that nothing changes by construction"
    return ((reason,) if apart else ()), ()


def _distances_alike(contrast: Contrast, values: Values) -> Sample:
    groups = [_distances(values, contrast.arms[role]) for role in ("arm", "to", "one", "other")]
    name = "Wasserstein distance of the distributions"
    if not all(map(len, groups)):
        return Sample(np.zeros((0, 1, 1)), np.zeros((0, 1, 1)), [[name]], _DISTANCE)
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    arm, to, far, away = (np.stack([np.quantile(part, levels) for part in group]) for group in groups)
    note = f"one number for each of {_IMAGE_GROUPS} groups of test images, as no seed is in it"
    about = (name, _DISTANCE, (note,))
    sample = _nearer(_apart(arm, to), _apart(far, away), share=contrast.settings["share"], about=about)
    assert sample.against is not None
    against = dataclasses.replace(sample.against, rows="groups of images")
    return dataclasses.replace(sample, rows=against.rows, against=against)


def _distances(values: Values, arm: Arm) -> list[Floats]:
    """Distances of a split's test images, dealt into groups; none where too few are stored."""
    rows = values.neighbours
    rows = rows[(rows["dataset"] == arm["dataset"]) & (rows["split"] == arm["split"])].dropna(subset=["distance"])
    distances = rows.sort_values("image", kind="stable")["distance"].to_numpy(float)
    many = len(distances) >= _LEAST_IMAGES * _IMAGE_GROUPS
    return [distances[start::_IMAGE_GROUPS] for start in range(_IMAGE_GROUPS)] if many else []


# --- how far apart ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Between:
    """`[seed, 1]` each: two estimates of a number; where they err on average, one is too small and one too large."""

    least: Floats
    most: Floats


def _apart(first: Floats, second: Floats) -> _Between:
    """How far two curves `[seed, β]` are apart, in the mean over β.

    The mean of |d| over seeds is too large: noise alone gives some, where the curves are equal. A seed's d with the
    sign that the other seeds have there has no such part, and is too small where that sign is chance.
    """
    d = first - second
    of_other_seeds = d.sum(axis=0) - d
    return _Between(mean_over_betas(d * np.sign(of_other_seeds)), mean_over_betas(np.abs(d)))


def _nearer(near: _Between, apart: _Between, *, share: float, about: tuple[str, str, tuple[str, ...]]) -> Sample:
    """Less than a share of the distance `apart`; each verdict has the errors of both estimates against itself."""
    label, unit, notes = about

    def sample(near: Floats, apart: Floats) -> Sample:
        return Sample(near[:, None], share * apart[:, None], [[label]], unit, below=True, notes=notes)

    return dataclasses.replace(sample(near.most, apart.least), against=sample(near.least, apart.most))


def _at(groups: Sequence[Sequence[float]]) -> list[str]:
    """Candidates that are a β, or what is practically one."""
    return [f"β = {named(group)}" for group in groups]


def _name(contrast: Contrast) -> str:
    return value_words(contrast.settings)


_SAMPLES: Mapping[str, Callable[[Contrast, Values], Sample]] = {
    "interior_minimum": _interior_minimum,
    "monotone": _monotone,
    "falls": _falls,
    "above": _above,
    "mean_above": _mean_above,
    "lower_everywhere": _lower_everywhere,
    "exceeds": _exceeds,
    "alike": _alike,
    "best_near": _best_near,
    "deeper_minimum": _deeper_minimum,
    "rises_apart": _rises_apart,
    "rises_less_apart": _rises_less_apart,
    "distances_alike": _distances_alike,
}
