"""Cells of the members of a page, of one study or of two side by side: their numbers, their names, their grid.

How a cell is named is said by `rdstudy.study.cells`. Nothing here knows a measured value.
"""

from collections.abc import Hashable, Mapping

import pandas as pd

from rdstudy.study import cells
from rdstudy.study.factors import CELL_FACTORS, FACTORS

STUDY = "study"
"""A column of members of two studies that stand side by side: it tells cells apart as a factor does."""


def cell_factors(planned: pd.DataFrame) -> tuple[str, ...]:
    """What may tell the cells of these members apart, in the order of panels: `CELL_FACTORS`, and of which study."""
    return (*CELL_FACTORS, STUDY) if STUDY in planned else CELL_FACTORS


def telling_factors(planned: pd.DataFrame) -> tuple[str, ...]:
    """The factors that tell the cells of these members apart, of which study they are first.

    Args:
        planned: one row per member, with the columns `rdstudy.study.factors.CELL_FACTORS`.
    """
    factors = sorted(cell_factors(planned), key=lambda factor: factor != STUDY)
    distinct = planned[factors].drop_duplicates()
    return cells.telling_factors({factor: distinct[factor].tolist() for factor in factors})


def naming_factors(planned: pd.DataFrame, *, without: str = "") -> tuple[str, ...]:
    """The factors that name the cells of these members: those that tell them apart, else what a network is.

    Args:
        planned: as above.
        without: a factor that is named elsewhere.
    """
    factors = tuple(factor for factor in telling_factors(planned) if factor != without)
    return factors if set(factors) - {STUDY} else (*factors, "architecture", "depth")


def with_cells(planned: pd.DataFrame) -> pd.DataFrame:
    """Add `cell`, a number from 0 in the order of panels, and `panel`, the cell's name among these members.

    Levels keep the order in which the members name them, which is the order in which the study was written.
    """
    levels = {factor: pd.factorize(planned[factor])[0] for factor in _ordering(planned)}
    varied = pd.DataFrame({factor: column for factor, column in levels.items() if (column != column[:1]).any()})
    cell = varied.groupby(list(varied), sort=True).ngroup().to_numpy() if len(varied) else 0
    factors = naming_factors(planned)
    names = planned[list(factors)].drop_duplicates()
    names["panel"] = [cell_name(row, among=names) for row in names.to_dict("records")]
    return planned.assign(cell=cell).merge(names, on=list(factors), how="left")


def _ordering(planned: pd.DataFrame) -> list[str]:
    """The columns whose levels are the cells, outermost first.

    Of two studies, one that tells nothing apart in either is left out, so that like cells are beside each other.
    """
    if STUDY not in planned:
        return list(CELL_FACTORS)
    levels = planned.groupby(STUDY)[list(CELL_FACTORS)].nunique().max()
    return [*(factor for factor in CELL_FACTORS if levels[factor] > 1), STUDY]


def cell_name(levels: Mapping[Hashable, object], *, among: pd.DataFrame) -> str:
    """Some levels of a cell, factor -> level, as a reader sees them; of two studies, the name of its study first.

    Args:
        levels: of these factors.
        among: one row a member or cell beside which they are named, see `rdstudy.study.cells.level_name`.
    """
    shown = {str(factor): level for factor, level in levels.items() if factor != STUDY}
    name = cells.cell_name(shown, among={factor: among[factor].unique() for factor in shown})
    return ": ".join(str(part) for part in (levels.get(STUDY, ""), name) if part)


def plural(factor: str) -> str:
    """What several levels of a factor are called, or several studies."""
    return "studies" if factor == STUDY else FACTORS[factor].plural


def grid_phrase(planned: pd.DataFrame) -> str:
    """What the grid is made of, such as "2 depths × 5 β × 3 seeds"; cells are counted where it is no full product."""
    factors = telling_factors(planned)
    counts = [(planned[factor].nunique(), plural(factor)) for factor in factors]
    betas, seeds = planned["beta"].nunique(), planned["seed"].nunique()
    product = betas * seeds
    for count, _ in counts:
        product *= count
    if product != len(planned):
        distinct = len(planned[list(cell_factors(planned))].drop_duplicates())
        counts = [(distinct, "cell" if distinct == 1 else "cells")]
    tail = [f"{betas} β", f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"]
    joint = " × " if product == len(planned) else ", "
    return joint.join([f"{count} {name}" for count, name in counts] + tail)
