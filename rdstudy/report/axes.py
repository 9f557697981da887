"""Vertical axes that panels share: where values are drawn, and which ticks are named."""

import math
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

_PADDING = 8  # CSS pixels above and below what is drawn: no dot on the edge
_TICKS_APART = 24  # CSS pixels between named ticks of a symmetric logarithm, at least


@dataclass(frozen=True)
class ValueAxis:
    """A vertical axis.

    Attributes:
        low: value at the lower end.
        high: value at the upper end.
        height: in CSS pixels.
        symlog: whether it is logarithmic away from 0: log(1 + |value|) with the value's sign.
    """

    low: float
    high: float
    height: int
    symlog: bool = False

    @classmethod
    def of(cls, low: float, high: float, *, height: int, symlog: bool = False) -> "ValueAxis":
        """An axis that holds all between two values, with room above and below."""
        if not math.isfinite(low) or not math.isfinite(high):
            low, high = 0.0, 1.0
        if high - low <= 1e-9 * max(abs(low), abs(high), 1e-3):
            low, high = low - max(0.5, 0.05 * abs(low)), high + max(0.5, 0.05 * abs(high))
        bottom, top = _bent(np.array([low, high], np.float64), symlog=symlog).tolist()
        room = (top - bottom) * _PADDING / (height - 2 * _PADDING)
        ends = _unbent(np.array([bottom - room, top + room], np.float64), symlog=symlog)
        return cls(float(ends[0]), float(ends[1]), height, symlog)

    def pixels(self, values: "pd.Series[float] | NDArray[np.float64]") -> NDArray[np.float64]:
        """How far below the upper edge values are drawn, in CSS pixels."""
        low, high = _bent(np.array([self.low, self.high], np.float64), symlog=self.symlog)
        shares = (_bent(np.asarray(values, np.float64), symlog=self.symlog) - low) / (high - low)
        return np.asarray(self.height * (1 - shares))

    def scale(self) -> alt.Scale:
        """The scale of the encoding."""
        domain = [self.low, self.high]
        if self.symlog:
            return alt.Scale(type="symlog", domain=domain, zero=False, nice=False)
        return alt.Scale(domain=domain, zero=False, nice=False)

    def axis(self, title: str | None, *, format: str | None = None) -> alt.Axis:
        """The axis of the encoding: ticks of a symmetric logarithm are where the data are."""
        shown = alt.Undefined if format is None else format
        if self.symlog:
            return alt.Axis(title=title, values=self._ticks(), format=shown)
        return alt.Axis(title=title, tickCount=6, format=shown)

    def _ticks(self) -> list[float]:
        """0 and powers of ten first, then 2 and 5 times these, as far as they are apart."""
        most = math.ceil(math.log10(max(abs(self.low), abs(self.high), 1.0)))
        sizes = [[10.0**power for power in range(most + 1)]]
        sizes += [[factor * 10.0**power for power in range(-1, most + 1)] for factor in (2.0, 5.0)]
        wanted = [0.0, *(sign * value for values in sizes for value in values for sign in (1, -1))]
        kept: list[float] = []
        for value in (value for value in wanted if self.low <= value <= self.high):
            places = self.pixels(pd.Series([value, *kept]))
            if (np.abs(places[1:] - places[0]) >= _TICKS_APART).all():
                kept.append(value)
        return sorted(kept)


def _bent(values: NDArray[np.float64], *, symlog: bool) -> NDArray[np.float64]:
    return np.sign(values) * np.log1p(np.abs(values)) if symlog else values


def _unbent(values: NDArray[np.float64], *, symlog: bool) -> NDArray[np.float64]:
    return np.sign(values) * np.expm1(np.abs(values)) if symlog else values
