"""The tables of a study -> what its page shows: which figures, which sentences, which numbers."""

from datetime import UTC, datetime
from numbers import Integral
from typing import Any

import pandas as pd

from rdstudy.findings.learning import still_learning
from rdstudy.report import (
    charts,
    coverage,
    distances,
    gaps,
    illustrations,
    learning,
    linear,
    sentences,
    sizes,
    statistics,
    text,
)
from rdstudy.report.cells import grid_phrase, level_name, telling_factors, with_cells
from rdstudy.report.measure_figures import certificates_table, measure_figures, unmeasured_table
from rdstudy.report.notices import notices_of
from rdstudy.report.page import ExperimentSection, Figure, Page
from rdstudy.report.pictures import Album, StripTable, reconstruction_table, strip_table
from rdstudy.report.tables import Experiment, StudyTables
from rdstudy.report.verdicts import findings_of
from rdstudy.study import FIGURES

_CURVE_ROWS = 40_000
"""Rows of learning curves on a page at most: some 4 MB of it."""

_PICTURES = 1_200
"""Pictures of reconstructions on a page at most: some 1 MB of it."""

_SIZES = ("sizes-rate-distortion", "sizes-distortion")
_CURVES = ("distortion", "rate-distortion", "learning")
_OTHERS = ("exact", "optimum", "neighbours", "reconstructions")

_FAILURES_SHOWN = 40
_FINDINGS_SHOWN = 8  # with more cells the picture says it better than a list


def page_of(study: StudyTables) -> Page:
    """What the page of a study shows, however much of it is done."""
    planned = with_cells(study.planned)
    rows = statistics.ok_rows(planned, study.members)
    complete = coverage.completeness(study.experiments, study.members)
    produced = coverage.provenance(study.members)
    failed = coverage.failures(planned, study.members)
    album, datasets = Album(), sorted(set(planned["dataset"]))
    sections = tuple(_section(study, experiment, album) for experiment in study.experiments)
    return Page(
        title=study.title,
        description=study.description,
        status=_status(planned, rows),
        recipe=sentences.recipe_line(study.recipe) if study.recipe is not None else "",
        warnings=tuple(notices_of(study, produced)),
        findings=findings_of(study, sections),
        experiments=sections,
        pictures=album.sources,
        examples=illustrations.example_images(study.examples),
        data_notes={name: sentences.DATA_NOTES[name] for name in datasets if name in sentences.DATA_NOTES},
        splits_figure=_splits_figure(study.seed),
        splits_used=_splits_table(coverage.splits_used(study.planned, study.members)),
        results=_results_table(planned, rows, _falls(study, planned, rows)),
        completeness=_completeness_table(complete),
        failures=_failures_table(failed),
        certificates=certificates_table(planned, study.measures),
        unmeasured=unmeasured_table(study.measures),
        provenance=_provenance_table(produced),
        command=study.command,
        settings=study.settings,
        footer=_footer(study),
    )


# --- sentences ------------------------------------------------------------------------------------------------------


def _status(planned: pd.DataFrame, rows: pd.DataFrame) -> str:
    trained = rows["member_id"].nunique()
    return f"{trained:,} of {text.models(len(planned))} trained: {grid_phrase(planned)}"


def _footer(study: StudyTables) -> str:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"Study {study.name}, declared {study.declared_at or 'at an unknown time'}, reported {made}."


# --- experiments ----------------------------------------------------------------------------------------------------


def _section(study: StudyTables, experiment: Experiment, album: Album) -> ExperimentSection:
    planned = with_cells(study.planned[study.planned["member_id"].isin(experiment.member_ids)].reset_index(drop=True))
    rows = statistics.ok_rows(planned, study.members)
    rows = rows[rows["subset"].isin(["train", "test"])]
    best = statistics.best_beta(rows)
    figures = _all_figures(study, experiment, planned, rows, best) if len(rows) else []
    return ExperimentSection(
        name=experiment.name,
        title=experiment.title,
        description=experiment.description,
        status=_status(planned, rows) if len(study.experiments) > 1 else "",
        findings=tuple(sentences.lowest(planned, rows, best)) if len(best) <= _FINDINGS_SHOWN else (),
        figures=tuple(one for one in figures if experiment.shows(one.key.removeprefix(f"{experiment.name}-"))),
        strips=_strips(study, planned, album) if experiment.shows("reconstructions") else None,
    )


