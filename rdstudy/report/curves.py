"""Curves of measures against β, one panel per cell: tidy tables of `measures` -> charts."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.report import labels, seeds, text, theme
from rdstudy.report.axes import ValueAxis
from rdstudy.report.figure import Note
from rdstudy.report.groups import Groups
from rdstudy.report.statistics import AXES

_ROW = ("beta", "beta_at", "series", "subset", "value", "low", "high", "sd", "models", "believed", "error")
_RULE = ["value", "text", "text_x", "text_y"]  # of a horizontal line with its name
_APART = 4  # CSS pixels between the series of one β
_FONT = 11  # of the names of lines, in CSS pixels


def bars_note(table: pd.DataFrame) -> str:
    """What the bars of `curves_chart` are, where a table has no ends of its own."""
    if len(table) and int(table["models"].max()) == 1:
        return "One model stands behind each point: no error bars. The tooltip has its Monte Carlo error."
    return (
        "Bars: sample standard deviation over models; the tooltip has the number of models and a model's Monte Carlo "
        f"error. {seeds.note(table)}"
    )


def axes_note(table: pd.DataFrame) -> str:
    """Which panels share no vertical axis; empty where all do."""
    several = [name for name in AXES if table[name].nunique() > 1]
    names = {"dataset": "data set", "likelihood": "likelihood"}
    return f"Each {' and '.join(names[name] for name in several)} has a vertical axis of its own." if several else ""


def with_bars_note(words: str) -> Note:
    """A note that ends with what the bars are and which panels share no axis."""
    return lambda _, table: text.joined(words, bars_note(table), axes_note(table))


@dataclass(frozen=True)
class _Look:
    """What all panels of a chart share.

    Attributes:
        by_subset: whether colours are those of test and train.
        two_subsets: whether test and train are told apart by dashes and marks.
    """

    beta: theme.BetaAxis
    series: tuple[str, ...]
    by_subset: bool
    two_subsets: bool
    has_seeds: bool
    more: tuple[tuple[str, str], ...]
    percent: bool
    width: int


def curves_chart(
    table: pd.DataFrame,
    *,
    title: str,
    rules: pd.DataFrame | None = None,
    symlog: bool = False,
    more: Mapping[str, str] | None = None,
    apart: bool = False,
    domain: tuple[float, float] | None = None,
    axes: Sequence[str] = AXES,
    below: "Callable[[pd.DataFrame, theme.BetaAxis, theme.Datasets, int, bool], Sequence[theme.Panel]] | None" = None,
) -> theme.Spec:
    """Curves against β: a colour a series, dashed on the training subset, hollow where not to be believed.

    A single series that has no colour of its own is drawn in the colours of test and train.

    Args:
        table: of `measures.curves`, at least one row; bars are mean ± sd, or from `low` to `high` where it has these.
            Where `cell` numbers panels, `cell_of_models` has the cell.
        title: of the vertical axis, with its unit.
        rules: horizontal lines, `cell, series, value`; the series is written at the line.
        symlog: a vertical axis that is logarithmic away from 0.
        more: further columns of numbers that the tooltip shows, with their names.
        apart: draw the series of one β a few pixels beside each other, so that no bar hides another.
        domain: shares: the vertical axis is from one to the other in all panels, in percent; bars end where it does.
        axes: columns of the table: panels that agree in these have the same vertical axis.
        below: panels that go below that of a cell: of its rows, the axis of β, where rows go, width, and whether the
            panel carries titles.
    """
    beta, grid = theme.beta_axis(table["beta"]), theme.Grid.of(table["cell"].nunique())
    rules = rules if rules is not None else pd.DataFrame(columns=["cell", "series", "value"])
    table = _placed(_with_ends(table, domain), beta, width=grid.width, apart=apart)
    table["curve"] = table.groupby(["series", "subset"], sort=False).ngroup()
    look = _look_of(table, beta, more or {}, percent=domain is not None, width=grid.width)
    height = min(270, round(0.7 * grid.width))
    shared = _shared_axes(table, rules, axes, domain, height=height, symlog=symlog)
    panels, sets, lines = [], theme.Datasets(), Groups(rules)
    for place, (cell, part) in enumerate(Groups(table)):
        names = _roles(part, lines.rows(cell), look, shared[cell], sets)
        template = _panel(look, shared[cell], title if grid.first(place) else None)
        own = part["cell_of_models"].iloc[0] if "cell_of_models" in part else cell
        panel = theme.fill(template, names, title=part["panel"].iloc[0], cell=own)
        if below is not None:
            panel = {"vconcat": [panel, *below(part, beta, sets, grid.width, grid.first(place))], "spacing": 10}
        panels.append(panel)
    return theme.finish(theme.lay_out(panels, grid), sets)


def _with_ends(table: pd.DataFrame, domain: tuple[float, float] | None) -> pd.DataFrame:
    if "low" not in table:
        half = table["sd"].fillna(0.0)
        table = table.assign(low=table["value"] - half, high=table["value"] + half)
    if domain is None:
        return table
    return table.assign(low=table["low"].clip(*domain), high=table["high"].clip(*domain))


def _placed(table: pd.DataFrame, beta: theme.BetaAxis, *, width: int, apart: bool) -> pd.DataFrame:
    """The table with `beta_at`, where a point lies on the axis of β."""
    table = table.assign(beta_at=beta.place(table["beta"]))
    if apart:
        curves = list(zip(table["series"], table["subset"], strict=True))
        order = {curve: at for at, curve in enumerate(dict.fromkeys(curves))}
        steps = np.array([order[curve] for curve in curves]) - (len(order) - 1) / 2
        table["beta_at"] *= (beta.domain[1] / beta.domain[0]) ** (steps * _APART / width)
    return table


def _look_of(table: pd.DataFrame, beta: theme.BetaAxis, more: Mapping[str, str], *, percent: bool, width: int) -> _Look:
    series, subsets = tuple(dict.fromkeys(table["series"])), table["subset"].nunique()
    by_subset = len(series) == 1 and series[0] not in theme.COLOURS
    has_seeds = "seeds" in table and seeds.are_drawn(table)
    return _Look(beta, series, by_subset, subsets > 1, has_seeds, tuple(more.items()), percent, width)


def _shared_axes(
    table: pd.DataFrame,
    rules: pd.DataFrame,
    axes: Sequence[str],
    domain: tuple[float, float] | None,
    *,
    height: int,
    symlog: bool,
) -> dict[object, ValueAxis]:
    """The vertical axis of each cell: it holds all bars, seeds and lines of the cells that share it."""
    by = [name for name in axes if name in table]
    shared: dict[object, ValueAxis] = {}
    for _, part in table.groupby(by, sort=False) if by else [((), table)]:
        values = [part["low"], part["high"], part["value"], rules.loc[rules["cell"].isin(part["cell"]), "value"]]
        if "seeds" in part:
            values.append(seeds.of_curves(part, [])["value"])
        drawn = pd.concat([numbers.astype(float) for numbers in values])
        low, high = domain or (float(drawn.min()), float(drawn.max()))
        shared |= dict.fromkeys(part["cell"].unique(), ValueAxis.of(low, high, height=height, symlog=symlog))
    return shared


def _roles(
    part: pd.DataFrame, lines: pd.DataFrame, look: _Look, axis: ValueAxis, sets: theme.Datasets
) -> dict[str, str]:
    """The rows of a panel by role."""
    names = {"points": sets.add(part, [*_ROW, *(name for name, _ in look.more)])}
    names["rules"] = sets.add(_named_rules(part, lines, look, axis))
    if look.has_seeds:
        names["seeds"] = sets.add(seeds.of_curves(part, ["beta", "beta_at", "series", "subset"]))
    return names


def _named_rules(part: pd.DataFrame, lines: pd.DataFrame, look: _Look, axis: ValueAxis) -> pd.DataFrame:
    """Horizontal lines with their names where these hide nothing; a name for which there is no room is at the end."""
    if lines.empty:
        return pd.DataFrame(columns=_RULE)
    values = lines["value"].to_numpy(float)
    order = np.argsort(-values, kind="stable")
    heights = axis.pixels(values)
    across = [labels.along(np.array([[0.0, y], [look.width, y]])) for y in heights]
    panel = labels.Panel(look.width, axis.height, np.concatenate([_drawn(part, look, axis), *across]))
    rows, named = [], lines["series"].tolist()
    for at in order:
        words, y = str(named[at]), float(heights[at])
        centres = list(labels.beside_line(y, words, width=look.width, font=_FONT))
        x, y = panel.place(words, centres, font=_FONT) or centres[0] if words else (0.0, 0.0)
        rows.append((values[at], words, x, y))
    return pd.DataFrame(rows, columns=_RULE)


def _drawn(part: pd.DataFrame, look: _Look, axis: ValueAxis) -> labels.Positions:
    """What curves and bars of a panel cover."""
    order = np.argsort(part["beta_at"].to_numpy(float), kind="stable")
    x = look.beta.pixels(part["beta_at"], width=look.width)[order]
    points, lows, highs = (
        np.column_stack([x, axis.pixels(part[name].to_numpy(float)[order])]) for name in ("value", "low", "high")
    )
    return np.concatenate([labels.along(points, part["curve"].to_numpy()[order]), labels.between(lows, highs)])


@functools.cache
def _panel(look: _Look, axis: ValueAxis, title: str | None) -> theme.Panel:
    x = look.beta.x()
    y = alt.Y("value:Q", scale=axis.scale(), axis=axis.axis(title, format="%" if look.percent else None))
    color = theme.subset_colour() if look.by_subset else series_colour(look.series)
    base = theme.chart_of("points").encode(x=x, color=color, detail=alt.Detail("subset:N"))
    bars = theme.bars(base, y, "", width=1.3, opacity=0.6)
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    if look.two_subsets and not look.by_subset:
        lines = lines.encode(strokeDash=theme.subset_dash(alt.Legend(title=None, orient="top", symbolType="stroke")))
    rules = theme.chart_of("rules")
    rule = rules.mark_rule(clip=True, strokeDash=[7, 4], strokeWidth=1.2, color=theme.FAINT).encode(y=alt.Y("value:Q"))
    name = labels.text(rules, font=_FONT, color="#5B6570")
    layers = [rule, bars, lines, *_seeds(look, x, y), _dots(look, x, y), name]
    return theme.template(*layers, width=look.width, height=axis.height)


def _dots(look: _Look, x: alt.X, y: alt.Y) -> alt.Chart:
    """One dot a point: filled where its value is to be believed, else hollow."""
    field, scale = _field(look)
    dots = theme.chart_of("points").encode(x=x, y=y, tooltip=_tooltip(look.more))
    dots = dots.encode(**theme.hollow_if_doubted(field, scale))
    dots = dots.mark_point(clip=True, size=42, filled=True, opacity=1, strokeWidth=1.6)
    return theme.named(dots.encode(shape=theme.subset_shape(_shape_legend(look))), theme.DOTS)


def _seeds(look: _Look, x: alt.X, y: alt.Y) -> list[alt.Chart]:
    if not look.has_seeds:
        return []
    base = theme.chart_of("seeds").encode(shape=theme.subset_shape(_shape_legend(look)))
    base = base.encode(**theme.hollow_if_doubted(*_field(look)))
    return [seeds.layer(base, x, y, [("value", "value")])]


def _shape_legend(look: _Look) -> alt.Legend | None:
    """Marks are explained beside the colours of test and train; where colours mean something else, dashes are."""
    return theme.subset_legend() if look.by_subset else None


def _field(look: _Look) -> tuple[str, alt.Scale]:
    return ("subset:N", theme.subset_scale()) if look.by_subset else ("series:N", theme.series_scale(look.series))


def series_colour(series: tuple[str, ...]) -> alt.Color:
    """A colour a series (`theme.colours_of`), with a legend."""
    legend = alt.Legend(
        title=None, orient="top", symbolType="circle", symbolStrokeWidth=0, symbolOpacity=1, columns=2, labelLimit=420
    )
    return alt.Color("series:N", scale=theme.series_scale(series), legend=legend)


def _tooltip(more: tuple[tuple[str, str], ...]) -> list[alt.Tooltip]:
    numbers = [("beta", "β"), ("value", "mean"), ("low", "bar from"), ("high", "bar to"), ("sd", "sd over models")]
    numbers += [("error", "Monte Carlo error of one model"), ("models", "models"), *more]
    shown = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    return [alt.Tooltip("series:N"), alt.Tooltip("subset:N"), *shown]
