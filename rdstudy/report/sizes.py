"""Test curves of many split sizes in one panel (paper, Figure 4): how the number of training images changes them."""

import functools
from typing import Any

import altair as alt
import pandas as pd

from rdstudy.report import charts, gaps, theme
from rdstudy.report.cells import CELL_FACTORS, cell_name, telling_factors
from rdstudy.report.page import Figure
from rdstudy.report.statistics import PlotDomain, plot_domain
from rdstudy.splits import parse_rule

_LEAST_SIZES = 3  # two curves are compared as well in two panels
_KINDS = {"cv": "constant volume", "cd": "constant density"}
_COLUMNS = (*charts.COLUMNS, "size")
_GAP_COLUMNS = (*gaps.COLUMNS, "size")


def sized_points(planned: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Test points of the cells that differ in the size of their split, and perhaps in depth or architecture.

    Args:
        planned: one row per member, with `cell`.
        points: of `statistics.rate_distortion`, with further columns or none.

    Returns:
        The test rows of `points` with `size`, the number of training images, `group`, a number in the order of
        panels, and `panel`, its name: kind of split and the other telling factors. No rows where something else tells
        the cells apart, or where no group has three sizes.
    """
    test = points[points["subset"] == "test"].drop(columns="panel")
    table = test.merge(_sized_cells(planned), on="cell")
    return table[table.groupby("group")["size"].transform("nunique") >= _LEAST_SIZES].reset_index(drop=True)


def _sized_cells(planned: pd.DataFrame) -> pd.DataFrame:
    """`cell, size, group, panel` of the cells whose split has a size; none where other factors tell cells apart."""
    others = [factor for factor in telling_factors(planned) if factor != "split"]
    rules = {split: parse_rule(split) for split in planned["split"].unique()}
    cells = planned.drop_duplicates("cell")[["cell", *CELL_FACTORS]]
    cells = cells.assign(
        kind=[rules[split].kind for split in cells["split"]],
        size=[rules[split].train_images or 0 for split in cells["split"]],
    )
    by = ["kind", *others]
    places = cells[by].apply(lambda column: pd.factorize(column)[0])
    group = places.groupby(by, sort=True).ngroup()
    names = [_group_name(row, others) for row in cells.to_dict("records")]
    table = cells[["cell", "size"]].assign(group=group, panel=pd.Series(names, cells.index, dtype=object))
    return table[table["size"] > 0] if set(others) <= {"depth", "architecture"} else table.iloc[:0]


def _group_name(row: dict[Any, Any], others: list[str]) -> str:
    parts = [_KINDS.get(row["kind"], row["kind"]), cell_name({factor: row[factor] for factor in others})]
    return ", ".join(part for part in parts if part)


def sizes_chart(points: pd.DataFrame, *, against: str) -> theme.Spec:
    """Test curves, one panel per group and one line per size of the split, from dark (few images) to light.

    Args:
        points: of `sized_points`, at least one row; with the columns of `statistics.generalization_gap` for `beta`.
        against: the horizontal axis, `rate` or `beta`, with the generalization gap below.
    """
    table, domain, beta = charts.with_bars(points), plot_domain(points), theme.beta_axis(points["beta"])
    sizes = tuple(sorted(points["size"].unique().tolist()))
    groups, sets = list(table.groupby("group", sort=True)), theme.Datasets()
    grid = theme.Grid.of(len(groups))
    shared = charts.add_contours(sets, domain) if against == "rate" else {}
    panels, axis = [], None
    if against == "beta" and table["gap"].notna().any():
        ends, height = gaps.ends(gaps.with_bars(table, beta)), _height(grid.width)
        domain = gaps.widened(domain, ends, height=height)
        axis = gaps.GapAxis.of(ends, domain=domain, height=height)
    for place, (_, part) in enumerate(groups):
        template = _panel(sizes, beta, domain, against=against, width=grid.width, titled=grid.first(place))
        roles = {"points": sets.add(_named(part), _COLUMNS), **shared}
        if against == "rate":
            roles["stars"] = sets.add(_named(part[part["beta"] == 1.0]), _COLUMNS)
        panel = theme.fill(template, roles, title=part["panel"].iloc[0])
        if axis is not None:
            rows = sets.add(gaps.with_bars(_named(part), beta), _GAP_COLUMNS)
            below = _gap_panel(sizes, beta, axis, width=grid.width, titled=grid.first(place))
            panel = gaps.below(panel, theme.fill(below, {"gaps": rows}))
        panels.append(panel)
    return theme.finish(theme.lay_out(panels, grid), sets)


def _height(width: int) -> int:
    return min(300, round(0.8 * width))


@functools.cache
def _gap_panel(
    sizes: tuple[int, ...], beta: theme.BetaAxis, axis: gaps.GapAxis, *, width: int, titled: bool
) -> theme.Panel:
    tooltip = [alt.Tooltip("size:N", title="training images")]
    return gaps.panel(beta, axis, color=_size_colour(sizes), width=width, titled=titled, tooltip=tooltip)


def _size_colour(sizes: tuple[int, ...]) -> alt.Color:
    names = [f"{size:,}" for size in sizes]
    scale = alt.Scale(domain=names, scheme=alt.SchemeParams("viridis", extent=[0.0, 0.9]))
    legend = alt.Legend(
        title="training images", orient="top", direction="horizontal", symbolType="circle", symbolOpacity=1
    )
    return alt.Color("size:O", sort=names, scale=scale, legend=legend)


def _named(points: pd.DataFrame) -> pd.DataFrame:
    return points.assign(size=[f"{size:,}" for size in points["size"]])


@functools.cache
def _panel(
    sizes: tuple[int, ...], beta: theme.BetaAxis, domain: PlotDomain, *, against: str, width: int, titled: bool
) -> theme.Panel:
    y = charts.distortion_axis(domain, titled=titled)
    x = charts.rate_axis(domain) if against == "rate" else beta.x()
    tooltip = [alt.Tooltip("size:N", title="training images"), *charts.point_tooltip()]
    base = theme.chart_of("points").encode(color=_size_colour(sizes))
    lines = base.mark_line(clip=True, strokeWidth=1.8).encode(x=x, y=y, order="beta:Q")
    upright = base.mark_rule(clip=True, strokeWidth=1.2, opacity=0.6).encode(
        x=x, y=alt.Y("distortion_low:Q", scale=y["scale"], axis=y["axis"]), y2="distortion_high:Q"
    )
    dots = base.mark_circle(clip=True, size=34, opacity=1).encode(x=x, y=y, tooltip=tooltip)
    layers = [lines, upright, dots]
    if against == "rate":
        across = base.mark_rule(clip=True, strokeWidth=1.2, opacity=0.6).encode(
            x=alt.X("rate_low:Q", scale=x["scale"], axis=x["axis"]), x2="rate_high:Q", y=y
        )
        stars = theme.chart_of("stars").encode(x=x, y=y, tooltip=tooltip)
        star = stars.mark_point(clip=True, shape=theme.star_path(), size=80, filled=True, opacity=1)
        star = star.encode(fill=alt.value("white"), stroke=alt.value(theme.INK))
        layers = [*charts.contour_lines(x, y), *layers, across, star]
    return theme.template(alt.layer(*layers), width=width, height=_height(width))


def figures(name: str, planned: pd.DataFrame, points: pd.DataFrame, differences: pd.DataFrame) -> list[Figure]:
    """The figures of an experiment; none where `sized_points` has no rows.

    Args:
        name: of the experiment.
        planned: its members, with `cell`.
        points: of `statistics.rate_distortion`.
        differences: of `statistics.generalization_gap`.
    """
    table = sized_points(planned, points.merge(differences, on=["cell", "beta"], how="left"))
    if table.empty:
        return []
    least, most = int(table["runs"].min()), int(table["runs"].max())
    runs = f"{most} runs" if least == most else f"{least} to {most} runs (the tooltip says how many)"
    spread = "One run stands behind each point." if most == 1 else f"Mean ± sample standard deviation over {runs}."
    note = f"Test values alone, one line per size of the training set. {spread}"
    curves = " Points are joined in the order of β; the star is β = 1. Thin dashed lines join equal ELBO, −(D + R)."
    by_rate, by_beta = (sizes_chart(table, against=axis) for axis in ("rate", "beta"))
    return [
        Figure(f"{name}-sizes-rate-distortion", "Rate-distortion curves by size of the split", note + curves, by_rate),
        Figure(
            f"{name}-sizes-distortion", "Test distortion against β by size of the split", f"{note} {gaps.NOTE}", by_beta
        ),
    ]
