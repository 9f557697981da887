"""Evidence -> the result of each contrast, and from the results the verdict: by counting, so that a reader can.

Of m contrasts at least k hold (a claim: all m) where k of them are `held`, each at its level, and fewer than k can hold
where m − k + 1 are `not held`. The levels are those of a partial conjunction (Benjamini and Heller 2008), corrected for
the contrasts that may be left out (`sure`) and for those of which one alone refutes the whole (`against`). Comparing p
of single contrasts with these is the same as comparing the p of `evidence.at_least` with the levels of the whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, Effect, Evidence, at_least

Result = Literal["held", "not held", "not told apart", "nothing follows", "not enough models"]
"""Of a contrast. `nothing follows`: there are numbers, but they are in doubt or there is nothing to compare."""

Verdict = Literal["supported", "contradicted", "undecided", "not enough models"]

VERDICTS: dict[Result, Verdict] = {
    "held": "supported",
    "not held": "contradicted",
    "not told apart": "undecided",
    "nothing follows": "undecided",
    "not enough models": "not enough models",
}


@dataclass(frozen=True)
class Levels:
    """The p below which a contrast is held, and is not held."""

    sure: float = ERROR
    against: float = ERROR

    def of_parts(self, least: int, many: int) -> "Levels":
        """Those of single contrasts of which at least so many must hold."""
        return Levels(self.sure / (many - least + 1), self.against / least)


@dataclass(frozen=True)
class Judged:
    """A contrast's evidence with its result.

    Attributes:
        evidence: of the contrast.
        result: what came of it.
        parts: the same of the contrasts that it is made of.
        decides: whether the result of the whole is that of this part, of its `parts`.
    """

    evidence: Evidence
    result: Result
    parts: "tuple[Judged, ...]" = ()
    decides: bool = False

    @property
    def effect(self) -> Effect | None:
        """The number that shows the result: what refutes where it is not held, else what is weakest.

        Where nothing is told apart, one of the two whose interval holds the threshold, if there is one.
        """
        weakest, refuted = self.evidence.weakest, self.evidence.refuted
        if self.result in ("nothing follows", "not enough models"):
            return None
        if self.result == "not held":
            return refuted
        is_open = refuted is not None and refuted.side == 0
        return refuted if self.result == "not told apart" and weakest and weakest.side and is_open else weakest


def combined(results: Sequence[Result], least: int) -> Result:
    """The result of a whole of which at least so many parts must hold."""
    counts = Counter(results)
    if counts["held"] >= least:
        return "held"
    if counts["not held"] > len(results) - least:
        return "not held"
    if counts["not enough models"]:
        return "not enough models"
    return "nothing follows" if counts["nothing follows"] else "not told apart"


def whole(parts: Sequence[Evidence]) -> Judged:
    """A claim, of which all contrasts must hold, as a contrast that is made of them."""
    return judged(at_least(len(parts), parts), Levels())


def judged(evidence: Evidence, levels: Levels) -> Judged:
    """The result of a contrast, and of all that it is made of."""
    if not evidence.parts:
        return Judged(evidence, _result(evidence, levels))
    own = levels.of_parts(evidence.least, len(evidence.parts))
    parts = [judged(part, own) for part in evidence.parts]
    result = combined([part.result for part in parts], evidence.least)
    place = _deciding(parts, result, evidence.least)
    marked = tuple(replace(part, decides=at == place) for at, part in enumerate(parts))
    return Judged(evidence, result, marked)


def _result(evidence: Evidence, levels: Levels) -> Result:
    if evidence.p_against <= levels.against:
        return "not held"
    if evidence.seeds < LEAST_SEEDS:
        return "not enough models"
    if evidence.weakest is None:
        return "nothing follows"
    return "held" if evidence.p_for <= levels.sure else "not told apart"


def _deciding(parts: Sequence[Judged], result: Result, least: int) -> int:
    """Of those with the result of the whole, the last that is needed for it."""
    among = [at for at, part in enumerate(parts) if part.result == result]
    if result == "not held":
        return sorted(among, key=lambda at: parts[at].evidence.p_against)[len(parts) - least]
    if result == "not enough models":
        return min(among, key=lambda at: parts[at].evidence.seeds)
    if result == "nothing follows":
        return among[0]
    missing = least - sum(part.result == "held" for part in parts) if result != "held" else least
    return sorted(among, key=lambda at: parts[at].evidence.p_for)[min(missing, len(among)) - 1]
