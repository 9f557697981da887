"""Findings -> what the page says first: verdicts, every contrast with its number and interval, and where it is seen."""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import get_args

from rdstudy.findings.evidence import ERROR, LEVEL, POWER, Effect
from rdstudy.findings.judge import ContrastFinding, Finding, judge
from rdstudy.findings.results import Result, Verdict
from rdstudy.findings.values import Values
from rdstudy.report import text
from rdstudy.report.drawn import Charts
from rdstudy.report.history import claimed_late, declared_lines
from rdstudy.report.page import ContrastEntry, ExperimentSection, FindingEntry, Findings, Link, VerdictLink
from rdstudy.report.read import StudyTables

_BADGES = {"still learning": "networks still learning", "unknown": "end of training not followed"}
_COUNTED = {
    "still learning": "on networks that were still learning",
    "unknown": "on networks of which it is not known whether they were still learning",
}


def findings_of(study: StudyTables, sections: Sequence[ExperimentSection]) -> Findings | None:
    """The findings of a study, with links to these sections of its page; None where it claims nothing."""
    if not study.claims:
        return None
    tables = (study.planned, study.members, study.measures, study.neighbours)
    values = Values.of(*tables, trajectories=study.trajectories, own=study.own_measures)
    judged = judge(study.claims, values)
    charts = Charts.of(sections, study.experiments, study.planned)
    return Findings(
        counts=_counts(judged),
        late=claimed_late(study),
        declared=declared_lines(study.history),
        summary=_summary(len(judged)),
        entries=tuple(_entry(finding, charts) for finding in judged),
    )


def with_verdicts(sections: Sequence[ExperimentSection], findings: Findings | None) -> tuple[ExperimentSection, ...]:
    """The sections, each with the verdicts that rest on its figures."""
    return tuple(dataclasses.replace(section, verdicts=links_of(section, findings)) for section in sections)


def links_of(section: ExperimentSection, findings: Findings | None) -> tuple[VerdictLink, ...]:
    """The verdicts that rest on figures of a section, of the claim as a whole or of one of its contrasts."""
    anchors = {f"figure-{figure.key}" for figure in section.figures} | {f"experiment-{section.name}"}
    return tuple(
        VerdictLink(entry.name, entry.verdict, entry.state, entry.sentence, f"finding-{entry.name}")
        for entry in (findings.entries if findings else ())
        if anchors & {link.anchor for link in (entry.link, *_links(entry.contrasts)) if link}
    )


def _links(contrasts: Sequence[ContrastEntry]) -> list[Link]:
    return [link for contrast in contrasts for link in (*contrast.links, *_links(contrast.parts))]


def _counts(judged: Sequence[Finding]) -> str:
    """Such as "4 supported, of which 2 on networks that were still learning; 1 contradicted"."""
    by_verdict = {
        name: collections.Counter[str](finding.learning.state for finding in judged if finding.verdict == name)
        for name in get_args(Verdict)
    }
    counted = [_count(name, states) for name, states in by_verdict.items() if states]
    return f"{'; '.join(counted)}."


def _count(verdict: str, states: Mapping[str, int]) -> str:
    many = sum(states.values())
    parts = [(states[state], words) for state, words in _COUNTED.items() if states.get(state)]
    if len(parts) == 1 and parts[0][0] == many:
        return f"{many} {verdict}, {'' if many == 1 else 'all '}{parts[0][1]}"
    said = " and ".join(f"{few} {words}" for few, words in parts)
    return f"{many} {verdict}" + (f", of which {said}" if said else "")


def _summary(many: int) -> str:
    # at most the sum of the single errors, however the verdicts depend on each other
    together = f", so that of all {many} some verdict is wrong in at most {100 * min(1.0, many * ERROR):.3g} %"
    return (
        f"A claim is supported where all its contrasts are held, and contradicted where one is not held. An effect is "
        f"one number for each seed; behind it, the {100 * LEVEL:g} % interval of Student's t over seeds of its "
        f"distance to what the claim needs. It holds the choice of images too where all seeds share a small sample of "
        f"them, as for log p(x) and memorization; D and R are means over many more, whose choice is not in it. What a "
        f"study would have seen is the distance that such an interval tells with a chance of {100 * POWER:g} %. A "
        f"verdict by itself is meant to be wrong in at most {100 * ERROR:g} % of studies; nothing is corrected for the "
        f"number of claims{together if many > 1 else ''}. β within a quarter of a decade count as one where β are "
        f"compared."
    )


