"""Contenders measured in turn, repeat after repeat, and their times made into rows. Knows no table and no option.

A repeat measures every contender once, beginning with another one each time. With several processes, all those of a
contender train at the same time and the slowest one counts. A contender that fails is a reason, and the race goes on.
"""

import contextlib
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.bounds import Bound, bound
from benchmarks.contenders import COPY, PEAK, Contender, Task
from benchmarks.lanes import Lane
from benchmarks.sizes import Size

_BOUND_STEPS = {"cpu": 3, "cuda": 10}


@dataclass(frozen=True)
class Course:
    """What all contenders do."""

    size: Size
    processes: int  # of each contender, at the same time, on a CPU each with a core of its own
    threads: int  # of each process
    steps: int  # of a measurement
    repeats: int
    images: str  # path of a NumPy file, see `Task`
    device: str = "cpu"


@dataclass(frozen=True)
class Entry:
    """A contender as it takes part."""

    contender: Contender
    python: str  # the interpreter that can import it
    members: int = 1  # of a pack
    shares: tuple[int, ...] = (1,)  # numbers of processes that share the device, all measured: the best counts
    threads: int | None = None  # of each of its processes, where they are not those of the course
    label: str | None = None  # its name where one contender takes part in several ways

    @property
    def name(self) -> str:
        """`eager`, or `stacked ×12` for a pack."""
        if self.label:
            return self.label
        return f"{self.contender.name} ×{self.members}" if self.contender.stacks else self.contender.name


@dataclass(frozen=True)
class Times:
    """A contender's measurements."""

    seconds: tuple[float, ...]  # [repeat], wall time over the steps that models took in it: a pack's members share it
    busy: float  # processor time over wall time, per thread: less than 1 where others had the cores
    models: int = 1  # that one step trains
    share: int = 1  # processes that shared the device
    step_mode: str = ""  # how the last measurement took its steps


@dataclass(frozen=True)
class Outcome:
    """What a race gave, by names of entries."""

    times: dict[str, Times]
    failures: dict[str, str]  # name -> the last line that it said


@dataclass(frozen=True)
class Row:
    """A contender's line of the table. Ratios are medians of the ratios within a repeat, the others medians."""

    device: str
    size: str
    processes: int
    threads: int
    contender: str
    models: int  # that one step trains
    time_over_products: float | None  # on a CPU the bound is 1
    speed_over_eager: float | None
    speed_over_processes: float | None
    speed_over_stacked: float | None  # the pack of as many members
    speed_over_pythae: float | None
    fraction_of_bound: float  # of the larger of arithmetic and traffic
    fraction_of_kernels: float  # of kernels in turn; on a CPU of the same bound
    milliseconds_per_step: float  # of one model in one process; of a pack, its step over its members
    model_steps_per_second: float  # of all processes together
    busy: float
    step_mode: str  # how a trainer of this project took its steps; empty of others


def run_race(course: Course, entries: Sequence[Entry]) -> Outcome:
    """Measure contenders, and what the device can do."""
    limits = (PEAK,) if course.device == "cpu" else (PEAK, COPY)
    everyone = [*entries, *(Entry(limit, sys.executable) for limit in limits)]
    failures: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        teams = _ready_teams(course, everyone, stack, failures)
        order = [(entry, share) for entry in teams for share in entry.shares]
        measured: dict[tuple[Entry, int], list[_Measurement]] = {pair: [] for pair in order}
        for repeat in range(course.repeats):
            at = repeat % len(order)
            for entry, share in order[at:] + order[:at]:
                if entry.name in failures:
                    continue
                with _failing(entry, failures):
                    team = teams[entry].lanes[: course.processes * share]
                    measured[entry, share].append(_measure(team, _task(course, entry)))
        models = {entry: team.models for entry, team in teams.items()}
    times = {
        entry.name: min(
            (_times(measured[entry, share], models[entry], share) for share in entry.shares),
            key=lambda times: statistics.median(times.seconds),
        )
        for entry in teams
        if entry.name not in failures
    }
    return Outcome(times, failures)


def bounds_of(course: Course, times: Mapping[str, Times]) -> list[Bound]:
    """The bound in each repeat."""
    peak = times[PEAK.name].seconds
    copy: Sequence[float | None] = times[COPY.name].seconds if COPY.name in times else [None] * len(peak)
    return [
        bound(course.size, course.device, peak_seconds=peak_seconds, copy_seconds=copy_seconds)
        for peak_seconds, copy_seconds in zip(peak, copy, strict=True)
    ]


