"""Which cells of an experiment its figures draw: of very many some, and how a reader sees the others.

Thousands of panels are too much for a page to hold and for a reader to look at. Cells that a figure leaves out are in
the table of results and in the tables of `--tables`, and `--where` draws them.
"""

import shlex
from collections.abc import Sequence

import numpy as np

from rdstudy.report.cells import cell_factors
from rdstudy.report.experiment import ExperimentTables
from rdstudy.study.checks import fail
from rdstudy.study.conditions import levels_asked

MOST_CELLS = 120
"""That a figure of a page draws: more than the paper's largest experiment has."""

_LISTED = 20  # levels in a message


def drawn(tables: ExperimentTables) -> ExperimentTables:
    """The tables of the cells that a page draws: all, or `MOST_CELLS` of them, evenly over their order."""
    cells = np.unique(tables.planned["cell"].to_numpy())
    if len(cells) <= MOST_CELLS:
        return tables
    places = np.linspace(0, len(cells) - 1, MOST_CELLS).round().astype(int)
    return tables.of_cells(cells[places].tolist())


def omission(tables: ExperimentTables, figure: str) -> str:
    """What is said of the cells that are not drawn; empty where all are.

    Args:
        tables: of the whole experiment.
        figure: key of a figure of it, for an example.
    """
    shown, cells = drawn(tables).planned, tables.planned["cell"].nunique()
    if shown["cell"].nunique() == cells:
        return ""
    left_out = tables.planned[~tables.planned["cell"].isin(shown["cell"])].iloc[0]
    varied = [name for name in cell_factors(tables.planned) if tables.planned[name].nunique() > 1]
    levels = " ".join(f"--where {shlex.quote(f'{name}={left_out[name]}')}" for name in varied)
    return (
        f"Figures draw {MOST_CELLS} of {cells:,} cells, evenly over the grid; the table of results has all of them, "
        "with means and deviations. To draw others, such as one that is left out: python -m rdstudy.report RESULTS "
        f"--figures DIR --figure {figure} {levels}"
    )


def where(tables: ExperimentTables, conditions: Sequence[str]) -> ExperimentTables:
    """The tables of the cells that have some levels.

    Args:
        tables: of an experiment.
        conditions: `FACTOR=LEVEL`; one of several levels of a factor, and all factors.

    Raises:
        ValueError: no such factor, or no cell of the study has such a level.
    """
    chosen = np.ones(len(tables.planned), bool)
    planned = tables.study.planned
    for name, levels in levels_asked(conditions, factors=cell_factors(planned)).items():
        known = planned[name].unique().tolist()
        for level in levels:
            if level not in known:
                more = ", ..." if len(known) > _LISTED else ""
                raise fail(f"--where {name}", level, f"{', '.join(map(str, known[:_LISTED]))}{more}")
        chosen &= tables.planned[name].isin(levels).to_numpy()
    return tables.of_cells(tables.planned.loc[chosen, "cell"].unique().tolist()) if conditions else tables
