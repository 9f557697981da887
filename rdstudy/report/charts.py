"""Distortion against β and rate-distortion curves, one panel per cell: tidy tables of `statistics` -> charts, in nats.

Every mark is clipped to its panel: error bars and contours reach beyond it. A panel is drawn once for all cells that
share its axes, and filled with the rows of each.
"""

import functools
from typing import Any, Literal

import altair as alt
import pandas as pd

from rdstudy.report import gaps, theme
from rdstudy.report.statistics import PlotDomain, elbo_contours, plot_domain

_SHOWN = ("beta", "beta_at", "subset", "runs", "floor", "excess")
_PAIRS = (
    "rate",
    "rate_low",
    "rate_high",
    "rate_sd",
    "distortion",
    "distortion_low",
    "distortion_high",
    "distortion_sd",
)
COLUMNS = (*_SHOWN, *_PAIRS)
"""Of a point, as charts draw it and tooltips name it."""

_NAME_PIXELS = 60  # that the name of a β takes: where a panel has room for all, each is named in the picture


def with_bars(points: pd.DataFrame) -> pd.DataFrame:
    """Add the ends of the error bars, mean ± standard deviation, and where β lies on its axis."""
    table = points.assign(beta_at=theme.beta_axis(points["beta"]).place(points["beta"]))
    for name in ("rate", "distortion"):
        half = table[f"{name}_sd"].fillna(0.0)
        table[f"{name}_low"] = table[name] - half
        table[f"{name}_high"] = table[name] + half
    table["rate_low"] = table["rate_low"].clip(lower=0.0)  # no rate is below 0; a distortion of Gaussian pixels may be
    return table


def distortion_chart(points: pd.DataFrame, best: pd.DataFrame, differences: pd.DataFrame) -> theme.Spec:
    """Test and train distortion against β, one panel per cell, with the lowest mean test distortion marked.

    Below each, the generalization gap, as many nats to a pixel as above.

    Args:
        points: of `statistics.rate_distortion`, at least one row.
        best: of `statistics.best_beta`.
        differences: of `statistics.generalization_gap`; panels of gaps are left out where none is known.
    """
    table, beta = with_bars(points), theme.beta_axis(points["beta"])
    bars = gaps.with_bars(differences, beta).merge(table[["cell", "dataset"]].drop_duplicates(), on="cell")
    ends = {name: gaps.ends(part) for name, part in bars.groupby("dataset")}
    grid, domains = theme.Grid.of(table["cell"].nunique()), _domains(points)
    panels, sets = [], theme.Datasets()
    for place, (cell, part) in enumerate(table.groupby("cell", sort=True)):
        mark = best[best["cell"] == cell].assign(beta_at=lambda found: beta.place(found["beta"]))
        # the words beside the mark lead away from the nearer edge of the panel
        align: Literal["left", "right"] = "left" if beta.in_left_half(mark["beta_at"]) else "right"
        template = _distortion_panel(beta, domains[cell], width=grid.width, align=align, titled=grid.first(place))
        names = {"points": sets.add(part, COLUMNS), "best": sets.add(mark), "floors": sets.add(_floors(part))}
        panel = theme.fill(template, names, title=part["panel"].iloc[0])
        if part["dataset"].iloc[0] in ends:
            axis = gaps.GapAxis.of(ends[part["dataset"].iloc[0]], domain=domains[cell], height=_height(grid.width))
            below = _gap_panel(beta, axis, width=grid.width, titled=grid.first(place))
            panel = gaps.below(panel, theme.fill(below, {"gaps": sets.add(bars[bars["cell"] == cell], gaps.COLUMNS)}))
        panels.append(panel)
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _gap_panel(beta: theme.BetaAxis, axis: gaps.GapAxis, *, width: int, titled: bool) -> theme.Panel:
    return gaps.panel(beta, axis, color=alt.value(theme.INK), width=width, titled=titled)


