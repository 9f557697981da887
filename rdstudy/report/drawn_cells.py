"""Which cells of an experiment its figures draw: of very many some, and how a reader sees the others.

Thousands of panels are too much for a page to hold and for a reader to look at. Cells that a figure leaves out are in
the table of results and in the tables of `--tables`, and `--where` draws them.
"""

import math
import shlex
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report.cells import cell_factors, plural, telling_factors
from rdstudy.report.experiment import ExperimentTables
from rdstudy.study.checks import fail
from rdstudy.study.conditions import levels_asked

MOST_CELLS = 120
"""That a figure of a page draws: more than the paper's largest experiment has."""

_LISTED = 20  # levels in a message


def drawn(tables: ExperimentTables) -> ExperimentTables:
    """The tables of the cells that a page draws: all, or those of fewer levels, so that whole curves are compared."""
    cells = tables.planned.drop_duplicates("cell")
    if len(cells) <= MOST_CELLS:
        return tables
    chosen = np.ones(len(cells), bool)
    for name, kept in _kept_levels(cells).items():
        chosen &= cells[name].isin(kept).to_numpy()
    return tables.of_cells(cells.loc[chosen, "cell"].tolist())


def _kept_levels(cells: pd.DataFrame) -> dict[str, list[Any]]:
    """Levels of each factor, so that at most `MOST_CELLS` combine: of most levels fewer, evenly, both ends kept."""
    levels = {name: cells[name].unique().tolist() for name in telling_factors(cells)}
    counts = {name: len(every) for name, every in levels.items()}
    while math.prod(counts.values()) > MOST_CELLS:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return {
        name: [every[place] for place in np.linspace(0, len(every) - 1, counts[name]).round().astype(int)]
        for name, every in levels.items()
    }


def omission(tables: ExperimentTables, figure: str) -> str:
    """What is said of cells that are not drawn, with a command that draws this figure of one; empty where all are."""
    planned, shown = tables.planned, drawn(tables).planned
    cells, few = planned["cell"].nunique(), shown["cell"].nunique()
    if few == cells:
        return ""
    varied = telling_factors(planned)
    thinned = [name for name in varied if shown[name].nunique() < planned[name].nunique()]
    kept = "; ".join(f"of {planned[name].nunique()} {plural(name)} {_listed(shown[name])}" for name in thinned)
    left_out = planned[~planned["cell"].isin(shown["cell"])].iloc[0]
    levels = " ".join(f"--where {shlex.quote(f'{name}={left_out[name]}')}" for name in varied)
    return (
        f"Figures draw {few:,} of {cells:,} cells: {kept}. The table of results has all of them, with means and "
        "deviations. To draw others, such as one that is left out: python -m rdstudy.report RESULTS "
        f"--figures DIR --figure {figure} {levels}"
    )


def _listed(levels: pd.Series) -> str:
    every = [f"{level:g}" if isinstance(level, float) else str(level) for level in levels.unique().tolist()]
    return ", ".join(every[:_LISTED]) + (f" and {len(every) - _LISTED} more" if len(every) > _LISTED else "")


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
