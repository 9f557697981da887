"""The generalization gap below distortions, as many nats to a pixel: what is seen of D above is seen of the gap too."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from rdstudy.report import seeds, theme
from rdstudy.report.statistics import PlotDomain

SEEDS = ("beta", "beta_at", "seed", "gap")
"""Of the gap of a single model, as charts draw it."""

COLUMNS = ("beta", "beta_at", "gap", "gap_low", "gap_high", "gap_sd", "gap_models")
"""Of a gap, as charts draw it and tooltips name it."""

NOTE = "Below, on the same scale, the generalization gap: test minus train D of a model, each above its floor."

_MARGIN, _LEAST, _ROOM_FOR_TITLE = 7, 56, 150  # CSS pixels
_MOST = 1.6  # heights of a panel of distortions


def with_bars(gaps: pd.DataFrame, beta: theme.BetaAxis) -> pd.DataFrame:
    """Known gaps with the ends of their error bars, mean ± standard deviation, and where β lies on its axis.

    Args:
        gaps: with the columns of `statistics.generalization_gap`.
        beta: the horizontal axis.
    """
    known = gaps[gaps["gap"].notna()]
    half = known["gap_sd"].fillna(0.0)
    return known.assign(beta_at=beta.place(known["beta"]), gap_low=known["gap"] - half, gap_high=known["gap"] + half)


def seeds_of(members: pd.DataFrame, bars: pd.DataFrame, beta: theme.BetaAxis) -> pd.DataFrame:
    """The gaps of single models that are drawn behind those of `with_bars`; none where none is.

    Args:
        members: of `statistics.member_gaps`.
        bars: of `with_bars`.
        beta: the horizontal axis.
    """
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


@dataclass(frozen=True)
class GapAxis:
    """The vertical axis of a panel of gaps.

    Attributes:
        low: its lower end, in nats per image.
        high: its upper end.
        height: in CSS pixels.
    """

    low: float
    high: float
    height: int

    @classmethod
    def of(cls, ends: tuple[float, float], *, domain: PlotDomain, height: int) -> "GapAxis":
        """An axis that holds 0 and all between two ends, on the scale of a panel of distortions `height` pixels high.

        The panel of gaps is as high as that takes, so that a gap which is small beside D looks small.
        """
        nats = (domain.distortion_max - domain.distortion_min) / height  # to a pixel
        bottom = min(ends[0], 0.0) - _MARGIN * nats
        pixels = max(_LEAST, math.ceil((max(ends[1], 0.0) - bottom) / nats) + _MARGIN)
        return cls(bottom, bottom + pixels * nats, pixels)


def panel(
    beta: theme.BetaAxis,
    axis: GapAxis,
    *,
    color: Any,
    width: int,
    titled: bool,
    has_seeds: bool,
    tooltip: Sequence[alt.Tooltip] = (),
) -> theme.Panel:
    """Gaps against β: a line at 0 and the rows of the roles `gaps` and `seeds`.

    Args:
        beta: the horizontal axis.
        axis: the vertical axis.
        color: the encoding of the colour, a value or a field.
        width: in CSS pixels.
        titled: whether the vertical axis carries its title.
        has_seeds: whether single models are drawn.
        tooltip: what the pointer finds beside the numbers.
    """
    scale = alt.Scale(domain=[axis.low, axis.high], zero=False, nice=False)
    title = "gap, nats" if axis.height < _ROOM_FOR_TITLE else "generalization gap, nats"
    ticks = alt.Axis(title=title if titled else None, tickCount=max(2, axis.height // 45))
    x, y = beta.x(), alt.Y("gap:Q", scale=scale, axis=ticks)
    base = theme.chart_of("gaps").encode(x=x, color=color)
    numbers = [("beta", "β"), ("gap", "gap, mean"), ("gap_sd", "gap, sd"), ("gap_models", "models")]
    shown = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in numbers]
    zero = theme.chart_of("gaps").mark_rule(clip=True, strokeDash=[2, 3], strokeWidth=1, color=theme.FAINT)
    bars = base.mark_rule(clip=True, strokeWidth=1.4, opacity=0.65).encode(
        y=alt.Y("gap_low:Q", scale=scale, axis=ticks), y2=alt.Y2("gap_high:Q")
    )
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y, order=alt.Order("beta:Q"))
    dots = base.mark_circle(clip=True, size=40, opacity=1).encode(y=y, tooltip=[*tooltip, *shown])
    single = [seeds.layer(theme.chart_of("seeds").encode(color=color), x, y, [("gap", "gap")])] if has_seeds else []
    layers = [zero.encode(y=alt.YDatum(0, scale=scale, axis=ticks)), lines, bars, *single]
    layers.append(theme.named(dots, theme.DOTS))
    return theme.template(*layers, width=width, height=axis.height)


def below(distortions: theme.Panel, gaps: theme.Panel) -> theme.Panel:
    """A panel of distortions with its panel of gaps."""
    return {"vconcat": [distortions, gaps], "spacing": 14}
