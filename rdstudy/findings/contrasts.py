"""Kinds of contrasts -> samples: one number a seed, candidate and part. `rdstudy.claims.contrasts` says what they mean.

A seed counts where all numbers that the contrast needs of it are there.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.claims import Arm, Betas, Contrast
from rdstudy.findings.evidence import Evidence, Sample, at_least, decide
from rdstudy.findings.values import NATS, UNITS, Curve, Values
from rdstudy.splits import parse_rule

_IMAGE_GROUPS = 10
"""Distances of images have no seeds: the test images, a random sample, are dealt into so many groups instead."""
_LEAST_IMAGES = 20  # in a group: fewer show no distribution
_QUANTILES = 100
_DISTANCE = "ℓ2 of pixels in [0, 1]"
_NEAR_DECADES = 0.5
"""β is near another at most this far away: of 0.1, neither 1 nor 0.01 is."""


def evidence(contrast: Contrast, values: Values) -> Evidence:
    """Hold a contrast against the numbers of a study.

    Raises:
        AmbiguousArmError: an arm is more than one cell.
    """
    if contrast.kind == "at_least":
        return at_least(contrast.settings["least"], [evidence(part, values) for part in contrast.parts])
    return decide(_SAMPLES[contrast.kind](contrast, values))


def _interior_minimum(contrast: Contrast, values: Values) -> Sample:
    found, betas, notes = _one(contrast, values)
    inner = found[:, 1:-1]
    rises = np.stack([found[:, :1] - inner, found[:, -1:] - inner], axis=2)  # of the edges over β
    labels = [[f"rise from β = {beta:g} to {edge:g}" for edge in (betas[0], betas[-1])] for beta in betas[1:-1]]
    return Sample(rises, contrast.settings["share"] * rises[:, :, ::-1], labels, _unit(contrast), notes=notes)


def _monotone(contrast: Contrast, values: Values) -> Sample:
    found, betas, notes = _one(contrast, values)
    low, high = np.triu_indices(len(betas), 1)
    rises = (found[:, low] - found[:, high])[:, :, None]
    allowed = contrast.settings["share"] * (found[:, -1:] - found[:, :1])[:, :, None]
    labels = [[f"rise from β = {betas[j]:g} to {betas[i]:g}"] for i, j in zip(low, high, strict=True)]
    return Sample(rises, np.broadcast_to(allowed, rises.shape), labels, _unit(contrast), never=True, notes=notes)


def _falls(contrast: Contrast, values: Values) -> Sample:
    found, betas, notes = _one(contrast, values)
    labels = [f"fall from β = {low:g} to {high:g}" for low, high in itertools.pairwise(betas)]
    return _plain(contrast, found[:, :-1] - found[:, 1:], 0.0, labels, notes)


def _above(contrast: Contrast, values: Values) -> Sample:
    found, betas, notes = _one(contrast, values)
    labels = [f"{_name(contrast)} at β = {beta:g}" for beta in betas]
    return _plain(contrast, found, contrast.settings["least"], labels, notes)


def _lower_everywhere(contrast: Contrast, values: Values) -> Sample:
    (low, high), betas, notes = _several(contrast, values, ("arm", "than"))
    return _plain(contrast, high - low, 0.0, [f"{_name(contrast)} at β = {beta:g}, lower by" for beta in betas], notes)


def _exceeds(contrast: Contrast, values: Values) -> Sample:
    curves = [_curve(contrast, values, role) for role in ("arm", "over")]
    ranges = [Betas(**contrast.settings[name]) for name in ("betas", "over_betas")]
    kept = [_within(curve.table, some) for curve, some in zip(curves, ranges, strict=True)]
    one, other = _complete([curve.table[betas] for curve, betas in zip(curves, kept, strict=True)])
    thresholds = contrast.settings["times"] * _mean(other)
    return _plain(contrast, _mean(one), thresholds, [f"mean {_name(contrast)}"], _notes(curves))


def _alike(contrast: Contrast, values: Values) -> Sample:
    (one, two, far, away), _, notes = _several(contrast, values, ("arm", "to", "one", "other"))
    label, unit = "mean difference of the curves", _unit(contrast)
    return _nearer(_apart(one, two), _apart(far, away), share=contrast.settings["share"], about=(label, unit, notes))


def _best_near(contrast: Contrast, values: Values) -> Sample:
    found, betas, notes = _one(contrast, values)
    decades = np.log10(np.maximum(np.asarray(betas, float), 1e-12)) - np.log10(contrast.settings["beta"])
    near, far = np.flatnonzero(np.abs(decades) <= _NEAR_DECADES), np.flatnonzero(np.abs(decades) > _NEAR_DECADES)
    if len(betas) and not len(near):
        notes = (*notes, f"no {_name(contrast)} at a β near {contrast.settings['beta']:g}")
    excess = found[:, None, far] - found[:, near, None]
    labels = [[f"{_name(contrast)} at β = {betas[j]:g} over that at {betas[i]:g}" for j in far] for i in near]
    return Sample(excess, np.zeros_like(excess), labels, _unit(contrast), notes=notes)


def _deeper_minimum(contrast: Contrast, values: Values) -> Sample:
    (one, other), betas, notes = _several(contrast, values, ("arm", "than"))
    deep, shallow = one[:, :1] - one, other[:, :1] - other  # rises to the smallest β, 0 from itself
    shape = (len(one), len(betas), len(betas))
    labels = [[f"rise from β = {beta:g} to the smallest, beside that from {its:g}" for its in betas] for beta in betas]
    effects, limits = np.broadcast_to(deep[:, :, None], shape), np.broadcast_to(shallow[:, None, :], shape)
    return Sample(effects, limits, labels, _unit(contrast), notes=notes)


def _widens(contrast: Contrast, values: Values) -> Sample:
    (growth,), notes = _growth(contrast, values, ["splits"])
    labels = ["growth of the curves' difference, each halving of N"]
    against = _plain(contrast, growth.most, 0.0, labels, notes)
    return dataclasses.replace(_plain(contrast, growth.least, 0.0, labels, notes), against=against)


def _widens_less(contrast: Contrast, values: Values) -> Sample:
    (growth, other), notes = _growth(contrast, values, ["splits", "than"])
    labels = [f"{way} of the curves' difference, each halving of N" for way in ("growth", "shrinking")]
    share = contrast.settings["share"]

    def sample(*, up: NDArray[np.float64], down: NDArray[np.float64], of: NDArray[np.float64]) -> Sample:
        both = np.concatenate([up, -down], axis=1)
        return _plain(contrast, both, share * of, labels[: both.shape[1]], notes, below=True)

    against = sample(up=growth.least, down=growth.most, of=other.most)
    return dataclasses.replace(sample(up=growth.most, down=growth.least, of=other.least), against=against)


def _growth(contrast: Contrast, values: Values, groups: Sequence[str]) -> tuple[list["_Between"], tuple[str, ...]]:
    """Per group of splits: least-squares slope of the arms' mean difference against -log2 of N."""
    settings = contrast.settings
    arms = [
        {**contrast.arms[role], "split": split}
        for group in groups
        for split in settings[group]
        for role in ("arm", "to")
    ]
    curves = [values.curve(arm, settings["value"], settings["subset"]) for arm in arms]
    tables = iter(_complete(_shared([curve.table for curve in curves])))
    found = []
    for group in groups:
        sizes = [parse_rule(split).train_images or 1 for split in settings[group]]
        halvings = -np.log2(np.asarray(sizes, float))
        weights = (halvings - halvings.mean()) / np.sum((halvings - halvings.mean()) ** 2)
        apart = [_apart(next(tables), next(tables)) for _ in sizes]
        pairs = list(zip(weights, apart, strict=True))
        least = sum(weight * (one.least if weight > 0 else one.most) for weight, one in pairs)
        most = sum(weight * (one.most if weight > 0 else one.least) for weight, one in pairs)
        found.append(_Between(np.asarray(least), np.asarray(most)))
    return found, _notes(curves)


