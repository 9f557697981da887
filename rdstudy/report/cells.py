"""Cells and their names: which factors tell the cells of a grid apart, and how a reader sees them.

A cell is one combination of levels, β and seed left out. Nothing here knows a measured value.
"""

from collections.abc import Hashable, Iterable, Mapping

import numpy as np
import pandas as pd

from rdstudy.study.factors import CELL_FACTORS, FACTORS

__all__ = [
    "CELL_FACTORS",
    "STUDY",
    "cell_factors",
    "cell_name",
    "grid_phrase",
    "level_name",
    "naming_factors",
    "plural",
    "telling_factors",
    "with_cells",
]

STUDY = "study"
"""A column of members of two studies that stand side by side: it tells cells apart as a factor does."""


def cell_factors(planned: pd.DataFrame) -> tuple[str, ...]:
    """What may tell the cells of these members apart, in the order of panels: `CELL_FACTORS`, and of which study."""
    return (*CELL_FACTORS, STUDY) if STUDY in planned else CELL_FACTORS


def telling_factors(planned: pd.DataFrame) -> tuple[str, ...]:
    """The factors that tell the cells of these members apart.

    A factor that the ones before it determine says nothing new and is left out: the width that comes with an
    architecture, for one.

    Args:
        planned: one row per member, with the columns `rdstudy.study.factors.CELL_FACTORS`.
    """
    kept: list[str] = []
    group, groups = np.zeros(len(planned), np.int64), min(1, len(planned))  # of the factors that are kept
    for factor in (*cell_factors(planned)[len(CELL_FACTORS) :], *CELL_FACTORS):
        level, levels = pd.factorize(planned[factor], use_na_sentinel=False)
        finer, distinct = pd.factorize(group * len(levels) + level)
        if len(distinct) > groups:
            kept.append(factor)
            group, groups = finer, len(distinct)
    return tuple(kept)


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
    every = _ordering(planned)
    levels = planned[every].apply(lambda column: pd.factorize(column)[0])
    cell = levels.groupby(every, sort=True).ngroup()
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
    """Some levels of a cell, factor -> level, as a reader sees them: a linear VAE has no layers to count.

    Args:
        levels: of these factors.
        among: one row a member or cell beside which they are named, see `level_name`.
    """
    linear = levels.get("architecture") == "linear"
    hidden = {STUDY, "depth"} if linear else {STUDY}
    shown = [(str(factor), level) for factor, level in levels.items() if factor not in hidden]
    name = ", ".join(level_name(factor, level, among=among[factor].unique()) for factor, level in shown)
    return ": ".join(str(part) for part in (levels.get(STUDY, ""), name) if part)


def level_name(factor: str, level: object, *, among: Iterable[object] = ()) -> str:
    """A level as a reader sees it: 1 of `depth` is "1 layer".

    Args:
        factor: its name.
        level: of the factor.
        among: levels beside which it is named: where another one has the same name, as two files of a user's own part
            have, the hash of the file tells them apart.
    """
    label = str if factor == STUDY else FACTORS[factor].label
    is_plain = all(other == level or label(other) != label(level) for other in among)
    return label(level) if is_plain else f"{label(level)} @{str(level).rpartition('@')[2]}"


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
        cells = len(planned[list(cell_factors(planned))].drop_duplicates())
        counts = [(cells, "cell" if cells == 1 else "cells")]
    tail = [f"{betas} β", f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"]
    joint = " × " if product == len(planned) else ", "
    return joint.join([f"{count} {name}" for count, name in counts] + tail)
