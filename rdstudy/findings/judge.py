"""Claims -> findings: a verdict each, with the effect that decided it and how many runs stand behind it.

A claim that does not hold comes out as supported in at most 2.5 % of studies, and one that holds as contradicted in at
most 2.5 % (`evidence.ERROR`); a claim can be wrong in one of these ways alone. Nothing is corrected for the number of
claims: of eleven, some verdict is wrong in at most 27.5 % of studies, however they depend on each other.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rdstudy.claims import Claim
from rdstudy.findings.contrasts import evidence
from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, Effect, Evidence
from rdstudy.findings.values import AmbiguousArmError, Values

Verdict = Literal["supported", "contradicted", "undecided", "not enough runs"]


@dataclass(frozen=True)
class Finding:
    """What the tables say of a claim.

    Attributes:
        claim: the claim.
        verdict: supported where all its contrasts are, contradicted where one is.
        effect: of the contrast that decides; None where there are not enough runs, or no number to be believed.
        runs: models behind the whole claim.
        notes: what a reader must know.
    """

    claim: Claim
    verdict: Verdict
    effect: Effect | None
    runs: int
    notes: tuple[str, ...] = ()


def judge(claims: Iterable[Claim], values: Values) -> tuple[Finding, ...]:
    """Hold claims against the numbers of a study."""
    return tuple(_judge(claim, values) for claim in claims)


def _judge(claim: Claim, values: Values) -> Finding:
    values.used.clear()
    try:
        found = [evidence(contrast, values) for contrast in claim.contrasts]
    except AmbiguousArmError as error:  # a mistake in the study's file: said on the page, which is made all the same
        return Finding(claim, "not enough runs", None, 0, (str(error),))
    runs = len(values.used & set(values.rows["member_id"]))
    notes = tuple(dict.fromkeys(note for one in found for note in one.notes))
    verdict = verdict_of(found)
    if verdict == "not enough runs":
        fewest = min(one.seeds for one in found)
        return Finding(claim, verdict, None, runs, (*notes, f"{fewest} complete seeds where {LEAST_SEEDS} are needed"))
    if verdict == "contradicted":
        return Finding(claim, verdict, min(found, key=lambda one: one.p_against).refuted, runs, notes)
    told = [one for one in found if one.weakest is not None]
    return Finding(claim, verdict, max(told, key=lambda one: one.p_for).weakest if told else None, runs, notes)


def verdict_of(found: list[Evidence]) -> Verdict:
    """The verdict on a claim with these contrasts, of which all must hold."""
    if min(one.p_against for one in found) * len(found) <= ERROR:
        return "contradicted"
    if any(one.seeds < LEAST_SEEDS for one in found):
        return "not enough runs"
    return "supported" if max(one.p_for for one in found) <= ERROR else "undecided"