def _distances_alike(contrast: Contrast, values: Values) -> Sample:
    groups = [_distances(values, contrast.arms[role]) for role in ("arm", "to", "one", "other")]
    name = "Wasserstein distance of the distributions"
    if not all(map(len, groups)):
        return Sample(np.zeros((0, 1, 1)), np.zeros((0, 1, 1)), [[name]], _DISTANCE)
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    one, two, far, away = (np.stack([np.quantile(part, levels) for part in group]) for group in groups)
    note = f"one number for each of {_IMAGE_GROUPS} groups of test images, as no seed is in it"
    about = (name, _DISTANCE, (note,))
    return _nearer(_apart(one, two), _apart(far, away), share=contrast.settings["share"], about=about)


def _distances(values: Values, arm: Arm) -> list[NDArray[np.float64]]:
    """Distances of a split's test images, dealt into groups; none where too few are stored."""
    rows = values.neighbours
    rows = rows[(rows["dataset"] == arm["dataset"]) & (rows["split"] == arm["split"])].dropna(subset=["distance"])
    found = rows.sort_values("image", kind="stable")["distance"].to_numpy(float)
    many = len(found) >= _LEAST_IMAGES * _IMAGE_GROUPS
    return [found[start::_IMAGE_GROUPS] for start in range(_IMAGE_GROUPS)] if many else []


