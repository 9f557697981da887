"""Claims -> findings: a verdict each, with the effect that decided it and what stands behind it.

A claim that does not hold comes out as supported in at most 2.5 % of studies, and one that holds as contradicted in at
most 2.5 % (`evidence.ERROR`); a claim can be wrong in one of these ways alone. Nothing is corrected for the number of
claims: of eleven, some verdict is wrong in at most 27.5 % of studies, however they depend on each other.

A claim with a contrast of which nothing follows, as numbers that it compares are not to be believed, is never
supported; its other contrasts can still contradict it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from rdstudy.findings.clauses import clause, shared_levels, telling
from rdstudy.findings.contrasts import evidence
from rdstudy.findings.evidence import LEAST_SEEDS, Effect, Evidence
from rdstudy.findings.results import VERDICTS, Judged, Result, Verdict, whole
from rdstudy.findings.values import AmbiguousArmError, Values
from rdstudy.study.claims import Claim, Contrast
from rdstudy.study.factors import CELL_FACTORS, FACTORS

_NAMED = 2  # cells that still learn, named in a line


@dataclass(frozen=True)
class Behind:
    """What stands behind a whole claim.

    Attributes:
        datasets: how many data sets.
        models: how many models, those that ended `ok`.
        images: (what was measured, subset) -> images, of the fewest where models differ; D and R are measured as "".
    """

    datasets: int = 0
    models: int = 0
    images: Mapping[tuple[str, str], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Learning:
    """Whether the networks of a claim were still learning when their training ended.

    Attributes:
        state: `still learning`: some were. `unknown`: of some models no training curve is stored, and no other one was.
            `ended`: none was. `no networks`: none stands behind the claim.
        words: which, and by how much.
    """

    state: Literal["still learning", "unknown", "ended", "no networks"] = "no networks"
    words: str = ""


@dataclass(frozen=True)
class ContrastFinding:
    """What the tables say of one contrast of a claim.

    Attributes:
        contrast: what is claimed.
        clause: the same in words.
        result: what came of it.
        effect: the number that shows the result; None where there are not enough models, or none to be believed, and of
            what is made of `parts`.
        notes: what a reader must know of it.
        decides: whether the verdict, or the result of what it is a part of, stands on it.
        parts: the same of the contrasts that it is made of.
    """

    contrast: Contrast
    clause: str
    result: Result
    effect: Effect | None
    notes: tuple[str, ...] = ()
    decides: bool = False
    parts: "tuple[ContrastFinding, ...]" = ()

    @property
    def corrected(self) -> bool:
        """Whether the interval lies on one side of the threshold, and not so far as all that is compared asks for."""
        return self.result == "not told apart" and self.effect is not None and self.effect.side != 0

    def flat(self) -> "list[ContrastFinding]":
        """It, and all that it is made of."""
        return [self, *(inner for part in self.parts for inner in part.flat())]


@dataclass(frozen=True)
class Finding:
    """What the tables say of a claim.

    Attributes:
        claim: the claim.
        verdict: supported where all its contrasts are held, contradicted where one is not.
        contrasts: of the claim, in its order: the verdict follows from their results.
        behind: data sets, models and images.
        models: what all its models have in common and others of the study have not, in words.
        learning: whether its networks were still learning when their training ended.
    """

    claim: Claim
    verdict: Verdict
    contrasts: tuple[ContrastFinding, ...]
    behind: Behind
    models: str = ""
    learning: Learning = Learning()

    @property
    def effect(self) -> Effect | None:
        """Of the contrast that decides; None where it has none."""
        deciding = [part for contrast in self.contrasts if contrast.decides for part in _decisive(contrast)]
        return deciding[-1].effect if deciding else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader must know, of all contrasts."""
        every = [part for contrast in self.contrasts for part in contrast.flat()]
        return tuple(dict.fromkeys(note for part in every for note in part.notes))


def _decisive(contrast: ContrastFinding) -> list[ContrastFinding]:
    """A contrast, the part that decides it, and so on."""
    return [contrast, *(inner for part in contrast.parts if part.decides for inner in _decisive(part))]


def judge(claims: Iterable[Claim], values: Values) -> tuple[Finding, ...]:
    """Hold claims against the numbers of a study."""
    return tuple(_judge(claim, values) for claim in claims)


def _judge(claim: Claim, values: Values) -> Finding:
    values.used.clear()
    values.counted.clear()
    judged = whole([_evidence(contrast, values) for contrast in claim.contrasts])
    factors = telling(claim)
    contrasts = _contrasts(claim.contrasts, judged.parts, factors)
    behind, models = _behind(claim, values), shared_levels(claim, values.planned)
    return Finding(claim, VERDICTS[judged.result], contrasts, behind, models, _learning(claim, values))