def _entry(finding: Finding, charts: Charts) -> FindingEntry:
    claim = finding.claim
    repeated = _repeated(finding.contrasts)
    return FindingEntry(
        name=claim.name,
        verdict=finding.verdict,
        state=_BADGES.get(finding.learning.state, ""),
        sentence=claim.sentence,
        source=claim.source,
        contrasts=tuple(_contrast(contrast, claim.figure, charts, repeated) for contrast in finding.contrasts),
        counted=_counted(finding.contrasts),
        models=_behind(finding),
        learning=finding.learning.words,
        notes=repeated,
        link=charts.named(claim.figure),
    )


def _repeated(contrasts: Sequence[ContrastFinding]) -> tuple[str, ...]:
    """Notes of more than one contrast, which are said once for all."""
    every = [note for contrast in contrasts for part in contrast.flat() for note in part.notes]
    return tuple(note for note, many in collections.Counter(every).items() if many > 1)


def _counted(contrasts: Sequence[ContrastFinding]) -> str:
    """Such as "4 contrasts: 3 held, 1 not told apart"."""
    counts = collections.Counter(contrast.result for contrast in contrasts)
    results = [f"{counts[name]} {name}" for name in get_args(Result) if counts[name]]
    return f"{len(contrasts)} contrast{'' if len(contrasts) == 1 else 's'}: {', '.join(results)}"


def _contrast(contrast: ContrastFinding, figure: str, charts: Charts, repeated: Sequence[str]) -> ContrastEntry:
    corrected = (_CORRECTED,) if contrast.corrected else ()
    numbers = _numbers(contrast.effect) if contrast.effect else dict.fromkeys(_NUMBERS, "")
    return ContrastEntry(
        clause=f"{contrast.clause[:1].upper()}{contrast.clause[1:]}",
        result=contrast.result,
        decides=contrast.decides,
        notes=(*corrected, *(note for note in contrast.notes if note not in repeated)),
        links=charts.of_contrast(contrast.contrast, figure),
        parts=tuple(_contrast(part, figure, charts, repeated) for part in contrast.parts),
        **numbers,
    )


_NUMBERS = ("label", "number", "interval", "needs", "seeds", "seen")
_CORRECTED = "the interval lies on one side of what is needed, but not so far as asked for where several are compared"


def _numbers(effect: Effect) -> dict[str, str]:
    """The words of `ContrastEntry` that say a number, to the digits that its interval allows."""
    half = (effect.high - effect.low) / 2
    decimals = min(max(0, 1 - math.floor(math.log10(half))), 6) if half > 0 else 4
    mean, low, high, threshold, seen = (
        _number(value, decimals) if math.isfinite(value) else ""
        for value in (effect.mean, effect.low, effect.high, effect.threshold, effect.seen)
    )
    images = f" and {effect.images:,} images" if effect.images else ""
    return {
        "label": effect.label,
        "number": f"{mean} {effect.unit}",
        "interval": f"{low} to {high}",
        "needs": f"{'more' if effect.above else 'less'} than {threshold}",
        "seeds": "; ".join(filter(None, (f"{effect.seeds} {effect.rows}{images} in the interval", effect.chosen))),
        "seen": f"{seen} {effect.unit}" if effect.seen > 0 else "",
    }


def _behind(finding: Finding) -> str:
    """Such as "MLP, cv(1,024): 2 data sets, 120 models, 4,000 test images; log p(x) on 200 test images"."""
    behind = finding.behind
    sets = [f"{behind.datasets:,} data set{'' if behind.datasets == 1 else 's'}"] if behind.datasets else []
    kinds = list(dict.fromkeys(what for what, _ in behind.images))
    images = [
        _images({subset: many for (what, subset), many in behind.images.items() if what == kind}) for kind in kinds
    ]
    samples = [f"{kind} on {phrase}" if kind else phrase for kind, phrase in zip(kinds, images, strict=True)]
    return ", ".join([*sets, text.models(behind.models), *samples]) + (f" ({finding.models})" if finding.models else "")


def _images(counts: Mapping[str, int]) -> str:
    """Such as "4,000 test and 1,024 train images"."""
    return " and ".join(f"{many:,} {subset}" for subset, many in counts.items()) + " images"


def _number(value: float, decimals: int) -> str:
    return f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
