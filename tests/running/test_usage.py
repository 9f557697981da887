"""Laws of the total: it adds up what is paid and what is used, and says when a limit is reached."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.planning.limits import check_limits
from rdstudy.running.usage import TotalUsage, limit_reached

intervals = st.lists(
    st.tuples(st.floats(0, 1e5), st.integers(0, 97), st.floats(0, 1)), max_size=13
)  # seconds, devices, share of them that is busy


@given(intervals)
def test_device_hours_are_a_sum_of_rectangles(asked):
    total = TotalUsage()
    for seconds, devices, share in asked:
        total.add(seconds=seconds, devices=devices, busy=share * devices)
    paid = math.fsum(seconds * devices for seconds, devices, _ in asked) / 3600
    used = math.fsum(seconds * devices * share for seconds, devices, share in asked) / 3600
    assert total.device_hours == pytest.approx(paid)
    assert total.cost(1.7) == pytest.approx(1.7 * paid)
    if total.utilization is not None and paid:  # 5e-324 s are no hours
        assert total.utilization == pytest.approx(used / paid, abs=1e-9)
        assert 0 <= total.utilization <= 1
    assert (total.utilization is None) == (total.device_hours == 0)


def test_idle_devices_are_paid():
    total = TotalUsage()
    total.add(seconds=1800, devices=3, busy=1.5)
    total.add(seconds=1800, devices=1, busy=0)
    assert (total.device_hours, total.utilization, total.cost(5)) == (2, 0.375, 10)


@pytest.mark.parametrize(
    "interval",
    [
        {"seconds": -1, "devices": 2, "busy": 1},
        {"seconds": 1, "devices": 2, "busy": 2.1},
        {"seconds": 1, "devices": 2, "busy": -1},
        {"seconds": math.nan, "devices": 2, "busy": 1},
    ],
)
def test_an_interval_that_cannot_be_is_refused(interval):
    total = TotalUsage()
    with pytest.raises(ValueError, match="allowed: 0 s or more"):
        total.add(**interval)
    assert total.device_hours == 0


def limit(total, *, max_hours=None, max_cost=None, price=2.0, elapsed=0.0):
    return limit_reached(total, max_hours=max_hours, max_cost=max_cost, price=price, elapsed=elapsed)


def test_a_limit_is_named_when_it_is_reached_and_not_before():
    total = TotalUsage()
    total.add(seconds=3600, devices=5, busy=5)
    assert limit(total, elapsed=1e9) is None
    assert limit(total, max_hours=1.5, elapsed=1.5 * 3600 - 1) is None
    assert limit(total, max_hours=1.5, elapsed=1.5 * 3600) == "--max-hours 1.5 is reached: 1.50 h"
    assert limit(total, max_cost=10.01) is None
    assert limit(total, max_cost=10) == "--max-cost 10 is reached: $10.00, 5.00 device-hours at $2.00"
    assert limit(total, max_cost=1, price=0.0) is None


@pytest.mark.parametrize(
    ("given_limits", "line"),
    [
        ({"max_cost": 100}, "--max-cost is 100 without a price; allowed: with resources.price, USD a device-hour"),
        ({"max_cost": 0, "price": 1}, "--max-cost is 0; allowed: a finite number above 0"),
        ({"max_hours": -1}, "--max-hours is -1; allowed: a finite number above 0"),
        ({"max_hours": math.nan}, "--max-hours is nan; allowed: a finite number above 0"),
        ({"max_hours": math.inf}, "--max-hours is inf; allowed: a finite number above 0"),
    ],
)
def test_a_limit_that_cannot_be_kept_is_refused(given_limits, line):
    limits = {"max_hours": None, "max_cost": None, "price": None, **given_limits}
    with pytest.raises(ValueError) as refused:  # noqa: PT011  the whole line is compared
        check_limits(**limits)
    assert str(refused.value) == line
    with pytest.raises(ValueError, match="allowed"):
        limit_reached(TotalUsage(), **limits, elapsed=0)
