"""One figure of a study, or its numbers, outside of a page: `rdstudy.figure` and `rdstudy.figure_table`."""

import os

import altair as alt
import pandas as pd

from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.figures import FIGURES
from rdstudy.report.read import StudyTables, choose_study, read_study
from rdstudy.report.theme import titled
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.results.store import Store
from rdstudy.study.checks import fail_name

Results = str | os.PathLike[str]


def figure(
    results: Results, name: str, *, study: str | None = None, experiment: str | None = None
) -> alt.TopLevelMixin:
    """A figure of an experiment as an Altair chart, which a notebook shows; its note is the chart's `description`.

        rdstudy.figure("results", "rate-distortion").save("curves.svg")

    Args:
        results: the results folder or URI: the `--out` of a run.
        name: of `rdstudy.study.FIGURES`.
        study: its name; None where the folder holds one alone.
        experiment: its name; None where the study has one alone.

    Raises:
        ValueError: no such folder, study, experiment or figure; or nothing is stored that the figure could show.
    """
    kind, tables, table = _numbers(results, name, study=study, experiment=experiment)
    spec = titled(kind.drawn(tables, table), kind.title)
    chart: alt.TopLevelMixin = alt.Chart.from_dict({**spec, "description": kind.words(tables, table)})
    return chart


def figure_table(
    results: Results, name: str, *, study: str | None = None, experiment: str | None = None
) -> pd.DataFrame:
    """The tidy table that a figure draws, in nats per image unless a column says otherwise.

    Args and errors are those of `figure`.
    """
    return _numbers(results, name, study=study, experiment=experiment)[-1]


def _numbers(
    results: Results, name: str, *, study: str | None, experiment: str | None
) -> tuple[FigureKind, ExperimentTables, pd.DataFrame]:
    kinds = {kind.name: kind for kind in FIGURES}
    if name not in kinds:
        raise fail_name("figure", name, kinds)
    store = Store.open(os.fspath(results))
    read = read_study(store, choose_study(store, study))
    tables = ExperimentTables.of(read, _choose(read, experiment))
    kind = kinds[name]
    table = kind.table(tables) if len(tables.rows) else tables.rows
    if table.empty:
        raise ValueError(f"figure {name!r} has nothing to show of experiment {tables.name!r}; it needs {kind.needs}")
    return kind, tables, table


def _choose(study: StudyTables, name: str | None) -> DeclaredExperiment:
    experiments = {experiment.name: experiment for experiment in study.experiments}
    if name is None and len(experiments) == 1:
        return study.experiments[0]
    if name is None:
        raise ValueError(
            f"study {study.name!r} has {len(experiments)} experiments, and none was chosen; allowed: "
            f"{', '.join(experiments)}"
        )
    if name not in experiments:
        raise fail_name(f"study {study.name!r}: experiment", name, experiments)
    return experiments[name]
