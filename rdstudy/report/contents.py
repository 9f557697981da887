"""The tables of a study -> what its page shows: which figures, which sentences, which numbers.

The page has the order of an argument: the question, the findings, the data and the splits, the curves and what lies
behind them, then methods, cost, coverage, results and provenance. Figures are numbered in that order.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import pandas as pd

import rdstudy
from rdstudy.report import costs, coverage, data_words, sentences, tables, text, theme, views
from rdstudy.report.alt_text import alt_text
from rdstudy.report.cells import grid_phrase, with_cells
from rdstudy.report.citation import PAPER, software, study_citation
from rdstudy.report.drawn_cells import drawn, omission
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import DISTORTIONS, FigureKind, are_many
from rdstudy.report.figures import FIGURES, reconstructions, samples, splits
from rdstudy.report.history import declared, reported_at
from rdstudy.report.methods import methods_of
from rdstudy.report.notices import notices_of
from rdstudy.report.own_figures import own_figures
from rdstudy.report.page import Costs, Coverage, DataSet, ExperimentSection, Figure, Page, Provenance, Splits
from rdstudy.report.pictures import Album, example_images, spread
from rdstudy.report.read import TEXT, StudyTables
from rdstudy.report.runs import has_runs, runs_json
from rdstudy.report.strips import SheetTable, StripTable, sample_sheets, strip_table
from rdstudy.report.verdicts import findings_of, with_verdicts
from rdstudy.results.declaration import DeclaredExperiment

_CURVES = (*DISTORTIONS, "learning")
"""The main figures of an experiment; the others say what lies behind them."""

_PICTURES = (reconstructions.FIGURE, samples.FIGURE)  # a page shows them as images, not as charts
_EXAMPLES_SHOWN = 24


@pd.option_context(*TEXT)
def page_of(study: StudyTables) -> Page:
    """What the page of a study shows, however much of it is done."""
    produced = coverage.provenance(study.members)
    album, numbers = Album(), itertools.count(1)
    split = _splits(study, number=next(numbers))
    experiments = [ExperimentTables.of(study, experiment) for experiment in study.experiments]
    whole = experiments[0] if len(experiments) == 1 else ExperimentTables(study, study.name, with_cells(study.planned))
    sections = tuple(
        _numbered(_section(tables, experiment, album), numbers)
        for tables, experiment in zip(experiments, study.experiments, strict=True)
    )
    findings = findings_of(study, sections)
    return Page(
        title=study.title,
        description=study.description,
        authors=study.authors,
        status=_status(whole),
        recipe=sentences.recipe_line(study.planned),
        version=rdstudy.__version__,
        warnings=tuple(notices_of(study, produced)),
        findings=findings,
        datasets=tuple(_datasets(study)),
        splits=split,
        experiments=with_verdicts(sections, findings),
        methods=methods_of(study),
        costs=_costs(study),
        coverage=Coverage(
            completeness=tables.completeness_table(coverage.completeness(study.experiments, study.members)),
            failures=tables.failures_table(coverage.failures(whole.planned, study.members)),
            unmeasured=tables.unmeasured_table(study.measures),
        ),
        results=tables.results_table(whole),
        certificates=tables.certificates_table(whole.measured),
        provenance=_provenance(study, produced),
        pictures=album.sources,
        runs=runs_json(study, whole, experiments),
        has_runs=has_runs(whole),
        footer=f"Study {study.name}, {declared(study.history)}; reported {reported_at()}.",
    )


# --- sentences ------------------------------------------------------------------------------------------------------


def _status(tables: ExperimentTables) -> str:
    trained = tables.rows["member_id"].nunique()
    return f"{trained:,} of {text.models(len(tables.planned))} trained: {grid_phrase(tables.planned)}"


# --- data and splits ------------------------------------------------------------------------------------------------


def _datasets(study: StudyTables) -> Iterator[DataSet]:
    """The data sets of a study, by name."""
    images = example_images(study.examples)
    for name in sorted(set(study.planned["dataset"])):
        words = data_words.dataset_words(name, study.examples[study.examples["dataset"] == name])
        yield DataSet(name, words, sentences.DATA_NOTES.get(name, ""), *spread(images.get(name, ()), _EXAMPLES_SHOWN))


def _splits(study: StudyTables, *, number: int) -> Splits:
    example = splits.splits_example(study.seed, study.planned["split"].unique())
    words, chart = splits.note(example), splits.splits_chart(example)
    return Splits(
        kinds=data_words.split_words(study.planned),
        note=data_words.split_note(study.planned, study.members, study_seed=study.seed),
        figure=Figure("splits", splits.TITLE, words, chart, alt=splits.description(example), number=number),
        used=tables.splits_table(coverage.splits_used(study.planned, study.members)),
    )


# --- experiments ----------------------------------------------------------------------------------------------------


def _section(tables: ExperimentTables, experiment: DeclaredExperiment, album: Album) -> ExperimentSection:
    study = tables.study
    own = tuple(own_figures(tables, experiment)) if len(tables.rows) else ()
    charts = [*_figures(drawn(tables), experiment), *(figure for figure in own if isinstance(figure, Figure))]
    return ExperimentSection(
        name=experiment.name,
        title=experiment.title,
        description=experiment.description,
        status=_status(tables) if len(study.experiments) > 1 else "",
        findings=sentences.lowest_lines(tables, experiment),
        figures=tuple(sorted(charts, key=lambda figure: figure.is_behind)),
        omitted=omission(tables, charts[0].key) if charts else "",
        missing=tuple(line for line in own if isinstance(line, str)),
        strips=_strips(tables, album) if experiment.shows(reconstructions.FIGURE.name) else None,
        sheets=_sheets(tables, album) if experiment.shows(samples.FIGURE.name) else None,
    )


def _figures(tables: ExperimentTables, experiment: DeclaredExperiment) -> Iterator[Figure]:
    """The charts that an experiment asks for and has numbers for; reconstructions and samples are no charts."""
    if not len(tables.rows):
        return
    viewed = [dataclasses.replace(tables, view=view) for view in views.OTHERS]
    for kind in FIGURES:
        if kind in _PICTURES or not experiment.shows(kind.name) or not kind.on_page(tables):
            continue
        table = kind.table(tables)
        if len(table):
            words, chart = kind.words(tables, table), kind.drawn(tables, table)
            yield Figure(
                f"{experiment.name}-{kind.name}",
                kind.title,
                words,
                chart,
                views=dict(_views(kind, viewed)),
                alt=alt_text(kind, table, chart),
                is_behind=kind.name not in _CURVES,
            )


def _views(kind: FigureKind, viewed: Sequence[ExperimentTables]) -> Iterator[tuple[str, theme.Spec]]:
    """The chart in the other views, where it has them and few panels."""
    if kind.name not in DISTORTIONS or are_many(viewed[0].planned["cell"].nunique()):
        return
    for other in viewed:
        table = kind.table(other) if len(other.rows) else other.rows
        if len(table):
            yield other.view.key, kind.drawn(other, table)


def _numbered(section: ExperimentSection, numbers: Iterator[int]) -> ExperimentSection:
    """A section whose figures have the next numbers, in the order in which the page shows them."""
    figures = tuple(dataclasses.replace(figure, number=next(numbers)) for figure in section.figures)
    return dataclasses.replace(
        section,
        figures=figures,
        strips_number=next(numbers) if section.strips else 0,
        sheets_number=next(numbers) if section.sheets else 0,
    )


def _strips(tables: ExperimentTables, album: Album) -> StripTable | None:
    table = reconstructions.table(tables)
    if table.empty:
        return None
    pictures = reconstructions.MOST_PICTURES // len(tables.study.experiments)
    return strip_table(table, album, pictures=pictures, note=reconstructions.FIGURE.words(tables, table))


def _sheets(tables: ExperimentTables, album: Album) -> SheetTable | None:
    table = samples.table(tables)
    if table.empty:
        return None
    return SheetTable(samples.FIGURE.title, sample_sheets(table, album), samples.FIGURE.words(tables, table))


# --- what it took, what is missing, where it comes from -------------------------------------------------------------


def _costs(study: StudyTables) -> Costs:
    spent = costs.costs(study.experiments, study.members, study.measures)
    return Costs(tables.costs_table(spent), costs.note(spent))


def _provenance(study: StudyTables, produced: pd.DataFrame) -> Provenance:
    last = produced["last"].max() if len(produced) else pd.NaT
    versions = [str(version) for version in produced["code_version"].dropna().unique()]
    own = study_citation(
        name=study.name,
        title=study.title,
        authors=study.authors,
        year=None if pd.isna(last) else int(last.year),
        command=study.command,
        code_version=", ".join(versions),
    )
    return Provenance(
        facts=tuple(_facts(study)),
        produced=tables.provenance_table(produced),
        command=study.command,
        settings=study.settings,
        citations=(own, software(), PAPER),
    )


def _facts(study: StudyTables) -> Iterator[tuple[str, str]]:
    """What is not in the table of provenance: (name, words)."""
    yield "Study", f"{study.name}, {declared(study.history)}"
    if study.uri:
        yield "Rows", f"Parquet files under {study.uri}, a folder a table: members, trajectories, measures and others"
        yield "Reader", f'rdstudy.load("{study.uri}") in Python, which knows duplicates and runs'
    yield "Page", f"made by rdstudy {rdstudy.__version__}"
