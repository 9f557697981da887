"""Training steps per second, against the bound and against others, side by side in one run.

    python -m benchmarks.training [--device cpu|cuda] [--sizes NAME ...] [--contenders NAME ...] [--packs P ...]
                                  [--steps K] [--repeats K] [--threads T] [--processes N] [--pythae PYTHON]
                                  [--json FILE]

Without options it does all that the device can: see NOTES.md. Each contender trains in processes of its own, see
`benchmarks.race`. Numbers of single runs on a shared machine say little; ratios say more, and `busy` says whether the
machine was shared.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.bounds import COPY_BYTES, peak_operations
from benchmarks.contenders import (
    CONTENDERS,
    COPY,
    DEVICES,
    PEAK,
    THIS_PROJECT,
    default_contenders,
    interpreter,
    obstacle,
)
from benchmarks.images import draw_images
from benchmarks.machine import Machine, describe_machine, machine_line, usable_cores
from benchmarks.options import default_device, gpu_name, whole
from benchmarks.race import Course, Entry, Row, Times, bounds_of, rows_of, run_race
from benchmarks.sizes import SIZES
from benchmarks.tables import number, text_table

PAPER_MEMBERS, PAPER_STEPS = 6_240, 257_000
"""The paper's study: models, and training steps of each."""

SHARES = (1, 2, 4, 8)
"""Numbers of processes that share the device, of which the best counts; on a CPU no more than it has cores."""
MOST_PACKED = 60
_PACKS = {"cpu": [1], "cuda": [1, 12, MOST_PACKED]}
_STEPS = {"cpu": 40, "cuda": 192}

_HEAD = (
    "network",
    "contender",
    "processes",
    "speed / eager",
    "speed / processes",
    "speed / stacked",
    "speed / pythae",
    "time / products",
    "of bound",
    "by kernel",
    "models × steps / s",
    "ms a step",
    "busy",
    "steps taken by",
)
_LEGEND = """\
×P: a pack of P members, trained by one step; all else trains one model a process
processes (contender): eager processes that share the device, the best of {shares} at a time
speed / ...: models × steps per second over those of one plain PyTorch loop, of the best number of them,
  of the stacked pack of as many members, of pythae's
time / products: a step over its own matrix products or convolutions alone; no path on a CPU gets below 1
of bound: {bound}
by kernel: the same of the honest bound, kernels in turn (`python -m benchmarks.bounds`); on a CPU the same number
ms a step: of one model in one process; of a pack, its step over its members
busy: processor time over wall time, per thread; on a CPU less than 1 where somebody else had the cores
steps taken by: the way of this project's own paths; on a GPU, another one than a graph means that it failed"""
_BOUND = {
    "cpu": "the time of a step's operations at the peak of a large float32 product in the same run over the time taken",
    "cuda": "the least time of a step over the time taken: the larger of its operations at the peak of a large\n"
    "  float32 product (TF32 off) and 40 bytes a parameter and member at the bandwidth of a copy, both in the same run",
}


@dataclass(frozen=True)
class Limits:
    """What the device was measured to do beside the contenders of one size, and the bound that follows."""

    size: str
    processes: int
    peak_gigaflops: float  # of one process
    copy_gigabytes_per_second: float | None
    arithmetic_microseconds: float  # of a step of one model, at least
    traffic_microseconds: float | None
    kernel_microseconds: float | None  # of its kernels in turn


@dataclass(frozen=True)
class Result:
    """All that a run found."""

    machine: Machine
    rows: Sequence[Row]
    limits: Sequence[Limits]
    notes: Sequence[str]  # who could not take part, and why


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine(gpu=gpu_name() if options.device == "cuda" else None)
    entries, notes = _entries(options)
    result = Result(machine, rows=[], limits=[], notes=notes)
    with tempfile.TemporaryDirectory() as folder:
        for course in _courses(options, Path(folder)):
            print(f"{course.size.name} on {course.device}, {course.processes} at a time ...", file=sys.stderr)
            result = _with_course(result, course, entries)
            if options.json:  # a later network that fails takes nothing away
                _write(Path(options.json), result, options)
    print(report(result, options))


def limits_of(course: Course, times: Mapping[str, Times]) -> Limits:
    """Medians over repeats."""
    peak, copy = times[PEAK.name], times.get(COPY.name)
    bounds = bounds_of(course, times)
    traffic = [bound.traffic_seconds for bound in bounds if bound.traffic_seconds is not None]
    kernels = [bound.kernel_seconds for bound in bounds if bound.kernel_seconds is not None]
    return Limits(
        size=course.size.name,
        processes=course.processes,
        peak_gigaflops=peak_operations(course.device) / statistics.median(peak.seconds) / 1e9,
        copy_gigabytes_per_second=COPY_BYTES / statistics.median(copy.seconds) / 1e9 if copy else None,
        arithmetic_microseconds=1e6 * statistics.median(bound.arithmetic_seconds for bound in bounds),
        traffic_microseconds=1e6 * statistics.median(traffic) if traffic else None,
        kernel_microseconds=1e6 * statistics.median(kernels) if kernels else None,
    )


