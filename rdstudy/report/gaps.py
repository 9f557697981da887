"""The generalization gap below distortions, as many nats to a pixel: what is seen of D above is seen of the gap too."""

import dataclasses
import functools
import math

import altair as alt
import pandas as pd

from rdstudy.report import seeds, sizes, theme
from rdstudy.report.axes import ValueAxis
from rdstudy.report.statistics import PlotDomain

SEEDS = ("beta", "beta_at", "seed", "gap")
"""Of the gap of a single model, as charts draw it."""

COLUMNS = ("beta", "beta_at", "gap", "gap_low", "gap_high", "gap_sd", "gap_models")
"""Of a gap, as charts draw it and tooltips name it."""

NOTE = "Below, on the same scale, the generalization gap: test minus train D of a model, each above its floor."

_MARGIN, _LEAST, _ROOM_FOR_TITLE = 7, 56, 150  # CSS pixels
_MOST = 1.6  # heights of a panel of distortions


def with_bars(gaps: pd.DataFrame, beta: theme.BetaAxis) -> pd.DataFrame:
    """Known gaps of `statistics.generalization_gap`, with the ends of their bars, mean ± sd, and where β lies."""
    known = gaps[gaps["gap"].notna()]
    half = known["gap_sd"].fillna(0.0)
    return known.assign(beta_at=beta.place(known["beta"]), gap_low=known["gap"] - half, gap_high=known["gap"] + half)


def seeds_of(members: pd.DataFrame, bars: pd.DataFrame, beta: theme.BetaAxis) -> pd.DataFrame:
    """The gaps of single models (`statistics.member_gaps`) that are drawn behind those of `with_bars`, if any are."""
    is_drawn = seeds.are_drawn(bars.assign(models=bars["gap_models"]))
    drawn = members[members["gap"].notna()] if is_drawn else members.iloc[:0]
    return drawn.assign(beta_at=beta.place(drawn["beta"]))


def ends(bars: pd.DataFrame, members: pd.DataFrame) -> tuple[float, float]:
    """Lowest and highest end of the bars of `with_bars` and of the gaps of `seeds_of`."""
    low, high = (pd.concat([bars[name], members["gap"]]) for name in ("gap_low", "gap_high"))
    return float(low.min()), float(high.max())


def widened(domain: PlotDomain, ends: tuple[float, float], *, height: int) -> PlotDomain:
    """A domain of distortions that reaches lower where its panel of gaps would else be very high."""
    span = (max(ends[1], 0.0) - min(ends[0], 0.0)) * height / (_MOST * height - 2 * _MARGIN)
    return dataclasses.replace(domain, distortion_min=min(domain.distortion_min, domain.distortion_max - span))


def axis_of(ends: tuple[float, float], *, domain: PlotDomain, height: int) -> ValueAxis:
    """An axis that holds 0 and all between two ends, on the scale of a panel of distortions `height` pixels high.

    The panel of gaps is as high as that takes, so that a gap which is small beside D looks small.
    """
    nats = (domain.distortion_max - domain.distortion_min) / height  # to a pixel
    bottom = min(ends[0], 0.0) - _MARGIN * nats
    pixels = max(_LEAST, math.ceil((max(ends[1], 0.0) - bottom) / nats) + _MARGIN)
    return ValueAxis(bottom, bottom + pixels * nats, pixels)


@functools.cache
def panel(
    beta: theme.BetaAxis,
    axis: ValueAxis,
    *,
    width: int,
    titled: bool,
    has_seeds: bool,
    shades: sizes.Shades | None = None,
) -> theme.Panel:
    """Gaps against β: a line at 0 and the rows of the roles `gaps` and `seeds`.

    Args:
        beta: the horizontal axis.
        axis: the vertical axis.
        width: in CSS pixels.
        titled: whether the vertical axis carries its title.
        has_seeds: whether single models are drawn.
        shades: of the sizes of the split that lines are of; None where there is one line.
    """
    scale = axis.scale()
    title = "gap, nats" if axis.height < _ROOM_FOR_TITLE else "generalization gap, nats"
    ticks = alt.Axis(title=title if titled else None, tickCount=max(2, axis.height // 45))
    x, y = beta.x(), alt.Y("gap:Q", scale=scale, axis=ticks)
    color = alt.ColorValue(theme.INK) if shades is None else sizes.size_colour(shades)
    base = theme.chart_of("gaps").encode(x=x, color=color)
    numbers = [("beta", "β"), ("gap", "gap, mean"), ("gap_sd", "gap, sd"), ("gap_models", "models")]
    size = [] if shades is None else sizes.SIZE_TOOLTIP
    shown = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    zero = theme.chart_of("gaps").mark_rule(clip=True, strokeDash=[2, 3], strokeWidth=1, color=theme.FAINT)
    bars = theme.bars(base, y, "gap_", width=1.4, opacity=0.65)
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y, order=alt.Order("beta:Q"))
    dots = base.mark_circle(clip=True, size=40, opacity=1).encode(y=y, tooltip=[*size, *shown])
    single = [seeds.layer(theme.chart_of("seeds").encode(color=color), x, y, [("gap", "gap")])] if has_seeds else []
    layers = [zero.encode(y=alt.YDatum(0, scale=scale, axis=ticks)), lines, bars, *single]
    layers.append(theme.named(dots, theme.DOTS))
    return theme.template(*layers, width=width, height=axis.height)


def below(distortions: theme.Panel, gaps: theme.Panel) -> theme.Panel:
    """A panel of distortions with its panel of gaps."""
    return {"vconcat": [distortions, gaps], "spacing": 14}
