"""Two studies side by side: both as one, whose cells say of which study they are, and the page of that."""

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.report import coverage
from rdstudy.report.cells import STUDY
from rdstudy.report.contents import page_of
from rdstudy.report.differences import comparison_of, unequal_numbers
from rdstudy.report.groups import together
from rdstudy.report.history import declared, reported_at
from rdstudy.report.notices import notices_of
from rdstudy.report.page import ExperimentSection, Findings, Notice, Page
from rdstudy.report.read import Settings, StudyTables
from rdstudy.report.verdicts import findings_of
from rdstudy.results.declaration import DeclaredExperiment

LABELS = ("A", "B")
_OF_MEMBERS = ("members", "trajectories", "measures", "own_measures", "probes", "reconstructions")
_OF_DATA = {"examples": ["dataset", "image"], "neighbours": ["dataset", "split", "study_seed", "image"]}


@dataclass(frozen=True, eq=False)
class Pair:
    """Two studies that are compared.

    Attributes:
        a: one study.
        b: the other; what differs is B minus A.
        places: of their results folders, as the page names them; empty for nowhere.
    """

    a: StudyTables
    b: StudyTables
    places: tuple[str, str] = ("", "")

    @property
    def sides(self) -> tuple[tuple[str, StudyTables], ...]:
        """Label and tables of each."""
        return tuple(zip(LABELS, (self.a, self.b), strict=True))


def side_by_side(pair: Pair) -> StudyTables:
    """Both studies as one: ids of members begin with the study's label, and `planned` has the column `cells.STUDY`.

    An experiment holds the members of both where both have one of that name, or where each has one that the other has
    not. Claims are left out: they are of one study each.
    """
    a, b = (_labelled(study, label) for label, study in pair.sides)
    tables: dict[str, Any] = {name: together([getattr(a, name), getattr(b, name)]) for name in _OF_MEMBERS}
    for name, keys in _OF_DATA.items():
        whole = together([getattr(a, name), getattr(b, name)])
        tables[name] = whole.drop_duplicates(keys).reset_index(drop=True)
    return dataclasses.replace(
        a,
        name=f"{a.name}-and-{b.name}",
        title=a.title if a.title == b.title else f"{a.title} / {b.title}",
        description=a.description if a.description == b.description else f"A: {a.description} B: {b.description}",
        command=a.command if a.command == b.command else "",
        declared={label: study.declared for label, study in pair.sides},
        settings=tuple(
            Settings(f"{label}: {group.name}", group.values) for label, study in pair.sides for group in study.settings
        ),
        experiments=tuple(_experiments(a.experiments, b.experiments)),
        claims=(),
        planned=together([a.planned, b.planned]),
        samples=pa.concat_tables([a.samples, b.samples]),
        damaged=(*a.damaged, *b.damaged),
        copies=(*a.copies, *b.copies),
        outdated=a.outdated + b.outdated,
        **tables,
    )


def _labelled(study: StudyTables, label: str) -> StudyTables:
    """The study with its label before the ids of its members."""
    tables = {name: getattr(study, name) for name in (*_OF_MEMBERS, "planned")}
    named: dict[str, Any] = {
        name: table.assign(member_id=[f"{label}:{member_id}" for member_id in table["member_id"]])
        for name, table in tables.items()
    }
    named["planned"] = named["planned"].assign(**{STUDY: label})
    ids = pc.binary_join_element_wise(f"{label}:", study.samples["member_id"], "")
    place = study.samples.schema.get_field_index("member_id")
    experiments = tuple(
        dataclasses.replace(each, member_ids=tuple(f"{label}:{member_id}" for member_id in each.member_ids))
        for each in study.experiments
    )
    return dataclasses.replace(
        study, samples=study.samples.set_column(place, "member_id", ids), experiments=experiments, **named
    )


def _experiments(a: Sequence[DeclaredExperiment], b: Sequence[DeclaredExperiment]) -> Iterator[DeclaredExperiment]:
    """Those of A, each with that of B of its name, and then those that B alone has."""
    of_b = {each.name: each for each in b}
    alone = [each for each in a if each.name not in of_b], [each for each in b if each.name not in {e.name for e in a}]
    if len(alone[0]) == len(alone[1]) == 1:  # under two names
        of_b[alone[0][0].name] = of_b.pop(alone[1][0].name)
    for own in a:
        other = of_b.pop(own.name, None)
        yield own if other is None else _joined(own, other)
    yield from of_b.values()


def _joined(a: DeclaredExperiment, b: DeclaredExperiment) -> DeclaredExperiment:
    return DeclaredExperiment(
        a.name,
        a.title if a.title == b.title else f"A: {a.title} / B: {b.title}",
        a.description if a.description == b.description else f"A: {a.description} B: {b.description}",
        (*a.member_ids, *b.member_ids),
        tuple(dict.fromkeys([*a.figures, *b.figures])) if a.figures and b.figures else (),
    )


# --- the page -------------------------------------------------------------------------------------------------------


def page_of_pair(pair: Pair) -> Page:
    """The page of two studies: what differs, the claims of each, and the charts of both."""
    page = page_of(side_by_side(pair))
    studies = tuple(_what(label, study, place) for (label, study), place in zip(pair.sides, pair.places, strict=True))
    histories = "; ".join(f"{label}: study {study.name}, {declared(study.history)}" for label, study in pair.sides)
    return dataclasses.replace(
        page,
        warnings=tuple(_notices(pair)),
        findings=_findings(pair, page.experiments),
        footer=f"{histories}; reported {reported_at()}.",
        comparison=comparison_of(pair.a, pair.b, studies=studies),
    )


def _what(label: str, study: StudyTables, place: str) -> str:
    trained = coverage.one_row_per_member(study.members)["outcome"].eq("ok").sum()
    where = f" in {place}" if place else ""
    return f"{label}: {study.title} (study {study.name}{where}), {trained:,} of {len(study.planned):,} models trained."


def _notices(pair: Pair) -> Iterator[Notice]:
    if unequal := unequal_numbers(pair.a, pair.b):
        yield Notice(unequal)
    for label, study in pair.sides:
        for notice in notices_of(study, coverage.provenance(study.members)):
            yield dataclasses.replace(notice, text=f"{label}: {notice.text}")


def _findings(pair: Pair, sections: Sequence[ExperimentSection]) -> Findings | None:
    """The findings of each, under its label; None where none claims anything."""
    both = [(label, findings_of(study, sections)) for label, study in pair.sides]
    known = [(label, findings) for label, findings in both if findings is not None]
    if not known:
        return None
    entries = [
        dataclasses.replace(entry, name=f"{label}-{entry.name}", sentence=f"{label}: {entry.sentence}")
        for label, findings in known
        for entry in findings.entries
    ]
    said = [f"{label}: {findings.summary}" for label, findings in known]
    return dataclasses.replace(known[0][1], summary=_without_repeats(said), entries=tuple(entries))


def _without_repeats(paragraphs: Sequence[str]) -> str:
    """Paragraphs one after another, each sentence once: how a verdict is made is the same for both."""
    sentences = [sentence for paragraph in paragraphs for sentence in paragraph.rstrip(".").split(". ")]
    return ". ".join(dict.fromkeys(sentences)) + "."