def rows_of(course: Course, times: Mapping[str, Times]) -> list[Row]:
    """The lines of the table, what the device can do left out."""
    return [_row(course, times, name) for name in times if name not in (PEAK.name, COPY.name)]


@dataclass(frozen=True)
class _Measurement:
    seconds: float  # of a step in the slowest process
    busy: float  # threads, on average
    step_mode: str


@dataclass(frozen=True)
class _Team:
    lanes: list[Lane]
    models: int


def _ready_teams(
    course: Course, entries: Sequence[Entry], stack: contextlib.ExitStack, failures: dict[str, str]
) -> dict[Entry, _Team]:
    """Processes of all entries that could build their trainers and warm up."""
    lanes = {
        entry: [
            stack.enter_context(Lane(entry.contender, _task(course, entry), python=entry.python))
            for _ in range(course.processes * max(entry.shares))
        ]
        for entry in entries
    }
    models: dict[Entry, int] = {}
    for entry in entries:
        with _failing(entry, failures):
            ready = [lane.wait_ready() for lane in lanes[entry]]
            models[entry] = ready[0].models
    teams = {}
    for entry, count in models.items():
        with _failing(entry, failures):
            _measure(lanes[entry], _task(course, entry))  # the first time is a warm-up
            teams[entry] = _Team(lanes[entry], count)
    return teams


@contextlib.contextmanager
def _failing(entry: Entry, failures: dict[str, str]) -> Iterator[None]:
    """Note why a contender failed; without the device's limits there is no race."""
    try:
        yield
    except RuntimeError as error:
        if entry.contender in (PEAK, COPY):
            raise
        lines = str(error).strip().splitlines()
        failures.setdefault(entry.name, next((line for line in reversed(lines) if "Error" in line), lines[-1]))


def _task(course: Course, entry: Entry) -> Task:
    steps = _BOUND_STEPS[course.device] if entry.contender in (PEAK, COPY) else course.steps
    return Task(course.size, entry.threads or course.threads, steps, course.images, course.device, entry.members)


def _measure(team: Sequence[Lane], task: Task) -> _Measurement:
    for lane in team:
        lane.start()
    timings = [lane.finish() for lane in team]
    busy = sum(timing.cpu_seconds for timing in timings) / sum(timing.wall_seconds for timing in timings)
    slowest = max(timings, key=lambda timing: timing.wall_seconds)
    return _Measurement(slowest.wall_seconds / task.steps, busy / task.threads, slowest.step_mode)


def _times(measured: Sequence[_Measurement], models: int, share: int) -> Times:
    return Times(
        seconds=tuple(each.seconds / models / share for each in measured),
        busy=statistics.median(each.busy for each in measured),
        models=models,
        share=share,
        step_mode=measured[-1].step_mode,
    )


def _row(course: Course, times: Mapping[str, Times], name: str) -> Row:
    own = times[name]
    seconds = statistics.median(own.seconds)
    cores = own.share if course.device == "cpu" else 1  # each process has its core to itself, a GPU is shared
    pairs = list(zip(bounds_of(course, times), own.seconds, strict=True))
    return Row(
        device=course.device,
        size=course.size.name,
        processes=course.processes * own.share,
        threads=course.threads,
        contender=name,
        models=own.models,
        time_over_products=_ratio(times, name, "products", cores),
        speed_over_eager=_ratio(times, "eager", name),
        speed_over_processes=_ratio(times, "processes", name),
        speed_over_stacked=_ratio(times, f"stacked ×{own.models}", name),
        speed_over_pythae=_ratio(times, "pythae", name),
        fraction_of_bound=statistics.median(limit.seconds / taken for limit, taken in pairs) / cores,
        fraction_of_kernels=statistics.median(limit.honest_seconds / taken for limit, taken in pairs) / cores,
        milliseconds_per_step=1e3 * seconds * own.share,
        model_steps_per_second=course.processes / seconds,
        busy=own.busy,
        step_mode=own.step_mode,
    )


def _ratio(times: Mapping[str, Times], above: str, below: str, factor: int = 1) -> float | None:
    if above not in times or below not in times:
        return None
    pairs = zip(times[above].seconds, times[below].seconds, strict=True)
    return factor * statistics.median(numerator / denominator for numerator, denominator in pairs)
