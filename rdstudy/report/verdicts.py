"""Findings -> what the page says first: a verdict, its number with unit and interval, and where it is seen."""

import collections
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from rdstudy.findings.evidence import ERROR, LEVEL, POWER, Effect
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
    tables = (study.planned, study.members, study.measures, study.neighbours)
    found = judge(study.claims, Values.of(*tables, trajectories=study.trajectories))
    return Findings(_summary(found), tuple(_entry(finding, sections) for finding in found))


def _summary(found: Sequence[Finding]) -> str:
    counts = collections.Counter(finding.verdict for finding in found)
    counted = ", ".join(f"{counts[name]} {name}" for name in get_args(Verdict) if counts[name])
    many = len(found)
    # at most the sum of the single errors, however the verdicts depend on each other
    some = f", so that of all {many} some verdict is wrong in at most {100 * min(1.0, many * ERROR):.3g} %"
    return (
        f"{counted}. An effect is one number for each seed; behind it, the {100 * LEVEL:g} % interval of Student's t "
        f"over seeds of its distance to what the claim needs. It holds the choice of images too where all seeds share "
        f"a small sample of them, as for log p(x) and memorization; D and R are means over many more, whose choice is "
        f"not in it. What a study would have seen is the distance that such an interval tells with a chance of "
        f"{100 * POWER:g} %. A verdict by itself is meant to be wrong in at most {100 * ERROR:g} % of studies; nothing "
        f"is corrected for the number of claims{some if many > 1 else ''}. β within a quarter of a decade count as one "
        f"where β are compared."
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
        runs=_behind(finding),
        learning=finding.learning,
        notes=finding.notes,
        anchor=anchor,
        where=where,
    )


def _behind(finding: Finding) -> str:
    """Such as "2 data sets, 120 models, 5 seeds in the interval, 4,000 test images; log p(x) on 200 test images"."""
    behind, effect = finding.behind, finding.effect
    sets = [f"{behind.datasets:,} data set{'' if behind.datasets == 1 else 's'}"] if behind.datasets else []
    seeds = [f"{effect.seeds} seeds in the interval"] if effect else []
    if effect and effect.images:
        seeds = [f"{effect.seeds} seeds and {effect.images:,} images in the interval"]
    kinds = list(dict.fromkeys(what for what, _ in behind.images))
    images = [
        _images({subset: many for (what, subset), many in behind.images.items() if what == kind}) for kind in kinds
    ]
    told = [f"{kind} on {phrase}" if kind else phrase for kind, phrase in zip(kinds, images, strict=True)]
    return ", ".join([*sets, text.models(behind.models), *seeds, *told])


def _images(counts: Mapping[str, int]) -> str:
    """Such as "4,000 test and 1,024 train images"."""
    return " and ".join(f"{many:,} {subset}" for subset, many in counts.items()) + " images"


def _effect(effect: Effect) -> str:
    """Such as "rise from β = 0.3 to 0.001: 3.41 nats, interval 3.1 to 3.7; the claim needs more than 0.2"."""
    half = (effect.high - effect.low) / 2
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 6) if half > 0 else 4
    mean, low, high, threshold = (
        _number(value, decimals) for value in (effect.mean, effect.low, effect.high, effect.threshold)
    )
    side = "more" if effect.above else "less"
    told = f"{effect.label}: {mean} {effect.unit} ({low} to {high}); the claim needs {side} than {threshold}"
    if not effect.seen > 0:
        return told
    return f"{told}; this study would have seen {_number(effect.seen, decimals)} {effect.unit}"


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")


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
