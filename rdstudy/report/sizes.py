"""Splits of one kind and several sizes: which cells differ in nothing else, and what both figures of them share."""

import itertools
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from rdstudy.datasets.splits import parse_rule
from rdstudy.report import plane, seeds, sentences, text, theme
from rdstudy.report.cells import cell_factors, cell_name, naming_factors, telling_factors
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.statistics import AXES

_LEAST_SIZES = 3  # two curves are compared as well in two panels
_KINDS = {"cv": "constant volume", "cd": "constant density"}

COLUMNS = (*plane.COLUMNS, "size")
"""Of a point, as charts draw it and tooltips name it."""
SEEDS = (*plane.SEEDS, "size")
"""Of a single model, as charts draw it."""
SIZE_TOOLTIP = [alt.Tooltip("size:N", title="training images")]


def sized_points(experiment: ExperimentTables) -> pd.DataFrame:
    """Test points of the cells that differ in the size of their split, and perhaps in more than that.

    Returns:
        The test rows of `statistics.rate_distortion` with their gaps (`statistics.generalization_gap`), `size`, the
        number of training images, `group`, a number in the order of panels, and `panel`, its name: kind of split and
        the other telling factors. No rows where the cells differ in what axes depend on (`AXES`), or where no group
        has three sizes.
    """
    points = experiment.points[experiment.points["subset"] == "test"].drop(columns="panel")
    table = points.merge(experiment.gaps, on=["cell", "beta"], how="left")
    table = table.merge(_sized_cells(experiment.planned), on="cell")
    return table[table.groupby("group")["size"].transform("nunique") >= _LEAST_SIZES].reset_index(drop=True)


def _sized_cells(planned: pd.DataFrame) -> pd.DataFrame:
    """`cell, size, group, panel` of the cells whose split has a size; none where they share no axis of distortions."""
    factors = [factor for factor in telling_factors(planned) if factor != "split"]
    rules = {split: parse_rule(split) for split in planned["split"].unique()}
    cells = planned.drop_duplicates("cell")[["cell", *cell_factors(planned)]]
    cells = cells.assign(
        kind=[rules[split].kind for split in cells["split"]],
        size=[rules[split].train_images or 0 for split in cells["split"]],
    )
    by = ["kind", *factors]
    places = cells[by].apply(lambda column: pd.factorize(column)[0])
    group = places.groupby(by, sort=True).ngroup()
    names = [_group_name(row, factors, cells) for row in cells.to_dict("records")]
    table = cells[["cell", "size"]].assign(group=group, panel=pd.Series(names, cells.index, dtype=object))
    return table.iloc[:0] if set(factors) & set(AXES) else table[table["size"] > 0]


def _group_name(row: dict[Any, Any], factors: list[str], cells: pd.DataFrame) -> str:
    shown = cell_name({factor: row[factor] for factor in factors}, among=cells)
    parts = [_KINDS.get(row["kind"], row["kind"]), shown]
    return ", ".join(part for part in parts if part)


def sizes_note(points: pd.DataFrame) -> str:
    """What the curves of `sized_points` are, and what their bars."""
    words = "Test values alone, one line per size of the training set."
    return text.joined(words, sentences.models_phrase(points), seeds.note(points))


def seeds_of(experiment: ExperimentTables, points: pd.DataFrame) -> pd.DataFrame:
    """The test values of single models that are drawn behind `sized_points`, with their size as text and group."""
    rows = experiment.rows[experiment.rows["subset"] == "test"]
    rows = rows.merge(points[["cell", "size", "group"]].drop_duplicates("cell"), on="cell")
    return named_sizes(plane.seeds_of(rows, points))


Shades = tuple[tuple[str, str], ...]
"""Sizes as text, ascending, each with its colour."""


def sizes_of_splits(planned: pd.DataFrame) -> tuple[int, ...]:
    """All sizes of the splits of these members, ascending."""
    sizes = {parse_rule(split).train_images or 0 for split in planned["split"].unique()}
    return tuple(sorted(sizes - {0}))


def shades_of(experiment: ExperimentTables, points: pd.DataFrame) -> Shades:
    """The sizes of `sized_points`, from dark (few images) to light: a size has one colour on the whole page."""
    sizes = sorted(points["size"].unique().tolist())
    colours = theme.shades_of(sizes, sizes_of_splits(experiment.study.planned))
    return tuple(zip((f"{size:,}" for size in sizes), colours, strict=True))


def named_sizes(points: pd.DataFrame) -> pd.DataFrame:
    """Points with their sizes as text, as `Shades` have them."""
    return points.assign(size=[f"{size:,}" for size in points["size"]])


def size_colour(shades: Shades) -> alt.Color:
    """A colour a size."""
    names, colours = map(list, zip(*shades, strict=True))
    legend = alt.Legend(
        title="training images", orient="top", direction="horizontal", symbolType="circle", symbolOpacity=1
    )
    return alt.Color("size:O", sort=names, scale=alt.Scale(domain=names, range=colours), legend=legend)


def size_layers(x: alt.X, y: alt.Y, shades: Shades, *, has_seeds: bool) -> list[alt.Chart]:
    """Curves in the order of β, with bars of distortion and dots: the rows of the roles `points` and `seeds`."""
    base = theme.chart_of("points").encode(x=x, color=size_colour(shades))
    lines = base.mark_line(clip=True, strokeWidth=1.8).encode(y=y, order=alt.Order("beta:Q"))
    upright = theme.bars(base, y, "distortion_", width=1.2, opacity=0.6)
    dots = base.mark_circle(clip=True, size=34, opacity=1).encode(y=y, tooltip=[*SIZE_TOOLTIP, *plane.point_tooltip()])
    base = theme.chart_of("seeds").encode(color=size_colour(shades))
    single = [plane.seed_dots(base, x, y)] if has_seeds else []
    return [lines, upright, *single, theme.named(dots, theme.DOTS)]


def panel_height(width: int) -> int:
    """Of a panel so many pixels wide."""
    return min(300, round(0.8 * width))


@dataclass(frozen=True)
class SizePair:
    """Two cells that differ in the size of their `cv` split alone, the smaller first."""

    group: int
    panel: str
    sizes: tuple[int, int]
    cells: tuple[int, int]


def size_pairs(planned: pd.DataFrame) -> list[SizePair]:
    """Consecutive sizes, by the other factors of a cell in the order of panels."""
    factors = [*(factor for factor in cell_factors(planned) if factor != "split"), "study_seed"]
    cells = planned.drop_duplicates("cell").sort_values("cell", kind="stable")
    rules = {split: parse_rule(split) for split in cells["split"].unique()}
    cells = cells.assign(size=[rules[split].train_images or 0 for split in cells["split"]])
    cells = cells[[rules[split].kind == "cv" for split in cells["split"]]]
    shown = naming_factors(planned, without="split")
    pairs: list[SizePair] = []
    for number, (_, alike) in enumerate(cells.groupby(factors, sort=False)):
        panel = cell_name({factor: alike[factor].iloc[0] for factor in shown}, among=cells)
        sized = sorted(zip(alike["size"].tolist(), alike["cell"].tolist(), strict=True))
        pairs += [
            SizePair(number, panel, (less[0], more[0]), (less[1], more[1])) for less, more in itertools.pairwise(sized)
        ]
    return pairs