def report(result: Result, options: argparse.Namespace) -> str:
    """The table and all that is needed to read it."""
    cells = [
        (
            row.size,
            row.contender,
            str(row.processes),
            number(row.speed_over_eager, 2),
            number(row.speed_over_processes, 2),
            number(row.speed_over_stacked, 2),
            number(row.speed_over_pythae, 2),
            number(row.time_over_products, 2),
            number(row.fraction_of_bound, 3),
            number(row.fraction_of_kernels, 3),
            number(row.model_steps_per_second, 1),
            number(row.milliseconds_per_step, 3),
            number(row.busy, 2),
            row.step_mode,
        )
        for row in result.rows
    ]
    settings = (
        f"medians of {options.repeats} repeats of {options.steps} steps on {options.device}, each process with "
        f"{options.threads} {'thread' if options.threads == 1 else 'threads'}"
    )
    shares = ", ".join(map(str, _shares(options)))
    parts = [text_table(_HEAD, cells, left=2), "\n".join(result.notes)]
    parts += [_LEGEND.format(shares=shares, bound=_BOUND[options.device]), "\n".join(map(_limits_line, result.limits))]
    parts += [f"{settings}\n{machine_line(result.machine)}", projection(result.rows)]
    return "\n\n".join(part for part in parts if part)


def projection(rows: Sequence[Row]) -> str:
    """The time of the paper's study on the best path of this project, were all its models of one size."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.contender.partition(" ")[0] in THIS_PROJECT:
            best[row.size] = max(row, best.get(row.size, row), key=lambda row: row.model_steps_per_second)
    if not best:
        return ""
    head = (
        f"the paper's study here, {PAPER_MEMBERS:,} models × {PAPER_STEPS:,} steps, training alone, "
        "were all of them of one size:"
    )
    return "\n".join([head, *(f"  {size}  {_long_time(row)}, by {row.contender}" for size, row in best.items())])


def _long_time(row: Row) -> str:
    hours = PAPER_MEMBERS * PAPER_STEPS / row.model_steps_per_second / 3_600
    return f"{hours:,.1f} hours" if hours < 240 else f"{hours / 24:,.0f} days"


def _limits_line(limits: Limits) -> str:
    copy = traffic = ""
    if limits.copy_gigabytes_per_second is not None and limits.traffic_microseconds is not None:
        copy = f", copy {limits.copy_gigabytes_per_second:,.0f} GB/s"
        traffic = f", of traffic {limits.traffic_microseconds:,.2f} µs, of kernels {limits.kernel_microseconds:,.2f} µs"
    return (
        f"{limits.size}, {limits.processes} at a time: peak {limits.peak_gigaflops:,.1f} GFLOP/s a process{copy}; "
        f"a step of one model takes at least {limits.arithmetic_microseconds:,.2f} µs of arithmetic{traffic}"
    )


def _with_course(result: Result, course: Course, entries: Sequence[Entry]) -> Result:
    """What was found, and a race more."""
    alone = [entry for entry in entries if course.processes == 1 or not entry.contender.shares]
    outcome = run_race(course, alone)
    return dataclasses.replace(
        result,
        rows=[*result.rows, *rows_of(course, outcome.times)],
        limits=[*result.limits, limits_of(course, outcome.times)],
        notes=[*result.notes, *(f"{name}, {course.size.name}: {why}" for name, why in outcome.failures.items())],
    )


def _courses(options: argparse.Namespace, folder: Path) -> list[Course]:
    courses = []
    for size in (SIZES[name] for name in options.sizes):
        images = folder / f"{size.batch_size}.npy"
        if not images.exists():
            np.save(images, draw_images(options.steps * size.batch_size))
        courses += [
            Course(size, processes, options.threads, options.steps, options.repeats, str(images), options.device)
            for processes in sorted({1, options.processes})
        ]
    return courses


def _entries(options: argparse.Namespace) -> tuple[list[Entry], list[str]]:
    """Who takes part, and in words who cannot."""
    entries, notes = [], []
    for name in options.contenders:
        contender = CONTENDERS[name]
        python = options.pythae if name == "pythae" and options.pythae else interpreter(contender, sys.executable)
        why_not = obstacle(contender, device=options.device, python=python)
        if python is None or why_not:
            notes.append(f"{name}: {why_not}")
        elif contender.stacks:
            entries += [Entry(contender, python, members=members) for members in options.packs]
        else:
            entries.append(Entry(contender, python, shares=_shares(options) if contender.shares else (1,)))
    return entries, notes


def _shares(options: argparse.Namespace) -> tuple[int, ...]:
    most = max(SHARES) if options.device == "cuda" else usable_cores() // options.threads
    return tuple(share for share in SHARES if share <= max(1, most))


def _write(path: Path, result: Result, options: argparse.Namespace) -> None:
    settings = {"device": options.device, "steps": options.steps, "repeats": options.repeats}
    body = {**settings, **dataclasses.asdict(result)}
    path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=DEVICES, help="cuda where PyTorch sees a GPU, else cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME", help=", ".join(SIZES))
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        metavar="NAME",
        help=f"{', '.join(CONTENDERS)}; by default all that the device can run, but on a CPU neither stacked nor "
        "explicit, and on a GPU not products",
    )
    parser.add_argument(
        "--packs",
        nargs="+",
        type=whole(MOST_PACKED),
        metavar="P",
        help="members of a pack, for stacked, explicit and jax: 1 12 60 on a GPU, 1 on a CPU",
    )
    most_steps = 163_840 // 128
    parser.add_argument("--steps", type=whole(most_steps), help="of a measurement: 192 on a GPU, 40 on a CPU")
    parser.add_argument("--repeats", type=whole(1_000), default=7, help="measurements of each contender")
    parser.add_argument("--threads", type=whole(1_024), default=1, help="threads of each process; a study has one")
    parser.add_argument(
        "--processes", type=whole(1_024), default=1, help="measure this many processes of each at the same time too"
    )
    parser.add_argument("--pythae", metavar="PYTHON", help="interpreter that has pythae, .venv-pythae's by default")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    options = parser.parse_args(arguments)
    options.device = options.device or default_device()
    options.contenders = options.contenders or default_contenders(options.device)
    options.packs = sorted(set(options.packs or _PACKS[options.device]))
    options.steps = options.steps or _STEPS[options.device]
    return options


if __name__ == "__main__":
    main()