def _all_figures(
    study: StudyTables, experiment: Experiment, planned: pd.DataFrame, rows: pd.DataFrame, best: pd.DataFrame
) -> list[Figure]:
    """Sizes side by side, what every study has, then what was measured, then the distances between the images.

    Figures that the experiment does not ask for are left out where that saves making them.
    """
    name, figures = experiment.name, []
    if experiment.shows(*_SIZES):
        differences = statistics.generalization_gap(rows)
        figures += sizes.figures(name, planned, statistics.rate_distortion(rows), differences)
    if experiment.shows(*_CURVES):
        figures += _figures(study, name, planned, rows, best)
    if experiment.shows(*(other for other in FIGURES if other not in (*_SIZES, *_CURVES, *_OTHERS))):
        figures += measure_figures(study, name, planned)
    figures += linear.figures(name, planned, study.measures, study.members)
    return figures + (distances.figures(name, planned, study.neighbours) if experiment.shows("neighbours") else [])


def _strips(study: StudyTables, planned: pd.DataFrame, album: Album) -> StripTable | None:
    table = reconstruction_table(planned, study.reconstructions, study.neighbours)
    return strip_table(table, album, pictures=_PICTURES // len(study.experiments))


def _figures(
    study: StudyTables, name: str, planned: pd.DataFrame, rows: pd.DataFrame, best: pd.DataFrame
) -> list[Figure]:
    points = statistics.rate_distortion(rows)
    falls = _falls(study, planned, rows)
    runs, still = sentences.runs_phrase(points), sentences.still_learning_note(falls)
    figures = [
        Figure(
            f"{name}-distortion",
            "Distortion against β",
            _joined(
                f"{runs} The ring marks the lowest mean test distortion. Dashed: the distortion floor.",
                gaps.NOTE,
                still,
            ),
            charts.distortion_chart(points, best, statistics.generalization_gap(rows)),
        ),
        Figure(
            f"{name}-rate-distortion",
            "Rate-distortion curves",
            _joined(
                f"{runs} Points are joined in the order of β; the star is the standard VAE, β = 1. Thin dashed lines "
                "join equal ELBO, −(D + R), and carry its value; bold dashed: the distortion floor.",
                still,
            ),
            charts.rate_distortion_chart(points),
        ),
    ]
    curves = statistics.learning_curves(study.trajectories, rows, points=_curve_points(study, points))
    if len(curves):
        note = _joined(sentences.learning_note(curves), still or sentences.nothing_learned_note(falls))
        figures.append(Figure(f"{name}-learning", "Learning curves", note, learning.learning_chart(curves)))
    return figures


def _falls(study: StudyTables, planned: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """By how much train D of the members behind these rows fell at the end (`findings.learning`)."""
    members = set(rows["member_id"])
    trained = planned[planned["member_id"].isin(members)]
    return still_learning(trained, study.trajectories[study.trajectories["member_id"].isin(members)])


def _joined(*sentences: str) -> str:
    return " ".join(sentence for sentence in sentences if sentence)


def _curve_points(study: StudyTables, points: pd.DataFrame) -> int:
    """Steps of a learning curve that this page can afford, with its experiments sharing `_CURVE_ROWS`."""
    share = _CURVE_ROWS // (len(study.experiments) * len(points))
    return max(8, min(40, share))


def _splits_figure(seed: int) -> Figure:
    note = (
        "Each kind of split on 600 stratified samples with two generative factors: the same rules that split the data "
        "of this study. Small splits are shown with 120 training samples."
    )
    chart = illustrations.splits_chart(illustrations.splits_example(seed))
    return Figure("splits", "Four kinds of split", note, chart)


# --- tables ---------------------------------------------------------------------------------------------------------


def _splits_table(splits: pd.DataFrame) -> text.Table:
    rows = [
        [
            text.Entry(row["dataset"]),
            text.Entry(level_name("split", row["split"])),
            text.count(row["train"]),
            text.count(row["test"]),
        ]
        for row in splits.to_dict("records")
    ]
    return text.table([("Data set", ""), ("Split", ""), ("Train", "images"), ("Test", "images")], rows)


def _results_table(planned: pd.DataFrame, rows: pd.DataFrame, falls: pd.DataFrame) -> text.Table:
    factors = telling_factors(planned) or ("architecture", "depth")
    cells = planned.drop_duplicates("cell").set_index("cell")
    measures = [(name, subset) for name in ("distortion", "rate", "elbo") for subset in ("test", "train")]
    heads = [(factor.replace("_", " ").capitalize(), "") for factor in factors]
    heads += [("β", ""), ("Runs", "trained models behind the row")]
    letters = {"distortion": "D", "rate": "R", "elbo": "ELBO"}
    heads += [(f"{letters[name]} {subset}", "mean ± sd, nats per image") for name, subset in measures]
    heads += [("Gap", "test minus train distortion, each above its floor"), ("Floor test", ""), ("Floor train", "")]
    heads += [("Fall of D train in the last quarter", "of training: mean ± standard error over seeds, nats per image")]
    lines = []
    table = statistics.results(rows).merge(falls[["cell", "beta", "fall", "error"]], on=["cell", "beta"], how="left")
    for row in table.to_dict("records"):
        cell = cells.loc[row["cell"]]
        line = [_level(factor, cell[factor]) for factor in factors] + [text.beta(row["beta"]), text.count(row["runs"])]
        line += [text.mean_sd(row[f"{name}_{subset}"], row[f"{name}_sd_{subset}"]) for name, subset in measures]
        line += [
            text.mean_sd(row["gap"], row["gap_sd"]),
            text.number(row["floor_test"]),
            text.number(row["floor_train"]),
            text.mean_sd(row["fall"], row["error"]),
        ]
        lines.append(line)
    return text.table(heads, lines)


def _level(factor: str, level: object) -> text.Entry:
    return text.count(float(level)) if isinstance(level, Integral) else text.Entry(level_name(factor, level))


def _completeness_table(complete: pd.DataFrame) -> text.Table:
    columns = ["planned", "ok", "nonfinite", "failed", "missing"]
    lines = [
        [text.Entry(row["title"]), *(text.count(row[column]) for column in columns)]
        for row in complete.to_dict("records")
    ]
    names = ("Planned", "Trained", "Not finite", "Failed", "Missing")
    return text.table([("Experiment", ""), *((name, "models") for name in names)], lines)


def _failures_table(failed: pd.DataFrame) -> text.Table:
    heads = [("Outcome", ""), ("Models", ""), ("Reason", "of the example"), ("Example", "member id"), ("Which", "")]
    lines = [
        [
            text.Entry(row["outcome"]),
            text.count(row["models"]),
            text.Entry(row["reason"]),
            text.Entry(row["member_id"]),
            text.Entry(f"{row['panel']}, β = {row['beta']:g}, seed {row['seed']}"),
        ]
        for row in failed.head(_FAILURES_SHOWN).to_dict("records")
    ]
    return text.table(heads, lines)


def _provenance_table(produced: pd.DataFrame) -> text.Table:
    heads = ["Code", "Numerics", "Python", "torch", "numpy", "Device", "Hosts", "Models", "Model time", "First", "Last"]
    lines = [
        [
            *(text.Entry(_known(row[name])) for name in ("code_version", "numerics_version", "python_version")),
            *(text.Entry(_known(row[name])) for name in ("torch_version", "numpy_version", "device")),
            text.count(row["hosts"]),
            text.count(row["models"]),
            text.Entry(text.duration(row["wall_seconds"]), float(row["wall_seconds"])),
            *(text.Entry(_date(row[name])) for name in ("first", "last")),
        ]
        for row in produced.to_dict("records")
    ]
    hints = {"Model time": "training and evaluation, summed over models"}
    return text.table([(head, hints.get(head, "")) for head in heads], lines)


def _known(value: Any) -> str:
    return "unknown" if value is None or pd.isna(value) else f"{value:g}" if isinstance(value, float) else str(value)


def _date(value: pd.Timestamp) -> str:
    return "–" if pd.isna(value) else value.strftime("%Y-%m-%d %H:%M")
