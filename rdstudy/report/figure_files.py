"""The figures of a study with the tables behind them, for files of their own: each is drawn when it is asked for."""

import difflib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from rdstudy.report.drawn_cells import drawn, where
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.figures import FIGURES, reconstructions, samples, splits
from rdstudy.report.own_figures import own_figures
from rdstudy.report.page import Figure
from rdstudy.report.read import StudyTables
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.study import parts

_PICTURES = (reconstructions.FIGURE, samples.FIGURE)  # images on a page, and no charts


@dataclass(frozen=True, eq=False)
class DrawnFigure:
    """A figure and the tidy table that it draws."""

    figure: Figure
    table: pd.DataFrame


@dataclass(frozen=True)
class _Sketch:
    """A figure that could be drawn: `on_page` says whether the page has it, `draw` why it cannot be, if so."""

    key: str
    on_page: bool
    draw: Callable[[], DrawnFigure | str]


def figures_of(
    study: StudyTables, names: Collection[str] = (), conditions: Sequence[str] = ()
) -> Iterator[DrawnFigure]:
    """The figures of a study.

    Args:
        study: its tables.
        names: `<experiment>-<figure>` or `splits`, of those that are wanted; empty for those of the page.
        conditions: of `drawn_cells.where`, on the cells that are drawn; none for those of the page.

    Raises:
        ValueError: no figure of that name, or nothing is stored that one of them could show.
    """
    sketches = list(_sketches(study, conditions))
    for name in names:
        _check_name(name, [sketch.key for sketch in sketches])
    for sketch in sketches:
        if sketch.key in names or (not names and sketch.on_page):
            drawn = sketch.draw()
            if isinstance(drawn, DrawnFigure):
                yield drawn
            elif names:
                raise ValueError(f"figure {sketch.key!r} cannot be drawn: {drawn}")


def _check_name(name: str, known: Sequence[str]) -> None:
    if name in known:
        return
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    raise ValueError(f"--figure is {name!r}, which this study does not have; the nearest is {nearest[0]}")


def _sketches(study: StudyTables, conditions: Sequence[str]) -> Iterator[_Sketch]:
    for experiment in study.experiments:
        tables = drawn(where(ExperimentTables.of(study, experiment), conditions))
        has_rows = len(tables.rows) > 0
        for kind in FIGURES:
            if kind not in _PICTURES:
                key, on_page = f"{tables.name}-{kind.name}", experiment.shows(kind.name) and kind.on_page(tables)
                yield _Sketch(key, on_page and has_rows, partial(_draw, kind, tables, key))
        for level in filter(parts.is_own, experiment.figures):
            yield _Sketch(f"{tables.name}-{parts.parse(level).name}", has_rows, partial(_draw_own, level, tables))
    yield _Sketch("splits", True, lambda: _splits(study))


def _draw(kind: FigureKind, tables: ExperimentTables, key: str) -> DrawnFigure | str:
    table = kind.table(tables) if len(tables.rows) else tables.rows
    if table.empty:
        return f"nothing is stored that it could show; it needs {kind.needs}"
    return DrawnFigure(Figure(key, kind.title, kind.words(tables, table), kind.drawn(tables, table)), table)


def _draw_own(level: str, tables: ExperimentTables) -> DrawnFigure | str:
    alone = DeclaredExperiment(tables.name, "", "", (), (level,))
    for figure in own_figures(tables, alone):
        return figure if isinstance(figure, str) else DrawnFigure(figure, parts.load("figure", level)().table(tables))
    return "its table has no rows"


def _splits(study: StudyTables) -> DrawnFigure:
    table = splits.splits_example(study.seed, study.planned["split"].unique())
    return DrawnFigure(Figure("splits", splits.TITLE, splits.note(table), splits.splits_chart(table)), table)
