"""Contenders measured in turn, repeat after repeat, and their times made into rows. Knows no table and no option.

A repeat measures every contender once, beginning with another one each time. With several processes, all those of a
contender train at the same time and the slowest one counts.
"""

import contextlib
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contenders import PEAK, Contender, Task
from benchmarks.lanes import Lane
from benchmarks.sizes import PEAK_OPERATIONS, Size, step_operations

_PEAK_STEPS = 3


@dataclass(frozen=True)
class Course:
    """What all contenders do."""

    size: Size
    processes: int  # of each contender, at the same time
    threads: int  # of each process
    steps: int  # of a measurement
    repeats: int
    images: str  # path of a NumPy file, see `Task`


@dataclass(frozen=True)
class Times:
    """A contender's measurements."""

    seconds: tuple[float, ...]  # [repeat], of one step of one model in one process
    busy: float  # processor time over wall time, per thread: less than 1 where others had the cores


@dataclass(frozen=True)
class Row:
    """A contender's line of the table. Ratios are medians of the ratios within a repeat, the others medians."""

    size: str
    processes: int
    threads: int
    contender: str
    time_over_products: float | None  # the bound is 1
    speed_over_eager: float | None
    speed_over_pythae: float | None
    milliseconds_per_step: float  # of one model in one process
    model_steps_per_second: float  # of all processes together
    fraction_of_peak: float | None  # products alone: their operations a second, over those of a large square product
    busy: float


def run_race(course: Course, contenders: Mapping[Contender, str]) -> dict[str, Times]:
    """Measure contenders, given with their interpreters, and the machine's peak."""
    everyone = {**contenders, PEAK: sys.executable}
    with contextlib.ExitStack() as stack:
        teams = {
            contender: [
                stack.enter_context(Lane(contender, _task(course, contender), python=python))
                for _ in range(course.processes)
            ]
            for contender, python in everyone.items()
        }
        ready = {contender: [lane.wait_ready() for lane in team] for contender, team in teams.items()}
        for contender, team in teams.items():
            _measure(team, _task(course, contender))  # the first time is a warm-up
        measured: dict[Contender, list[tuple[float, float]]] = {contender: [] for contender in teams}
        order = list(teams)
        for repeat in range(course.repeats):
            at = repeat % len(order)
            for contender in order[at:] + order[:at]:
                measured[contender].append(_measure(teams[contender], _task(course, contender)))
    return {contender.name: _times(values, ready[contender][0].models) for contender, values in measured.items()}


def rows_of(course: Course, times: Mapping[str, Times]) -> list[Row]:
    """The lines of the table, the machine's peak left out."""
    return [_row(course, times, name) for name in times if name != PEAK.name]


def _task(course: Course, contender: Contender) -> Task:
    steps = _PEAK_STEPS if contender == PEAK else course.steps
    return Task(course.size, threads=course.threads, steps=steps, images=course.images)


def _measure(team: Sequence[Lane], task: Task) -> tuple[float, float]:
    """Seconds of a step in the slowest process, and how busy its threads were on average."""
    for lane in team:
        lane.start()
    timings = [lane.finish() for lane in team]
    busy = sum(timing.cpu_seconds for timing in timings) / sum(timing.wall_seconds for timing in timings)
    return max(timing.wall_seconds for timing in timings) / task.steps, busy / task.threads


def _times(measured: Sequence[tuple[float, float]], models: int) -> Times:
    return Times(
        seconds=tuple(seconds / models for seconds, _ in measured), busy=statistics.median(busy for _, busy in measured)
    )


def _row(course: Course, times: Mapping[str, Times], name: str) -> Row:
    seconds = statistics.median(times[name].seconds)
    fraction = None
    if name == "products":
        operations = step_operations(course.size) / PEAK_OPERATIONS
        fraction = operations * _ratio(times, PEAK.name, name)
    return Row(
        size=course.size.name,
        processes=course.processes,
        threads=course.threads,
        contender=name,
        time_over_products=_ratio(times, name, "products") if "products" in times else None,
        speed_over_eager=_ratio(times, "eager", name) if "eager" in times else None,
        speed_over_pythae=_ratio(times, "pythae", name) if "pythae" in times else None,
        milliseconds_per_step=1e3 * seconds,
        model_steps_per_second=course.processes / seconds,
        fraction_of_peak=fraction,
        busy=times[name].busy,
    )


def _ratio(times: Mapping[str, Times], above: str, below: str) -> float:
    pairs = zip(times[above].seconds, times[below].seconds, strict=True)
    return statistics.median(numerator / denominator for numerator, denominator in pairs)
