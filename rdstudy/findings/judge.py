"""Claims -> findings: a verdict each, with the effect that decided it and what stands behind it.

A claim that does not hold comes out as supported in at most 2.5 % of studies, and one that holds as contradicted in at
most 2.5 % (`evidence.ERROR`); a claim can be wrong in one of these ways alone. Nothing is corrected for the number of
claims: of eleven, some verdict is wrong in at most 27.5 % of studies, however they depend on each other.

A claim with a contrast of which nothing follows, as numbers that it compares are not to be believed, is never
supported; its other contrasts can still contradict it.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rdstudy.claims import Claim
from rdstudy.findings.contrasts import evidence
from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, Effect, Evidence
from rdstudy.findings.values import AmbiguousArmError, Values

Verdict = Literal["supported", "contradicted", "undecided", "not enough runs"]

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
class Finding:
    """What the tables say of a claim.

    Attributes:
        claim: the claim.
        verdict: supported where all its contrasts are, contradicted where one is.
        effect: of the contrast that decides; None where there are not enough runs, or no number to be believed.
        behind: data sets, models and images.
        notes: what a reader must know.
        learning: which of its networks were still learning when their training ended; empty where none is known to.
    """

    claim: Claim
    verdict: Verdict
    effect: Effect | None
    behind: Behind
    notes: tuple[str, ...] = ()
    learning: str = ""

    @property
    def runs(self) -> int:
        """Models behind the whole claim."""
        return self.behind.models


def judge(claims: Iterable[Claim], values: Values) -> tuple[Finding, ...]:
    """Hold claims against the numbers of a study."""
    return tuple(_judge(claim, values) for claim in claims)


def _judge(claim: Claim, values: Values) -> Finding:
    values.used.clear()
    values.counted.clear()
    try:
        held = [evidence(contrast, values) for contrast in claim.contrasts]
    except AmbiguousArmError as error:  # a mistake in the study's file: said on the page, which is made all the same
        return Finding(claim, "not enough runs", None, Behind(), (str(error),))
    behind, learning = _behind(claim, values), _learning(claim, values)
    notes = tuple(dict.fromkeys(note for one in held for note in one.notes))
    verdict = verdict_of(held)
    effect = None
    if verdict == "not enough runs":
        fewest = min(one.seeds for one in held)
        notes = (*notes, f"{fewest} complete seeds where {LEAST_SEEDS} are needed")
    elif verdict == "contradicted":
        effect = min(held, key=lambda one: one.p_against).refuted
    elif not any(_says_nothing(one) for one in held):
        told = [one for one in held if one.weakest is not None]
        effect = max(told, key=lambda one: one.p_for).weakest if told else None
    return Finding(claim, verdict, effect, behind, notes, learning)


def verdict_of(held: list[Evidence]) -> Verdict:
    """The verdict on a claim with these contrasts, of which all must hold."""
    if min(one.p_against for one in held) * len(held) <= ERROR:
        return "contradicted"
    if any(one.seeds < LEAST_SEEDS for one in held):
        return "not enough runs"
    return "supported" if max(one.p_for for one in held) <= ERROR else "undecided"


def _says_nothing(one: Evidence) -> bool:
    """Whether it is the evidence of numbers in doubt: then no other contrast's effect is why a claim is undecided."""
    return one.weakest is None and one.seeds >= LEAST_SEEDS


def _behind(claim: Claim, values: Values) -> Behind:
    """Models and images of the curves that were asked for, and the data sets of all arms."""
    used = values.used & set(values.rows["member_id"]) if len(values.rows) else set()
    planned = values.planned
    named = {arm["dataset"] for one in claim.flat() for arm in one.arms.values() if "dataset" in arm}
    if used and "dataset" in planned:
        named = set(planned.loc[planned["member_id"].isin(used), "dataset"])
    return Behind(len(named), len(used), {key: min(many) for key, many in sorted(values.counted.items()) if many})


# --- networks that still learn ----------------------------------------------------------------------------------------


def _learning(claim: Claim, values: Values) -> str:
    """Which of a claim's networks were still learning when their training ended."""
    table = values.learning
    if table.empty or not table["learning"].any():
        return ""
    planned = values.planned[values.planned["member_id"].isin(values.used)]
    factors = [str(name) for name in planned if name in table and name not in ("member_id", "seed", "beta")]
    asked = planned[[*factors, "beta"]].drop_duplicates()
    found = table[table["learning"]].merge(asked, on=[*factors, "beta"]).sort_values("fall", ascending=False)
    if found.empty:
        return ""
    cells = found.drop_duplicates(factors)  # each at the β at which it fell the most
    arms = [arm for one in claim.flat() for arm in one.arms.values()]
    apart = [name for name in factors if len({str(arm.get(name)) for arm in arms}) > 1]
    named = [_cell(row, apart or ["depth"]) for row in cells.head(_NAMED).to_dict("records")]
    more = f"; and {len(cells) - _NAMED} more" if len(cells) > _NAMED else ""
    return f"on networks still learning: {'; '.join(named)}{more}"


def _cell(row: Mapping[Any, Any], factors: Iterable[str]) -> str:
    """Such as "3 layers, train D fell by 4.1 ± 0.3 nats in the last quarter at β = 0.01"."""
    names = ", ".join(_level(name, row[name]) for name in factors if name in row)
    noise = "" if math.isnan(row["error"]) else f" ± {row['error']:.2g}"
    where = f"train D fell by {row['fall']:.1f}{noise} nats in the last quarter at β = {row['beta']:g}"
    return f"{names}, {where}" if names else where


def _level(factor: str, level: object) -> str:
    if factor == "depth":
        return f"{level} layer" if level == 1 else f"{level} layers"
    return f"{level}" if factor in ("dataset", "split", "architecture") else f"{factor} {level}"
