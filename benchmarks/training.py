"""Training steps per second, against the bound and against others, side by side in one run.

    python -m benchmarks.training [--sizes NAME ...] [--contenders NAME ...] [--steps K] [--repeats K]
                                  [--threads T] [--processes N] [--pythae PYTHON] [--json FILE]

Each contender trains in processes of its own, see `benchmarks.race`. Numbers of single runs on a shared machine say
little; ratios say more, and `busy` says whether the machine was shared.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.contenders import CONTENDERS, Contender, how_to_install, interpreter
from benchmarks.machine import Machine, describe_machine, machine_line
from benchmarks.race import Course, Row, rows_of, run_race
from benchmarks.sizes import SIZES
from benchmarks.tables import number, text_table
from rdstudy.datasets import tetrominoes

PAPER_MEMBERS, PAPER_STEPS = 6_240, 257_000
"""The paper's study: models, and training steps of each."""

_HEAD = (
    "network",
    "processes",
    "contender",
    "time / products",
    "speed / eager",
    "speed / pythae",
    "ms a step",
    "models × steps / s",
    "of peak",
    "busy",
)
_LEGEND = """\
time / products: time of a step over that of its own matrix products or convolutions alone; no CPU path gets below 1
speed / ...: models × steps per second over those of the plain PyTorch loop and of pythae's trainer
of peak: operations per second of the products over those of a large square product in the same run
busy: processor time over wall time, per thread; less than 1 where somebody else had the cores"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine()
    found, missing = _find(options.contenders, options.pythae)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in (SIZES[name] for name in options.sizes):
            images = str(Path(folder) / f"{size.batch_size}.npy")
            if not Path(images).exists():
                np.save(images, draw_images(options.steps * size.batch_size))
            for processes in sorted({1, options.processes}):
                course = Course(size, processes, options.threads, options.steps, options.repeats, images)
                rows += rows_of(course, run_race(course, found))
    print(report(rows, machine, missing, options))
    if options.json:
        facts = {"machine": dataclasses.asdict(machine), "steps": options.steps, "repeats": options.repeats}
        text = json.dumps({**facts, "rows": [dataclasses.asdict(row) for row in rows]}, indent=2)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


def draw_images(count: int) -> NDArray[np.uint8]:
    """So many Tetrominoes of all kinds, uint8 `[image, channel, row, column]`."""
    factors = tetrominoes.sample_factors(0)
    chosen = np.random.default_rng(0).choice(len(factors), count, replace=False)
    images = np.zeros((count, 3, tetrominoes.SIDE, tetrominoes.SIDE), dtype=np.uint8)
    tetrominoes.render(tetrominoes.shapes_from_factors(factors[chosen], "adaptive"), images)
    return images


def report(rows: Sequence[Row], machine: Machine, missing: Sequence[Contender], options: argparse.Namespace) -> str:
    """The table and all that is needed to read it."""
    cells = [
        (
            row.size,
            str(row.processes),
            row.contender,
            number(row.time_over_products, 2),
            number(row.speed_over_eager, 2),
            number(row.speed_over_pythae, 2),
            number(row.milliseconds_per_step, 2),
            number(row.model_steps_per_second, 1),
            number(row.fraction_of_peak, 2),
            number(row.busy, 2),
        )
        for row in rows
    ]
    settings = (
        f"medians of {options.repeats} repeats of {options.steps} steps, each process with {options.threads} "
        f"{'thread' if options.threads == 1 else 'threads'}"
    )
    notes = [f"{contender.name}: not installed; to install it: {how_to_install(contender)}" for contender in missing]
    parts = [text_table(_HEAD, cells, left=3), "\n".join(notes), _LEGEND]
    parts += [f"{settings}\n{machine_line(machine)}", projection(rows)]
    return "\n\n".join(part for part in parts if part)


def projection(rows: Sequence[Row]) -> str:
    """The time of the paper's study with as many processes as were measured, were all its models of one size."""
    best: dict[str, float] = {}
    for row in rows:
        if row.contender == "rdstudy":
            best[row.size] = max(row.model_steps_per_second, best.get(row.size, 0.0))
    if not best:
        return ""
    days = {size: PAPER_MEMBERS * PAPER_STEPS / rate / 86_400 for size, rate in best.items()}
    head = f"the paper's study here, {PAPER_MEMBERS:,} models × {PAPER_STEPS:,} steps, were all of them of one size:"
    return "\n".join([head, *(f"  {size}  {count:,.0f} days" for size, count in days.items())])


def _find(names: Sequence[str], pythae: str | None) -> tuple[dict[Contender, str], list[Contender]]:
    """The contenders with their interpreters, and those that are not installed."""
    found, missing = {}, []
    for name in names:
        contender = CONTENDERS[name]
        python = pythae if name == "pythae" and pythae else interpreter(contender, sys.executable)
        if python is None:
            missing.append(contender)
        else:
            found[contender] = python
    return found, missing


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME", help=", ".join(SIZES))
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help=", ".join(CONTENDERS),
    )
    most_steps = 163_840 // 128
    parser.add_argument("--steps", type=_whole(most_steps), default=40, help="steps of a measurement")
    parser.add_argument("--repeats", type=_whole(1_000), default=7, help="measurements of each contender")
    parser.add_argument("--threads", type=_whole(1_024), default=1, help="threads of each process; a study has one")
    parser.add_argument(
        "--processes", type=_whole(1_024), default=1, help="measure this many processes at the same time too"
    )
    parser.add_argument("--pythae", metavar="PYTHON", help="interpreter that has pythae, .venv-pythae's by default")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args(arguments)


def _whole(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 1 to {most:,}")
        return int(text)

    return read


if __name__ == "__main__":
    main()
