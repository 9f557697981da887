"""Cells and their names: which factors tell the cells of a grid apart, and how a reader sees them.

A cell is one combination of levels, β and seed left out. Nothing here knows a measured value.
"""

import re
from collections.abc import Hashable, Mapping

import pandas as pd

CELL_FACTORS = ("dataset", "split", "architecture", "depth", "width", "latent_dim", "likelihood", "objective")
"""The factors of a cell, outermost first: the order of panels and of table rows."""

_PLURALS = {
    "dataset": "data sets",
    "split": "splits",
    "architecture": "architectures",
    "depth": "depths",
    "width": "widths",
    "latent_dim": "latent sizes",
    "likelihood": "likelihoods",
    "objective": "objectives",
}


def telling_factors(planned: pd.DataFrame) -> tuple[str, ...]:
    """The factors that tell the cells of these members apart.

    A factor that the ones before it determine says nothing new and is left out: the width that comes with an
    architecture, for one.

    Args:
        planned: one row per member, with the columns `CELL_FACTORS`.
    """
    kept: list[str] = []
    for factor in CELL_FACTORS:
        groups = len(planned[kept].drop_duplicates()) if kept else min(1, len(planned))
        if len(planned[[*kept, factor]].drop_duplicates()) > groups:
            kept.append(factor)
    return tuple(kept)


def with_cells(planned: pd.DataFrame) -> pd.DataFrame:
    """Add `cell`, a number from 0 in the order of panels, and `panel`, the cell's name among these members.

    Levels keep the order in which the members name them, which is the order in which the study was written.
    """
    levels = planned[list(CELL_FACTORS)].apply(lambda column: pd.factorize(column)[0])
    cell = levels.groupby(list(CELL_FACTORS), sort=True).ngroup()
    factors = telling_factors(planned) or ("architecture", "depth")
    names = planned[list(factors)].drop_duplicates()
    names["panel"] = [cell_name(row) for row in names.to_dict("records")]
    return planned.assign(cell=cell).merge(names, on=list(factors), how="left")


def cell_name(levels: Mapping[Hashable, object]) -> str:
    """Some levels of a cell, factor -> level, as a reader sees them: a linear VAE has no layers to count."""
    linear = levels.get("architecture") == "linear"
    return ", ".join(level_name(str(f), level) for f, level in levels.items() if not (linear and f == "depth"))


def level_name(factor: str, level: object) -> str:
    """A level as a reader sees it: 1 of `depth` is "1 layer"."""
    if factor == "depth":
        return f"{level} layer" if level == 1 else f"{level} layers"
    if factor == "architecture":
        return str(level).upper() if level in ("mlp", "cnn") else str(level)
    if factor == "split":
        return re.sub(r"\d+", lambda digits: f"{int(digits[0]):,}", str(level))
    if factor == "width":
        return f"width {level}"
    if factor == "latent_dim":
        return f"{level} latent dimensions"
    return str(level)


def grid_phrase(planned: pd.DataFrame) -> str:
    """What the grid is made of, such as "2 depths × 5 β × 3 seeds"; cells are counted where it is no full product."""
    factors = telling_factors(planned)
    counts = [(planned[factor].nunique(), _PLURALS[factor]) for factor in factors]
    betas, seeds = planned["beta"].nunique(), planned["seed"].nunique()
    product = betas * seeds
    for count, _ in counts:
        product *= count
    if product != len(planned):
        cells = len(planned[list(CELL_FACTORS)].drop_duplicates())
        counts = [(cells, "cell" if cells == 1 else "cells")]
    tail = [f"{betas} β", f"{seeds} seed" if seeds == 1 else f"{seeds} seeds"]
    joint = " × " if product == len(planned) else ", "
    return joint.join([f"{count} {name}" for count, name in counts] + tail)
