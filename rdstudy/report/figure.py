"""What a figure is: a tidy table, the chart that draws it, and the words that a reader needs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from altair.utils.schemapi import debug_mode

from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.theme import Spec

DISTORTIONS = ("distortion", "rate-distortion", "sizes-distortion", "sizes-rate-distortion")
"""Names of the figures of distortions, the plainest first."""

_MANY_CELLS = 40
"""With more cells, a page shows the main figures alone: all figures of hundreds of panels are too much to open."""


Note = Callable[[ExperimentTables, pd.DataFrame], str]
"""Writes the words below a title."""


@dataclass(frozen=True)
class FigureKind:
    """A figure that a study can ask for, as its file in `rdstudy.report.figures` describes it.

    Attributes:
        name: by which a study asks for it; one of `rdstudy.study.FIGURES`.
        title: its heading.
        needs: what must be stored for it, as an error message says it.
        table: the numbers that are drawn, tidy; no rows where there is nothing to show.
        chart: draws the table, which has at least one row.
        note: the words that a reader needs, or the function that writes them for a table.
        rank: of figures of measures, the `finer` ones are left out of pages of many cells; the `main` ones say so.
    """

    name: str
    title: str
    needs: str
    table: Callable[[ExperimentTables], pd.DataFrame]
    chart: Callable[[ExperimentTables, pd.DataFrame], Spec]
    note: str | Note
    rank: Literal["", "main", "finer"] = ""

    def on_page(self, experiment: ExperimentTables) -> bool:
        """Whether the page of this experiment has room for it."""
        return self.rank != "finer" or not _has_many_cells(experiment)

    def drawn(self, experiment: ExperimentTables, table: pd.DataFrame) -> Spec:
        """The chart, without Altair's check of each of its parts, which takes longer than drawing it.

        For figures of this package alone, whose charts tests hold against the schema.
        """
        with debug_mode(False):
            return self.chart(experiment, table)

    def words(self, experiment: ExperimentTables, table: pd.DataFrame) -> str:
        """The note below the title."""
        note = self.note if isinstance(self.note, str) else self.note(experiment, table)
        if self.rank != "main" or not _has_many_cells(experiment):
            return note
        return f"{note} With more than {_MANY_CELLS} panels, finer figures are left out: the tables have them."


def are_many(cells: int) -> bool:
    """Whether so many panels are too many to look at each."""
    return cells > _MANY_CELLS


def _has_many_cells(experiment: ExperimentTables) -> bool:
    return are_many(experiment.planned["cell"].nunique())
