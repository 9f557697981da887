"""Curves of measures against β, one panel per cell: tidy tables of `measures` -> charts."""

import functools
from collections.abc import Mapping

import altair as alt
import pandas as pd

from rdstudy.report import theme
from rdstudy.report.measures import STOPPING

_ROW = ("beta", "beta_at", "series", "subset", "value", "low", "high", "sd", "runs", "believed", "error")
_PAIR = ("beta", "series", "rate", "rate_sd", "distortion", "distortion_sd", "stop_step", "runs")


_APART = 4  # CSS pixels between the series of one β


def curves_chart(
    table: pd.DataFrame,
    *,
    title: str,
    rules: pd.DataFrame | None = None,
    symlog: bool = False,
    more: Mapping[str, str] | None = None,
    apart: bool = False,
    domain: tuple[float, float] | None = None,
    faint: str | None = None,
) -> theme.Spec:
    """Curves against β: a colour a series, dashed on the training subset, hollow where not to be believed.

    Args:
        table: of `measures.curves`, at least one row; bars are mean ± sd, or from `low` to `high` where it has these.
        title: of the vertical axis, with its unit.
        rules: horizontal lines, `cell, series, value`; the series is written at the line.
        symlog: a vertical axis that is logarithmic away from 0.
        more: further columns of numbers that the tooltip shows, with their names.
        apart: draw the series of one β a few pixels beside each other, so that no bar hides another.
        domain: the same vertical axis in all panels; bars end where it does.
        faint: a series that is drawn in grey.
    """
    beta, grid = theme.beta_axis(table["beta"]), theme.Grid.of(table["cell"].nunique())
    if "low" not in table:
        half = table["sd"].fillna(0.0)
        table = table.assign(low=table["value"] - half, high=table["value"] + half)
    if domain is not None:
        table = table.assign(low=table["low"].clip(*domain), high=table["high"].clip(*domain))
    series = tuple(dict.fromkeys(table["series"]))
    table, shown = table.assign(beta_at=beta.place(table["beta"])), tuple((more or {}).items())
    if apart:
        steps = table["series"].map(series.index) - (len(series) - 1) / 2
        table["beta_at"] *= (beta.domain[1] / beta.domain[0]) ** (steps * _APART / grid.width)
    columns = [*_ROW, *(name for name, _ in shown)]
    panels, sets = [], theme.Datasets()
    for place, (cell, part) in enumerate(table.groupby("cell", sort=True)):
        lines = rules[rules["cell"] == cell] if rules is not None else pd.DataFrame(columns=["series", "value"])
        template = _panel(
            beta,
            series,
            title if grid.first(place) else None,
            two_subsets=table["subset"].nunique() > 1,
            doubted=not bool(table["believed"].all()),
            symlog=symlog,
            more=shown,
            domain=domain,
            faint=faint,
            width=grid.width,
        )
        names = {"points": sets.add(part, columns), "rules": sets.add(lines, ["series", "value"])}
        names["doubted"] = sets.add(part[~part["believed"].astype(bool)], columns)
        panels.append(theme.fill(template, names, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _panel(
    beta: theme.BetaAxis,
    series: tuple[str, ...],
    title: str | None,
    *,
    two_subsets: bool,
    doubted: bool,
    symlog: bool,
    more: tuple[tuple[str, str], ...],
    domain: tuple[float, float] | None,
    faint: str | None,
    width: int,
) -> theme.Panel:
    x = beta.x()
    scale = alt.Scale(type="symlog", nice=False) if symlog else alt.Scale(zero=False, padding=8)  # no dot on the edge
    if domain is not None:
        scale = alt.Scale(domain=list(domain), nice=False, padding=8)
    y = alt.Y("value:Q", scale=scale, axis=alt.Axis(title=title, tickCount=6))
    base = theme.chart_of("points").encode(x=x, color=_colour(series, faint), detail="subset:N")
    bars = base.mark_rule(clip=True, strokeWidth=1.3, opacity=0.6).encode(
        y=alt.Y("low:Q", scale=scale, axis=y["axis"]), y2="high:Q"
    )
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    if two_subsets:
        dash = alt.Scale(domain=list(theme.SUBSETS), range=[[1, 0], [5, 3]])
        legend = alt.Legend(title=None, orient="top", symbolType="stroke")
        lines = lines.encode(strokeDash=alt.StrokeDash("subset:N", scale=dash, legend=legend))
    dots = base.mark_circle(clip=True, size=42, opacity=1).encode(y=y, tooltip=_tooltip(more))
    layers = [*_rules(), bars, lines, dots]
    if doubted:
        hollow = theme.chart_of("doubted").encode(x=x, y=y, stroke=_stroke(series, faint), tooltip=_tooltip(more))
        layers.append(hollow.mark_point(clip=True, size=42, filled=True, fill="white", opacity=1, strokeWidth=1.6))
    return theme.template(alt.layer(*layers), width=width, height=min(270, round(0.7 * width)))


def _rules() -> list[alt.Chart]:
    """Horizontal lines with their names at the right edge."""
    rule = theme.chart_of("rules").encode(y="value:Q")
    line = rule.mark_rule(clip=True, strokeDash=[7, 4], strokeWidth=1.2, color=theme.FAINT)
    name = rule.mark_text(clip=True, align="right", dy=-7, dx=-4, fontSize=11, color=theme.FAINT)
    return [line, name.encode(x=alt.value("width"), text="series:N")]


def _colour(series: tuple[str, ...], faint: str | None = None) -> alt.Color:
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolStrokeWidth=0, columns=2, labelLimit=420)
    return alt.Color("series:N", scale=_scale(series, faint), legend=legend if len(series) > 1 else None)


def _stroke(series: tuple[str, ...], faint: str | None) -> alt.Stroke:
    return alt.Stroke("series:N", scale=_scale(series, faint), legend=None)


def _scale(series: tuple[str, ...], faint: str | None) -> alt.Scale:
    colours = [theme.PALETTE[at % len(theme.PALETTE)] for at in range(len(series))]
    grey = [theme.FAINT if name == faint else colour for name, colour in zip(series, colours, strict=True)]
    return alt.Scale(domain=list(series), range=grey)


def _tooltip(more: tuple[tuple[str, str], ...]) -> list[alt.Tooltip]:
    numbers = [("beta", "β"), ("value", "mean"), ("low", "bar from"), ("high", "bar to"), ("sd", "sd over runs")]
    numbers += [("error", "Monte Carlo error of one run"), ("runs", "runs"), *more]
    shown = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    return [alt.Tooltip("series:N"), alt.Tooltip("subset:N"), *shown]


def stopping_chart(table: pd.DataFrame) -> theme.Spec:
    """Rate-distortion curves of the test subset: values at the last step against those of early stopping.

    Args:
        table: of `measures.stopped`, at least one row.
    """
    grid = theme.Grid.of(table["cell"].nunique())
    panels, sets = [], theme.Datasets()
    for place, (_, part) in enumerate(table.groupby("cell", sort=True)):
        template = _stopping_panel(width=grid.width, titled=grid.first(place))
        names = {"points": sets.add(part, _PAIR), "stars": sets.add(part[part["beta"] == 1.0], _PAIR)}
        panels.append(theme.fill(template, names, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _stopping_panel(*, width: int, titled: bool) -> theme.Panel:
    title = "test distortion D, nats per image" if titled else None
    x = alt.X("rate:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title="test rate R, nats per image", grid=False))
    y = alt.Y("distortion:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=title, tickCount=6))
    numbers = [("beta", "β"), ("distortion", "D, mean"), ("distortion_sd", "D, sd"), ("rate", "R, mean")]
    numbers += [("rate_sd", "R, sd"), ("stop_step", "best step, mean"), ("runs", "runs")]
    tooltip = [alt.Tooltip(f"{name}:Q", title=title, format=".5~g") for name, title in numbers]
    base = theme.chart_of("points").encode(x=x, y=y, color=_colour(STOPPING))
    lines = base.mark_line(clip=True, strokeWidth=2).encode(order="beta:Q")
    dots = base.mark_circle(clip=True, size=46, opacity=1).encode(tooltip=[alt.Tooltip("series:N"), *tooltip])
    stars = theme.chart_of("stars").encode(x=x, y=y, tooltip=[alt.Tooltip("series:N"), *tooltip])
    stars = stars.mark_point(clip=True, shape=theme.star_path(), size=150, opacity=1, filled=True, strokeWidth=1.3)
    stars = stars.encode(fill=alt.value("white"), stroke=alt.value(theme.INK))
    return theme.template(alt.layer(lines, dots, stars), width=width, height=min(300, round(0.8 * width)))