def _evidence(contrast: Contrast, values: Values) -> Evidence:
    """Evidence of a contrast; of one that names no models, none, and the reason."""
    try:
        return evidence(contrast, values)
    except AmbiguousArmError as error:  # a mistake in the study's file: said on the page, which is made all the same
        return Evidence(1.0, 1.0, None, None, 0, (str(error),))


def _contrasts(
    contrasts: Sequence[Contrast], judged: Sequence[Judged], factors: Sequence[str]
) -> tuple[ContrastFinding, ...]:
    pairs = zip(contrasts, judged, strict=True)
    return tuple(_contrast(contrast, part, factors) for contrast, part in pairs)


def _contrast(contrast: Contrast, judged: Judged, factors: Sequence[str]) -> ContrastFinding:
    parts = _contrasts(contrast.parts, judged.parts, factors) if judged.parts else ()
    notes = () if parts else judged.evidence.notes
    if judged.result == "not enough models" and not parts:
        seeds = judged.evidence.seeds
        notes = (*notes, f"{seeds} complete seed{'' if seeds == 1 else 's'} where {LEAST_SEEDS} are needed")
    words = clause(contrast, factors)
    return ContrastFinding(
        contrast, words, judged.result, None if parts else judged.effect, notes, judged.decides, parts
    )


def _behind(claim: Claim, values: Values) -> Behind:
    """Models and images of the curves that were asked for, and the data sets of all arms."""
    used = _trained(values)
    planned = values.planned
    named = {arm["dataset"] for contrast in claim.flat() for arm in contrast.arms.values() if "dataset" in arm}
    if used and "dataset" in planned:
        named = set(planned.loc[planned["member_id"].isin(used), "dataset"])
    return Behind(len(named), len(used), {key: min(many) for key, many in sorted(values.counted.items()) if many})


# --- networks that still learn ----------------------------------------------------------------------------------------


def _learning(claim: Claim, values: Values) -> Learning:
    """Whether a claim's networks were still learning when their training ended."""
    models = _trained(values)
    if not models:
        return Learning()
    unknown = len(models - values.followed)
    of_which = "any of its" if unknown == len(models) else f"{unknown:,} of its"
    missing = f"no training curve is stored of {of_which} {len(models):,} models" if unknown else ""
    falls = _falls(values)
    learning = falls[falls["learning"]] if len(falls) else falls
    if len(learning):
        named = f"on networks still learning: {_named(claim, learning)}"
        return Learning("still learning", f"{named}; {missing}, and nothing is known of those" if missing else named)
    if missing:
        return Learning("unknown", f"whether its networks were still learning is not known: {missing}")
    return Learning("ended", f"on networks that were not found still learning: {_most(claim, falls)}")


def _trained(values: Values) -> set[str]:
    """Ids of the models behind the curves that were asked for."""
    return values.used & set(values.rows["member_id"]) if len(values.rows) else set()


def _falls(values: Values) -> pd.DataFrame:
    """What `still_learning` says of the cells and β of these models."""
    table = values.learning
    if table.empty:
        return table
    planned = values.planned[values.planned["member_id"].isin(values.used)]
    factors = [name for name in CELL_FACTORS if name in planned and name in table]
    return table.merge(planned[[*factors, "beta"]].drop_duplicates(), on=[*factors, "beta"])


def _named(claim: Claim, learning: pd.DataFrame) -> str:
    """Cells that still learned, each at the β at which it fell the most."""
    factors = [name for name in CELL_FACTORS if name in learning]
    cells = learning.sort_values("fall", ascending=False).drop_duplicates(factors)
    apart = [name for name in telling(claim) if name in factors] or ["depth"]
    named = [_cell(row, apart) for row in cells.head(_NAMED).to_dict("records")]
    more = f"; and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
    return f"{'; '.join(named)}{more}"


def _most(claim: Claim, falls: pd.DataFrame) -> str:
    """The cell and β with the largest fall."""
    apart = [name for name in telling(claim) if name in falls]
    return f"at most, {_cell(falls.nlargest(1, 'fall').to_dict('records')[0], apart)}"


def _cell(row: Mapping[Any, Any], factors: Iterable[str]) -> str:
    """Such as "3 layers, train D fell by 4.1 ± 0.3 nats in the last quarter at β = 0.01"."""
    names = ", ".join(FACTORS[name].label(row[name]) for name in factors if name in row)
    noise = "" if math.isnan(row["error"]) else f" ± {row['error']:.2g}"
    fall = f"{row['fall']:.1f}".replace("-", "−")
    where = f"train D fell by {fall}{noise} nats in the last quarter at β = {row['beta']:g}"
    return f"{names}, {where}" if names else where
