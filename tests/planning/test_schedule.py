"""Laws of the schedule: as a clock that ticks would do it; packs are cut so that all devices end together."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.planning.packs import cuts
from rdstudy.planning.schedule import EVEN, LEAST_PACK, Load, even_sizes, longest_first, schedule

loads = st.lists(st.builds(Load, st.integers(1, 13), st.sampled_from([1, 1 / 2, 1 / 4, 1 / 8])), max_size=23)


def ticking(asked, slots):
    """The same, second by second: its end, slots used and slot-seconds that somebody worked in."""
    left: list[list[list[float]]] = [[] for _ in range(slots)]  # slot -> [seconds left, share]
    queue, time, worked, used = list(asked), 0, 0.0, set()
    while queue or any(left):
        while queue:
            fits = [at for at in range(slots) if sum(share for _, share in left[at]) + queue[0].share <= 1]
            if not fits:
                break
            load = queue.pop(0)
            left[fits[0]].append([load.seconds, load.share])
            used.add(fits[0])
        time += 1
        for slot in left:
            worked += sum(share for _, share in slot)
            slot[:] = [[seconds - 1, share] for seconds, share in slot if seconds > 1]
    return time, len(used), worked


@given(loads, st.integers(1, 5))
def test_a_schedule_is_that_of_a_clock_that_ticks(asked, slots):
    ends = schedule(asked, slots)
    seconds, used, worked = ticking(asked, slots)
    assert (ends.seconds, ends.slots) == (seconds, used)
    assert ends.utilization == pytest.approx(worked / (used * seconds) if asked else 1)


@given(st.lists(st.integers(1, 97), min_size=1, max_size=31), st.integers(1, 7))
def test_longest_first_is_within_its_bound(seconds, slots):
    last = schedule(longest_first(Load(each, 1) for each in reversed(seconds)), slots).seconds
    ideal = max(sum(seconds) / slots, *seconds)
    assert ideal <= last <= sum(seconds) / slots + max(seconds) * (1 - 1 / slots) + 1e-9


def test_a_schedule_by_hand():
    ends = schedule([Load(7, 1), Load(5, 1), Load(3, 1), Load(2, 1)], 2)
    assert (ends.seconds, ends.slots) == (9, 2)
    assert ends.utilization == pytest.approx(17 / 18)
    assert schedule([Load(7, 1 / 2), Load(5, 1 / 2)], 3).slots == 1
    assert schedule([], 3).seconds == 0


cells = st.lists(
    st.tuples(st.integers(1, 97), st.integers(1, 61), st.floats(0.1, 31), st.sampled_from([1, 1 / 2, 1 / 3])),
    max_size=7,
)


@given(cells, st.integers(1, 11))
def test_packs_are_cut_into_equal_parts_and_never_for_the_worse(asked, slots):
    counts, largest = [count for count, *_ in asked], [min(count, most) for count, most, *_ in asked]

    def load(at: int, members: int) -> Load:
        return Load(asked[at][2] * members + 0.3, asked[at][3])  # with a part that every pack pays

    def seconds(sizes) -> float:
        parts = [(at, b - a) for at, size in enumerate(sizes) for a, b in pairs(cuts(counts[at], size))]
        return schedule(longest_first(load(*part) for part in parts), slots).seconds

    sizes = even_sizes(counts, largest, load=load, slots=slots)
    assert seconds(sizes) <= seconds(largest)
    for count, size, most in zip(counts, sizes, largest, strict=True):
        assert size == most or LEAST_PACK <= size < most
        parts = [end - start for start, end in pairs(cuts(count, size))]
        assert sum(parts) == count
        assert max(parts) - min(parts) <= 1
        assert max(parts) <= size


def pairs(places):
    return list(itertools.pairwise(places))


@pytest.mark.parametrize(
    ("count", "cells", "slots", "size", "seconds"),
    [
        (60, 16, 16, 60, 60),  # even as it is
        (60, 17, 16, 10, 70),  # work of 63.75 s a slot: 60 takes 120 s, 30 takes 90, 20 takes 80, 15 and 12 take 75, 72
        (60, 1, 4, 15, 15),
        (60, 1, 7, 9, 9),
        (60, 1, 9, 8, 8),  # not less than the least, though 7 would take less
        (7, 1, 7, 7, 7),
    ],
)
def test_sizes_by_hand(count, cells, slots, size, seconds):
    def load(at: int, members: int) -> Load:
        assert 0 <= at < cells
        return Load(float(members), 1.0)

    assert even_sizes([count] * cells, [count] * cells, load=load, slots=slots) == (size,) * cells
    parts = [load(0, end - start) for start, end in pairs(cuts(count, size))] * cells
    assert schedule(longest_first(parts), slots).seconds == seconds
    assert seconds <= EVEN * count * cells / slots or size == LEAST_PACK or count == 7