# --- how far apart ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Between:
    """`[seed, 1]` each: two estimates of a number; where they err on average, one is too small and one too large."""

    least: NDArray[np.float64]
    most: NDArray[np.float64]


def _apart(one: NDArray[np.float64], two: NDArray[np.float64]) -> _Between:
    """How far two curves `[seed, β]` are apart, in the mean over β.

    The mean of |d| over seeds is too large: noise alone gives some, where the curves are equal. A seed's d with the
    sign that the other seeds have there has no such part, and is too small where that sign is chance.
    """
    d = one - two
    others = d.sum(axis=0) - d
    return _Between(_mean(d * np.sign(others)), _mean(np.abs(d)))


def _nearer(near: _Between, apart: _Between, *, share: float, about: tuple[str, str, tuple[str, ...]]) -> Sample:
    """Less than a share of the distance `apart`; each verdict has the errors of both estimates against itself."""
    label, unit, notes = about

    def sample(near: NDArray[np.float64], apart: NDArray[np.float64]) -> Sample:
        return Sample(near[:, None], share * apart[:, None], [[label]], unit, below=True, notes=notes)

    return dataclasses.replace(sample(near.most, apart.least), against=sample(near.least, apart.most))


# --- numbers of arms --------------------------------------------------------------------------------------------------


def _curve(contrast: Contrast, values: Values, role: str) -> Curve:
    """The curve of an arm, of the β that the contrast is about."""
    settings = contrast.settings
    return values.curve(contrast.arms[role], settings["value"], settings["subset"])


def _one(contrast: Contrast, values: Values) -> tuple[NDArray[np.float64], list[float], tuple[str, ...]]:
    """`[seed, β]` of the only arm, its β, and notes."""
    (found,), betas, notes = _several(contrast, values, ("arm",))
    return found, betas, notes


def _several(
    contrast: Contrast, values: Values, roles: Sequence[str]
) -> tuple[list[NDArray[np.float64]], list[float], tuple[str, ...]]:
    """`[seed, β]` of some arms at the β that all of them have, these β, and notes."""
    curves = [_curve(contrast, values, role) for role in roles]
    tables = _shared([curve.table for curve in curves])
    kept = Betas(**contrast.settings.get("betas", {}))
    betas = _within(tables[0], kept)
    return _complete([table[betas] for table in tables]), betas, _notes(curves)


def _within(table: pd.DataFrame, kept: Betas) -> list[float]:
    """The β of a table that lie in a range, ascending."""
    return [beta for beta in map(float, table.columns.to_numpy()) if beta in kept]


def _shared(tables: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Tables of the β that all of them have."""
    shared = [beta for beta in tables[0] if all(beta in table for table in tables)]
    return [table[shared] for table in tables]


def _complete(tables: Sequence[pd.DataFrame]) -> list[NDArray[np.float64]]:
    """`[seed, β]` of the seeds of which every table has every number."""
    whole = [set(table.index[np.isfinite(table.to_numpy(float)).all(axis=1)]) for table in tables]
    seeds = sorted(set.intersection(*whole))
    return [table.loc[seeds].to_numpy(float) for table in tables]


def _mean(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """`[seed, 1]`: the mean over β; `[seed, 0]` of no β."""
    return found.mean(axis=1, keepdims=True) if found.shape[1] else found


def _plain(
    contrast: Contrast,
    effects: NDArray[np.float64],
    thresholds: NDArray[np.float64] | float,
    labels: list[str],
    notes: tuple[str, ...],
    *,
    below: bool = False,
) -> Sample:
    """A sample of one candidate: effects `[seed, part]`; none where there is nothing to hold them against."""
    if isinstance(thresholds, np.ndarray) and not thresholds.shape[1]:
        effects = effects[:, :0]
    limits = np.broadcast_to(thresholds, effects.shape)
    return Sample(effects[:, None, :], limits[:, None, :], [labels], _unit(contrast), below=below, notes=notes)


def _unit(contrast: Contrast) -> str:
    return UNITS.get(contrast.settings["value"], NATS)


def _name(contrast: Contrast) -> str:
    return str(contrast.settings["value"]).replace("_", " ")


def _notes(curves: Sequence[Curve]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for curve in curves for note in curve.notes))


_SAMPLES: Mapping[str, Callable[[Contrast, Values], Sample]] = {
    "interior_minimum": _interior_minimum,
    "monotone": _monotone,
    "falls": _falls,
    "above": _above,
    "lower_everywhere": _lower_everywhere,
    "exceeds": _exceeds,
    "alike": _alike,
    "best_near": _best_near,
    "deeper_minimum": _deeper_minimum,
    "widens": _widens,
    "widens_less": _widens_less,
    "distances_alike": _distances_alike,
}
