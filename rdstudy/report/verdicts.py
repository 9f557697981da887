"""Findings -> what the page says first: a verdict, its number with unit and interval, and where it is seen."""

import collections
import math
from collections.abc import Iterable, Sequence
from typing import get_args

from rdstudy.findings.evidence import ERROR, LEVEL, Effect
from rdstudy.findings.judge import Finding, Verdict, judge
from rdstudy.findings.values import Values
from rdstudy.report import text
from rdstudy.report.page import ExperimentSection, FindingEntry, Findings
from rdstudy.report.tables import StudyTables


def findings_of(study: StudyTables, sections: Sequence[ExperimentSection]) -> Findings | None:
    """The findings of a study; None where it claims nothing.

    Args:
        study: its tables.
        sections: what the page shows, for the links.
    """
    if not study.claims:
        return None
    values = Values.of(study.planned, study.members, study.measures, study.neighbours)
    found = judge(study.claims, values)
    return Findings(_summary(found), tuple(_entry(finding, sections) for finding in found))


def _summary(found: Sequence[Finding]) -> str:
    counts = collections.Counter(finding.verdict for finding in found)
    counted = ", ".join(f"{counts[name]} {name}" for name in get_args(Verdict) if counts[name])
    many = len(found)
    # at most the sum of the single errors, however the verdicts depend on each other
    some = f", so that of all {many} some verdict is wrong in at most {100 * min(1.0, many * ERROR):.3g} %"
    return (
        f"{counted}. An effect is one number for each seed; behind it, the {100 * LEVEL:g} % interval of Student's t "
        f"over seeds of its distance to what the claim needs. A verdict by itself is meant to be wrong in at most "
        f"{100 * ERROR:g} % of studies; "
        f"nothing is corrected for the number of claims{some if many > 1 else ''}."
    )


def _entry(finding: Finding, sections: Sequence[ExperimentSection]) -> FindingEntry:
    claim, effect = finding.claim, finding.effect
    anchor, where = _link(claim.figure, sections)
    return FindingEntry(
        name=claim.name,
        verdict=finding.verdict,
        sentence=claim.sentence,
        source=claim.source,
        effect=_effect(effect) if effect else "",
        runs=text.models(finding.runs) + (f", {effect.seeds} seeds in the interval" if effect else ""),
        notes=finding.notes,
        anchor=anchor,
        where=where,
    )


def _effect(effect: Effect) -> str:
    """Such as "rise from β = 0.3 to 0.001: 3.41 nats, interval 3.1 to 3.7; the claim needs more than 0.2"."""
    half = (effect.high - effect.low) / 2
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 6) if half > 0 else 4
    mean, low, high, threshold = (
        f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
        for value in (effect.mean, effect.low, effect.high, effect.threshold)
    )
    side = "more" if effect.above else "less"
    return f"{effect.label}: {mean} {effect.unit} ({low} to {high}); the claim needs {side} than {threshold}"


def _link(figure: str, sections: Iterable[ExperimentSection]) -> tuple[str, str]:
    """Anchor and name of a figure, or of the experiment that should have it; empty where there is neither."""
    fallback = ("", "")
    for section in sections:
        for shown in section.figures:
            if shown.key == figure:
                return f"figure-{shown.key}", f"{section.title}: {shown.title}"
        if figure == section.name or figure.startswith(f"{section.name}-"):
            fallback = (f"experiment-{section.name}", section.title)
    return fallback
