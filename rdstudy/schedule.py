"""Packs on devices: how long all of them take, and how small they must be cut so that all devices end together.

Pure arithmetic on seconds and shares. A slot is a GPU, which packs may share, or the cores of one trial.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rdstudy.packs import cuts

EVEN = 1.1
"""Packs are made smaller while all of them take more than this times the time of perfectly busy devices."""
LEAST_PACK = 8
"""Packs are not made smaller than this: the least time of a step is then a tenth of a step of the paper's networks."""


@dataclass(frozen=True)
class Job:
    """A pack as a scheduler sees it."""

    seconds: float
    share: float  # of a slot


@dataclass(frozen=True)
class Schedule:
    """How jobs end when each is started, in order, as soon as a slot has room for it."""

    seconds: float  # until the last one has ended
    slots: int  # that were used at all
    utilization: float  # of these, in [0, 1]; 1 where there are no jobs


def schedule(jobs: Iterable[Job], slots: int) -> Schedule:
    """Start jobs in their order, each in the first slot that has room for its share."""
    free, touched = [1.0] * slots, 0
    running: list[tuple[float, int, float]] = []  # end, slot, share
    clock = end = busy = 0.0
    for job in jobs:
        while (at := next((at for at, room in enumerate(free) if room >= job.share - 1e-9), None)) is None:
            clock = running[0][0]
            while running and running[0][0] == clock:
                _, ended, share = heapq.heappop(running)
                free[ended] += share
        free[at] -= job.share
        touched = max(touched, at + 1)
        heapq.heappush(running, (clock + job.seconds, at, job.share))
        end = max(end, clock + job.seconds)
        busy += job.seconds * job.share
    return Schedule(end, touched, min(1.0, busy / (touched * end)) if end else 1.0)


def longest_first(jobs: Iterable[Job]) -> list[Job]:
    """Jobs in the order in which the last of them end earliest, nearly."""
    return sorted(jobs, key=lambda job: -job.seconds)


def even_sizes(
    counts: Sequence[int], largest: Sequence[int], *, job: Callable[[int, int], Job], slots: int
) -> tuple[int, ...]:
    """Members of a pack in each cell, such that all slots end at about the same time and packs stay large.

    The longest packs are cut first, into the next smaller equal parts of their cell, until all take at most `EVEN`
    times what they would on slots that are always busy, or no pack can be cut. Never worse than `largest`.

    Args:
        counts: members of each cell.
        largest: members of a pack, at most, in each cell.
        job: of a cell, by its place, and the members of a pack.
        slots: on which packs run at the same time.
    """
    jobs: dict[tuple[int, int], Job] = {}  # (cell, members of a pack) -> its job

    def jobs_of(sizes: Sequence[int]) -> list[Job]:
        parts = [(at, end - start) for at, size in enumerate(sizes) for start, end in pairwise(cuts(counts[at], size))]
        jobs.update({part: job(*part) for part in set(parts) - set(jobs)})
        return longest_first(jobs[part] for part in parts)

    sizes = best = tuple(largest)
    found = jobs_of(sizes)
    ideal = sum(one.seconds * one.share for one in found) / slots
    least = schedule(found, slots).seconds
    bound = max((one.seconds for one in found), default=0.0)
    while least > EVEN * ideal:
        smaller = tuple(
            (_smaller(count, size) if job(at, size).seconds > bound else None) or size
            for at, (count, size) in enumerate(zip(counts, sizes, strict=True))
        )
        if smaller == sizes:  # all packs that can be cut are within the bound
            if all(_smaller(count, size) is None for count, size in zip(counts, sizes, strict=True)):
                break
            bound *= 0.8
            continue
        sizes = smaller
        seconds = schedule(jobs_of(sizes), slots).seconds
        if seconds < least:
            best, least = sizes, seconds
    return best


def _smaller(count: int, size: int) -> int | None:
    """The next smaller size that cuts a cell into equal parts, up to one; None where that is less than `LEAST_PACK`."""
    next_one = next((-(-count // parts) for parts in range(1, count + 1) if -(-count // parts) < size), 0)
    return next_one if next_one >= LEAST_PACK else None
