"""The curves of a contrast's arms -> samples: complete seeds, groups of β, single images, all by one linear rule.

What a rule computes is none of this file's business. Axis order: row (a seed, or a seed and an image), β, image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.evidence import Sample
from rdstudy.findings.spread import Floats, Shared
from rdstudy.findings.values import Curve, Values, betas_phrase
from rdstudy.study.claims import Betas, Contrast

_ONE_DECADES = 0.25
"""β of one group lie no further apart: 0.7, 0.9 and 1 are practically one β, 0.1 and 0.3 are not."""

Rule = Callable[[list[Floats]], tuple[Floats, Floats]]
"""Arrays `[row, β]` of some curves -> effects and thresholds `[row, candidate, part]`, linear in them."""


@dataclass(frozen=True)
class Arms:
    """What a contrast compares: curves, and the β of each, ascending."""

    curves: list[Curve]
    betas: list[list[float]]

    @property
    def groups(self) -> list[list[float]]:
        """The β of all curves, which are the same, by what is practically one β."""
        return grouped(self.betas[0])

    @property
    def unit(self) -> str:
        """The unit of all curves."""
        return self.curves[0].unit

    def seeds(self) -> list[int]:
        """The seeds of which every curve has every number."""
        complete = []
        for curve, numbers in zip(self.curves, self._numbers(), strict=True):
            seeds = curve.table.index.tolist()
            complete.append({seeds[row] for row in np.flatnonzero(np.isfinite(numbers).all(axis=1))})
        return sorted(set.intersection(*complete))

    def complete(self) -> list[Floats]:
        """`[seed, β]` of each curve, of these seeds."""
        seeds = self.seeds()
        pairs = zip(self.curves, self._numbers(), strict=True)
        return [numbers[_places(curve.table.index, seeds)] for curve, numbers in pairs]

    def _numbers(self) -> list[Floats]:
        """`[seed, β]` of each curve, of all its seeds."""
        pairs = zip(self.curves, self.betas, strict=True)
        return [curve.table.to_numpy(float)[:, _places(curve.table.columns, betas)] for curve, betas in pairs]

    def notes(self) -> tuple[str, ...]:
        """What a reader must know of the curves."""
        return tuple(dict.fromkeys(note for curve in self.curves for note in curve.notes))

    def doubts(self) -> tuple[str, ...]:
        """Why nothing follows: β that are compared, and whose numbers are not to be believed."""
        doubted: dict[str, set[float]] = {}
        for curve, betas in zip(self.curves, self.betas, strict=True):
            doubted.setdefault(curve.arm, set()).update(set(betas) & set(curve.doubted))
        return tuple(
            f"undecided as log p(x) of {arm} is not to be believed at β = {betas_phrase(sorted(betas))}, where fewer "
            f"than {100 * LEAST_PASSED:g} % of its images have an estimate that passes"
            for arm, betas in doubted.items()
            if betas
        )


def _places(index: pd.Index, wanted: Sequence[float]) -> list[int]:
    """Where some seeds or β stand among those of a table."""
    places = {name: place for place, name in enumerate(index.tolist())}
    return [places[name] for name in wanted]


def shared_arms(contrast: Contrast, values: Values, roles: Sequence[str]) -> Arms:
    """The curves of some roles, at the β that all of them have and that the contrast is about."""
    curves = [curve_of(contrast, values, role) for role in roles]
    kept = Betas(**contrast.settings.get("betas", {}))
    betas = [beta for beta in within(curves[0].table, kept) if all(beta in curve.table.columns for curve in curves)]
    return Arms(curves, [betas] * len(curves))


def linear(arms: Arms, rule: Rule, labels: Sequence[Sequence[str]], *, candidates: Sequence[str] = ()) -> Sample:
    """The sample of a rule: of the seeds, of single images, and of errors that images make, each by the same rule.

    Args:
        arms: the curves.
        rule: what is computed of them.
        labels: `[candidate][part]`, what each effect is.
        candidates: what each candidate is, in words.
    """
    effects, thresholds = rule(arms.complete())
    return Sample(
        effects,
        np.asarray(thresholds),
        labels,
        arms.unit,
        notes=arms.notes(),
        doubts=arms.doubts(),
        images=_images(arms, rule) if effects.size else (),
        shared=_shared_error(arms, rule) if effects.size else None,
        seeds=arms.seeds(),
        candidates=candidates,
    )


def _images(arms: Arms, rule: Rule) -> tuple[Floats, ...]:
    """What single images add to distances, `[seed, candidate, part, image]` for each sample of images."""
    names = dict.fromkeys(name for curve in arms.curves for name in curve.images)
    return tuple(_of_images(arms, rule, name) for name in names)


def _of_images(arms: Arms, rule: Rule, name: str) -> Floats:
    seeds, arrays = arms.seeds(), []
    count = min(curve.images[name].shape[-1] for curve in arms.curves if name in curve.images)
    for curve, betas in zip(arms.curves, arms.betas, strict=True):
        rows, columns = _places(curve.table.index, seeds), _places(curve.table.columns, betas)
        part = (
            curve.images[name][np.ix_(rows, columns)][..., :count]
            if name in curve.images
            else np.zeros((len(seeds), len(betas), count))
        )
        arrays.append(np.moveaxis(part, 2, 1).reshape(len(seeds) * count, len(betas)))
    effects, thresholds = rule(arrays)
    distances = (effects - thresholds).reshape(len(seeds), count, *effects.shape[1:])
    return np.moveaxis(distances, 1, -1)


def _shared_error(arms: Arms, rule: Rule) -> Shared | None:
    """The variance that images make which all seeds share: the mean square over seeds of each member's error.

    The same images err alike at all β and in all arms, by how much is not known. So errors that enter with one sign are
    added as if they were one, and those that enter with the other as if they were independent of these: nothing is
    taken off that may not be there.
    """
    if all(curve.error is None for curve in arms.curves):
        return None
    seeds, widths = arms.seeds(), [len(betas) for betas in arms.betas]
    up, down = np.zeros(()), np.zeros(())
    for at, (curve, betas) in enumerate(zip(arms.curves, arms.betas, strict=True)):
        if curve.error is None:
            continue
        units = [
            np.eye(widths[at]) if other == at else np.zeros((widths[at], width)) for other, width in enumerate(widths)
        ]
        effects, thresholds = rule(units)
        weights = effects - thresholds  # [β, candidate, part]
        squares = curve.error.loc[seeds, betas].to_numpy(float) ** 2
        errors = np.sqrt(np.nanmean(squares, axis=0))[:, None, None]
        up, down = (
            up + (np.maximum(weights, 0) * errors).sum(axis=0),
            down + (np.maximum(-weights, 0) * errors).sum(axis=0),
        )
    images = [curve.error_images for curve in arms.curves if curve.error_images]
    return Shared(up**2 + down**2, min(images, default=2))


def curve_of(contrast: Contrast, values: Values, role: str) -> Curve:
    """The curve of an arm."""
    settings = contrast.settings
    return values.curve(contrast.arms[role], settings["value"], settings["subset"])


def within(table: pd.DataFrame, kept: Betas) -> list[float]:
    """The β of a table that lie in a range, ascending."""
    return [beta for beta in map(float, table.columns) if beta in kept]


def decades(beta: float) -> float:
    """log10 of β; of 0, far below any other."""
    return float(np.log10(max(beta, 1e-12)))


def grouped(betas: Sequence[float]) -> list[list[float]]:
    """β by what is practically one: from the smallest up, each joins the group whose smallest is near enough.

    Groups span at most `_ONE_DECADES`, so that they do not chain.
    """
    groups: list[list[float]] = []
    for beta in sorted(betas):
        if groups and decades(beta) - decades(groups[-1][0]) <= _ONE_DECADES + 1e-9:
            groups[-1].append(beta)
        else:
            groups.append([beta])
    return groups


def by_group(
    arrays: list[Floats], groups: Sequence[Sequence[float]], betas: Sequence[float] | None = None
) -> list[Floats]:
    """`[row, group]`: means over the β of each group.

    Args:
        arrays: `[row, β]` each.
        groups: of β.
        betas: of the arrays; None where they are those of the groups, in their order.
    """
    order = list(betas) if betas is not None else [beta for group in groups for beta in group]
    mean = np.zeros((len(order), len(groups)))
    for column, group in enumerate(groups):
        mean[[order.index(beta) for beta in group], column] = 1 / len(group)
    return [array @ mean for array in arrays]


def named(group: Sequence[float]) -> str:
    """A group of β in words: "0.7 to 1"."""
    return f"{group[0]:g}" if len(group) == 1 else f"{group[0]:g} to {group[-1]:g}"


def rises(curve: Floats) -> Floats:
    """Rises from each point of a curve `[row, β]` to that of the smallest β; 0 from itself."""
    return curve[:, :1] - curve


def mean_over_betas(curve: Floats) -> Floats:
    """`[seed, 1]`: the mean over β; `[seed, 0]` of no β."""
    return curve.mean(axis=1, keepdims=True) if curve.shape[1] else curve


def one_candidate(effects: Floats, thresholds: Floats | float) -> tuple[Floats, Floats]:
    """Effects `[row, part]` of one candidate, and thresholds of the same shape."""
    return effects[:, None, :], np.broadcast_to(thresholds, effects.shape)[:, None, :]
