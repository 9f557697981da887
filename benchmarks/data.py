"""The time and memory of drawing all Tetrominoes, against the bound and the numbers to reach.

    python -m benchmarks.data [--repeats K] [--folder DIR] [--json FILE]

The bound fills as many bytes and writes them to the same folder. A repeat does all three in turn, each in a fresh
process. This module imports nothing large: on Linux a child's peak memory begins with that of its parent.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import ROOT
from benchmarks.machine import Machine, describe_machine, machine_line
from benchmarks.tables import number, text_table

ALLOWED_SECONDS, ALLOWED_BYTES = 10.0, 1.5e9
"""To draw them on two cores, and at the peak."""

WORKS = {
    "bound": "fill and write as many bytes",
    "draw": "draw and cache all images",
    "cached": "load them from the cache",
}
_HEAD = ("work", "", "time / bound", "time / allowed", "memory / allowed", "seconds", "processor s", "peak MB")


@dataclass(frozen=True)
class Row:
    """One kind of work: medians over repeats; ratios are medians of the ratios within a repeat."""

    work: str
    time_over_bound: float
    time_over_allowed: float | None  # 1 is the number to reach
    memory_over_allowed: float | None
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine()
    repeats = [_repeat(options.folder) for _ in range(options.repeats)]
    rows = [row_of(work, repeats) for work in WORKS]
    print(report(rows, machine, options.repeats))
    if options.json:
        body = {
            "machine": dataclasses.asdict(machine),
            "repeats": options.repeats,
            "rows": [dataclasses.asdict(row) for row in rows],
        }
        Path(options.json).write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def row_of(work: str, repeats: Sequence[dict[str, dict[str, float]]]) -> Row:
    """A line of the table."""
    costs = [repeat[work] for repeat in repeats]
    wall_seconds = statistics.median(cost["wall_seconds"] for cost in costs)
    peak_bytes = statistics.median(cost["peak_bytes"] for cost in costs)
    drawn = work == "draw"
    return Row(
        work=work,
        time_over_bound=statistics.median(
            repeat[work]["wall_seconds"] / repeat["bound"]["wall_seconds"] for repeat in repeats
        ),
        time_over_allowed=wall_seconds / ALLOWED_SECONDS if drawn else None,
        memory_over_allowed=peak_bytes / ALLOWED_BYTES if drawn else None,
        wall_seconds=wall_seconds,
        cpu_seconds=statistics.median(cost["cpu_seconds"] for cost in costs),
        peak_bytes=peak_bytes,
    )


def report(rows: Sequence[Row], machine: Machine, repeats: int) -> str:
    """The table and all that is needed to read it."""
    cells = [
        (
            row.work,
            WORKS[row.work],
            number(row.time_over_bound, 3),
            number(row.time_over_allowed, 2),
            number(row.memory_over_allowed, 2),
            number(row.wall_seconds, 3),
            number(row.cpu_seconds, 2),
            number(row.peak_bytes / 1e6, 0),
        )
        for row in rows
    ]
    legend = (
        f"allowed: {ALLOWED_SECONDS:.0f} s on two cores and {ALLOWED_BYTES / 1e9:.1f} GB; 1 or less is reached\n"
        "processor s: of all threads; well below two a second where somebody else had the cores\n"
        "peak MB: resident memory of the process, the mapped file's pages among them"
    )
    facts = f"medians of {repeats} repeats, each in a fresh process\n{machine_line(machine)}"
    return "\n\n".join([text_table(_HEAD, cells, left=2), legend, facts])


def _repeat(folder: str | None) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        bound_file = Path(cache) / "bound"
        costs = {"bound": _run(cache, "bound", str(bound_file))}
        bound_file.unlink()
        return {**costs, "draw": _run(cache, "load"), "cached": _run(cache, "load")}


def _run(cache: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.data_process", *arguments]
    environment = {**os.environ, "RDSTUDY_CACHE": cache}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return {name: float(value) for name, value in json.loads(done.stdout).items()}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data", description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3, choices=range(1, 101), metavar="K")
    parser.add_argument("--folder", metavar="DIR", help="where the cache is made and removed; the temporary folder")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
