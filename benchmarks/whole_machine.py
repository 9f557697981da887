"""Models × steps per second of all cores of a machine, against pythae on as many cores, side by side in one run.

    python -m benchmarks.whole_machine [--sizes NAME ...] [--cores C] [--steps K] [--repeats K] [--pythae PYTHON]
                                       [--json FILE]

A CPU alone. Who has what: pythae as its users get it is one process, which PyTorch gives a thread a core; this project
trains one member in each of as many processes of one thread as there are cores. pythae in as many processes is what
its users could start by hand. For one process of one thread each, see `benchmarks.training`.
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

from benchmarks.contenders import CONTENDERS, interpreter, obstacle
from benchmarks.images import draw_images
from benchmarks.machine import Machine, describe_machine, machine_line, usable_cores
from benchmarks.options import whole
from benchmarks.race import Course, Entry, Times, run_race
from benchmarks.sizes import SIZES
from benchmarks.tables import number, text_table

ONE, EACH = "pythae, one process", "pythae, a process a core"
"""What the ratios are over."""

_HEAD = (
    "network",
    "contender",
    "processes",
    "threads of each",
    "speed / pythae, one process",
    "least",
    "most",
    "speed / pythae, a process a core",
    "models × steps / s",
    "busy",
)
_LEGEND = """\
products: the matrix products or convolutions of a step and nothing else, which no path can do without
speed / pythae, one process: the whole machine over pythae as its users get it: the median of the repeats, the least and
  the most of them
speed / pythae, a process a core: over as many pythae processes of one thread as there are cores
busy: processor time over wall time, per thread: with one thread less than 1 where somebody else had the cores; with
  several also where some of them had nothing to do"""


@dataclass(frozen=True)
class Row:
    """A line of the table. Ratios are medians of the ratios within a repeat, the others medians."""

    size: str
    contender: str
    processes: int
    threads: int  # of each process
    speed_over_one: float | None  # pythae in one process
    least_over_one: float | None  # of the repeats
    most_over_one: float | None
    speed_over_each: float | None  # pythae in a process a core
    model_steps_per_second: float  # of all processes together
    busy: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine()
    field, rows, notes = entries(options.cores, pythae=options.pythae), [], []
    if not any(entry.contender.name == "pythae" for entry in field):
        notes.append(f"pythae: {obstacle(CONTENDERS['pythae'], device='cpu', python=None)}")
    with tempfile.TemporaryDirectory() as folder:
        for size in (SIZES[name] for name in options.sizes):
            print(f"{size.name} on {options.cores} cores ...", file=sys.stderr)
            images = Path(folder) / f"{size.batch_size}.npy"
            np.save(images, draw_images(options.steps * size.batch_size))
            course = Course(size, 1, 1, options.steps, options.repeats, str(images))
            outcome = run_race(course, field)
            rows += rows_of(size.name, field, outcome.times)
            notes += [f"{name}, {size.name}: {why}" for name, why in outcome.failures.items()]
            if options.json:
                _write(Path(options.json), machine, options, rows)
    print(report(rows, notes, machine, options))


def entries(cores: int, *, pythae: str | None = None) -> list[Entry]:
    """Who takes part, each on all cores: those of pythae where it is installed, or where `pythae` is its Python."""
    field = [
        Entry(CONTENDERS["products"], sys.executable, shares=(cores,), threads=1),
        Entry(CONTENDERS["rdstudy"], sys.executable, shares=(cores,), threads=1),
    ]
    python = pythae or interpreter(CONTENDERS["pythae"], sys.executable)
    if python:
        field += [
            Entry(CONTENDERS["pythae"], python, threads=cores, label=ONE),
            Entry(CONTENDERS["pythae"], python, shares=(cores,), threads=1, label=EACH),
        ]
    return field


def rows_of(size: str, field: Sequence[Entry], times: Mapping[str, Times]) -> list[Row]:
    """The lines of one network."""
    return [_row(size, entry, times) for entry in field if entry.name in times]


def _row(size: str, entry: Entry, times: Mapping[str, Times]) -> Row:
    own = times[entry.name]
    over_one = _ratios(times, ONE, entry.name)
    return Row(
        size=size,
        contender=entry.name,
        processes=own.share,
        threads=entry.threads or 1,
        speed_over_one=_median(over_one),
        least_over_one=min(over_one, default=None),
        most_over_one=max(over_one, default=None),
        speed_over_each=_median(_ratios(times, EACH, entry.name)),
        model_steps_per_second=1 / statistics.median(own.seconds),
        busy=own.busy,
    )


def _ratios(times: Mapping[str, Times], above: str, below: str) -> list[float]:
    """Of each repeat; none where one of them did not take part."""
    if above not in times or below not in times:
        return []
    return [over / under for over, under in zip(times[above].seconds, times[below].seconds, strict=True)]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def report(rows: Sequence[Row], notes: Sequence[str], machine: Machine, options: argparse.Namespace) -> str:
    """The table and all that is needed to read it."""
    cells = [
        (
            row.size,
            row.contender,
            str(row.processes),
            str(row.threads),
            number(row.speed_over_one, 2),
            number(row.least_over_one, 2),
            number(row.most_over_one, 2),
            number(row.speed_over_each, 2),
            number(row.model_steps_per_second, 1),
            number(row.busy, 2),
        )
        for row in rows
    ]
    settings = f"medians of {options.repeats} repeats of {options.steps} steps on {options.cores} cores"
    parts = [text_table(_HEAD, cells, left=2), "\n".join(notes), _LEGEND, f"{settings}\n{machine_line(machine)}"]
    return "\n\n".join(part for part in parts if part)


def _write(path: Path, machine: Machine, options: argparse.Namespace, rows: Sequence[Row]) -> None:
    body = {
        "machine": dataclasses.asdict(machine),
        "cores": options.cores,
        "steps": options.steps,
        "repeats": options.repeats,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.whole_machine", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME", help=", ".join(SIZES))
    parser.add_argument("--cores", type=whole(1_024), default=usable_cores(), help="by default all of the machine")
    parser.add_argument("--steps", type=whole(163_840 // 128), default=40, help="of a measurement")
    parser.add_argument("--repeats", type=whole(1_000), default=7, help="measurements of each contender")
    parser.add_argument("--pythae", metavar="PYTHON", help="interpreter that has pythae, .venv-pythae's by default")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