def _height(width: int) -> int:
    return min(290, round(0.75 * width))


@functools.cache
def _distortion_panel(
    beta: theme.BetaAxis, domain: PlotDomain, *, width: int, align: Literal["left", "right"], titled: bool
) -> theme.Panel:
    x, y = beta.x(), distortion_axis(domain, titled=titled)
    base = theme.chart_of("points").encode(x=x, color=theme.subset_colour())
    bars = base.mark_rule(clip=True, strokeWidth=1.4, opacity=0.65).encode(
        y=alt.Y("distortion_low:Q", scale=y["scale"], axis=y["axis"]), y2="distortion_high:Q"
    )
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    dots = base.mark_circle(clip=True, size=46, opacity=1).encode(y=y, tooltip=point_tooltip())
    ring = theme.chart_of("best").encode(x=x, y=y)
    circle = ring.mark_point(clip=True, size=260, stroke=theme.INK, strokeWidth=1.6, filled=False)
    label = ring.mark_text(clip=True, align=align, dx=8 if align == "left" else 14, dy=24, fontSize=12, fontWeight=600)
    label = label.encode(text=alt.value("lowest test"), color=alt.value(theme.INK))
    return theme.template(
        alt.layer(_floor_lines(), lines, bars, dots, circle, label), width=width, height=_height(width)
    )


