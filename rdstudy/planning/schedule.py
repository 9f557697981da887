"""Packs on devices: how long all of them take, and how small they must be cut so that all devices end together.

Pure arithmetic on seconds and shares. A slot is a GPU, which packs may share, or the cores of one trial.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rdstudy.planning.packs import cuts

EVEN = 1.1
"""Packs are made smaller while all of them take more than this times the time of perfectly busy devices."""
LEAST_PACK = 8
"""Packs are not made smaller than this: the least time of a step is then a tenth of a step of the paper's networks."""


@dataclass(frozen=True)
class Load:
    """A pack as a scheduler sees it."""

    seconds: float
    share: float  # of a slot


@dataclass(frozen=True)
class Schedule:
    """How loads end when each is started, in order, as soon as a slot has room for it."""

    seconds: float  # until the last one has ended
    slots: int  # that were used at all
    utilization: float  # of these, in [0, 1]; 1 where there are no loads


def schedule(loads: Iterable[Load], slots: int) -> Schedule:
    """Start loads in their order, each in the first slot that has room for its share."""
    free, touched = [1.0] * slots, 0
    running: list[tuple[float, int, float]] = []  # end, slot, share
    clock = end = busy = 0.0
    full = 0  # slots from the first on that have no room at all: there may be thousands
    for load in loads:
        while (at := next((at for at in range(full, slots) if free[at] >= load.share - 1e-9), None)) is None:
            clock = running[0][0]
            while running and running[0][0] == clock:
                _, ended, share = heapq.heappop(running)
                free[ended] += share
                full = min(full, ended)
        free[at] -= load.share
        while full < slots and free[full] <= 0:
            full += 1
        touched = max(touched, at + 1)
        heapq.heappush(running, (clock + load.seconds, at, load.share))
        end = max(end, clock + load.seconds)
        busy += load.seconds * load.share
    return Schedule(end, touched, min(1.0, busy / (touched * end)) if end else 1.0)


def longest_first(loads: Iterable[Load]) -> list[Load]:
    """Jobs in the order in which the last of them end earliest, nearly."""
    return sorted(loads, key=lambda load: -load.seconds)


def even_sizes(
    counts: Sequence[int], largest: Sequence[int], *, load: Callable[[int, int], Load], slots: int
) -> tuple[int, ...]:
    """Members of a pack in each cell, such that all slots end at about the same time and packs stay large.

    The longest packs are cut first, into the next smaller equal parts of their cell, until all take at most `EVEN`
    times what they would on slots that are always busy, or no pack can be cut. Never worse than `largest`.

    Args:
        counts: members of each cell.
        largest: members of a pack, at most, in each cell.
        load: of a cell, by its place, and the members of a pack.
        slots: on which packs run at the same time.
    """
    loads: dict[tuple[int, int], Load] = {}  # (cell, members of a pack) -> its load

    def loads_of(sizes: Sequence[int]) -> list[Load]:
        parts = [(at, end - start) for at, size in enumerate(sizes) for start, end in pairwise(cuts(counts[at], size))]
        loads.update({part: load(*part) for part in set(parts) - set(loads)})
        return longest_first(loads[part] for part in parts)

    sizes = best = tuple(largest)
    packed = loads_of(sizes)
    ideal = sum(each.seconds * each.share for each in packed) / slots
    least = schedule(packed, slots).seconds
    bound = max((each.seconds for each in packed), default=0.0)
    while least > EVEN * ideal:
        smaller = tuple(
            (_smaller(count, size) if load(at, size).seconds > bound else None) or size
            for at, (count, size) in enumerate(zip(counts, sizes, strict=True))
        )
        if smaller == sizes:  # all packs that can be cut are within the bound
            if all(_smaller(count, size) is None for count, size in zip(counts, sizes, strict=True)):
                break
            bound *= 0.8
            continue
        sizes = smaller
        seconds = schedule(loads_of(sizes), slots).seconds
        if seconds < least:
            best, least = sizes, seconds
    return best


def _smaller(count: int, size: int) -> int | None:
    """The next smaller size of pack that cuts a cell evenly; None where it is below `LEAST_PACK`."""
    next_one = next((-(-count // parts) for parts in range(1, count + 1) if -(-count // parts) < size), 0)
    return next_one if next_one >= LEAST_PACK else None
