"""Vertical axes: they hold what is drawn, with room, and name ticks where the data are."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.report.axes import ValueAxis


@pytest.mark.parametrize("symlog", [False, True])
@pytest.mark.parametrize(("low", "high"), [(3.0, 250.0), (-4.0, 40.0), (7.0, 7.0), (0.0, 0.0), (np.nan, np.nan)])
def test_an_axis_holds_its_values_with_room_at_both_ends(low, high, symlog):
    axis = ValueAxis.of(low, high, height=211, symlog=symlog)
    if np.isfinite(low):
        at = axis.pixels(pd.Series([low, high]))
        assert at[0] <= 211 - 7.9
        assert at[1] >= 7.9
    assert axis.low < axis.high
    assert axis.scale().to_dict()["domain"] == [axis.low, axis.high]


@pytest.mark.parametrize(("low", "high"), [(5.0, 400.0), (-30.0, 30.0), (0.0, 3.0), (9.0, 11.0)])
def test_ticks_of_a_symmetric_logarithm_are_inside_apart_and_round(low, high):
    axis = ValueAxis.of(low, high, height=211, symlog=True)
    ticks = axis.axis("nats").to_dict()["values"]
    assert ticks
    assert all(axis.low <= tick <= axis.high for tick in ticks)
    apart = -np.diff(axis.pixels(pd.Series(ticks)))
    assert (apart >= 24).all()
    assert all(tick == 0 or f"{abs(tick):e}"[0] in "125" for tick in ticks)