def rate_distortion_chart(points: pd.DataFrame) -> theme.Spec:
    """Rate-distortion curves (paper, Figure 3): train and test, joined in the order of β, a star at β = 1.

    Dashed lines are contours of the ELBO.

    Args:
        points: of `statistics.rate_distortion`, at least one row.
    """
    table = with_bars(points)
    grid, domains = theme.Grid.of(table["cell"].nunique()), _domains(points)
    panels, sets = [], theme.Datasets()
    roomy = table["beta"].nunique() * _NAME_PIXELS <= grid.width
    shared = {domain: add_contours(sets, domain) for domain in set(domains.values())}
    for place, (cell, part) in enumerate(table.groupby("cell", sort=True)):
        template = _rate_distortion_panel(domains[cell], width=grid.width, titled=grid.first(place))
        at_one, named = part[part["beta"] == 1.0], _named_betas(part, every=roomy)
        names = {"points": sets.add(part, COLUMNS), "floors": sets.add(_floors(part)), "betas": sets.add(named)}
        names |= {"stars": sets.add(at_one, COLUMNS), **shared[domains[cell]]}
        panels.append(theme.fill(template, names, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _rate_distortion_panel(domain: PlotDomain, *, width: int, titled: bool) -> theme.Panel:
    y = distortion_axis(domain, titled=titled)
    x = rate_axis(domain)
    base = theme.chart_of("points").encode(color=theme.subset_colour())
    lines = base.mark_line(clip=True, strokeWidth=2).encode(x=x, y=y, order="beta:Q")
    across = base.mark_rule(clip=True, strokeWidth=1.2, opacity=0.65).encode(
        x=alt.X("rate_low:Q", scale=x["scale"], axis=x["axis"]), x2="rate_high:Q", y=y
    )
    upright = base.mark_rule(clip=True, strokeWidth=1.2, opacity=0.65).encode(
        x=x, y=alt.Y("distortion_low:Q", scale=y["scale"], axis=y["axis"]), y2="distortion_high:Q"
    )
    dots = base.mark_circle(clip=True, size=46, opacity=1).encode(x=x, y=y, tooltip=point_tooltip())
    names = theme.chart_of("betas").encode(x=x, y=y, text="name:N")
    names = names.mark_text(clip=True, dy=-15, fontSize=11, color=theme.TEST)
    stars = theme.chart_of("stars").encode(x=x, y=y, tooltip=point_tooltip())
    stars = stars.mark_point(clip=True, shape=theme.star_path(), size=150, opacity=1, filled=True, strokeWidth=1.3)
    stars = stars.encode(fill=alt.value("white"), stroke=alt.value(theme.INK))
    layers = [*contour_lines(x, y), _floor_lines(), lines, across, upright, dots, names, stars]
    return theme.template(alt.layer(*layers), width=width, height=min(360, round(0.9 * width)))


def add_contours(sets: theme.Datasets, domain: PlotDomain) -> dict[str, str]:
    """The rows of `contour_lines`, by role."""
    table, columns = elbo_contours(domain), ["elbo", "rate", "distortion"]
    return {"contours": sets.add(table, columns), "contour names": sets.add(table[table["label"]], columns)}


def contour_lines(x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Lines of equal ELBO with their values, for the lowest layers of a rate-distortion panel."""
    lines = theme.chart_of("contours").encode(x=x, y=y, detail="elbo:N")
    lines = lines.mark_line(clip=True, strokeDash=[3, 4], strokeWidth=1, color="#C3C9CF")
    names = theme.chart_of("contour names").encode(x=x, y=y, text=alt.Text("elbo:Q", format="~r"))
    return [lines, names.mark_text(clip=True, align="left", dx=5, dy=9, fontSize=10, color=theme.FAINT)]


def _named_betas(part: pd.DataFrame, *, every: bool) -> pd.DataFrame:
    """The points of the test curve that carry their β: each where there is room, else the first and the last."""
    test = part[part["subset"] == "test"]
    if not every:
        test = test[test["beta"].isin([test["beta"].min(), test["beta"].max()])]
    return test[["rate", "distortion"]].assign(name=[f"β = {beta:g}" for beta in test["beta"]])


def _floors(part: pd.DataFrame) -> pd.DataFrame:
    """The distortion floor of each subset."""
    return part.groupby("subset", sort=True)["floor"].mean().reset_index()


def _floor_lines() -> alt.Chart:
    tooltip = [alt.Tooltip("subset:N"), alt.Tooltip("floor:Q", title="floor D", format=".4~g")]
    lines = theme.chart_of("floors").mark_rule(clip=True, strokeDash=[7, 4], strokeWidth=1.2)
    chart: alt.Chart = lines.encode(y="floor:Q", color=theme.subset_colour(), tooltip=tooltip)
    return chart


def _domains(points: pd.DataFrame) -> dict[Any, PlotDomain]:
    """One domain for all cells of a data set, so that its panels can be compared."""
    by_dataset = {name: plot_domain(part) for name, part in points.groupby("dataset")}
    cells = points.drop_duplicates("cell")
    return {cell: by_dataset[name] for cell, name in zip(cells["cell"], cells["dataset"], strict=True)}


def rate_axis(domain: PlotDomain) -> alt.X:
    """The horizontal axis of rate-distortion curves."""
    scale = alt.Scale(type=domain.rate_scale, domain=[domain.rate_min, domain.rate_max], nice=False)
    return alt.X("rate:Q", scale=scale, axis=alt.Axis(title="rate R, nats per image", tickCount=7, grid=False))


def distortion_axis(domain: PlotDomain, *, titled: bool) -> alt.Y:
    """The vertical axis of distortions; only the first panel of a row carries its title."""
    scale = alt.Scale(domain=[domain.distortion_min, domain.distortion_max], zero=False, nice=False)
    title = "distortion D, nats per image" if titled else None
    return alt.Y("distortion:Q", scale=scale, axis=alt.Axis(title=title, tickCount=6))


def point_tooltip() -> list[alt.Tooltip]:
    """What the pointer finds at a point."""
    fields = [("beta", "β"), ("distortion", "D, mean"), ("distortion_sd", "D, sd"), ("excess", "D above floor")]
    fields += [("floor", "floor"), ("rate", "R, mean"), ("rate_sd", "R, sd"), ("runs", "runs")]
    numbers = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in fields]
    return [alt.Tooltip("subset:N"), *numbers]
