"""All there is to learn on a GPU machine, within a time that is given: tables in a folder to take home.

    python -m benchmarks.gpu --minutes 14 --out taken [--sections NAME ...] [--store FOLDER] [--smoke]

For a machine without network, Ray or Altair: NumPy, PyArrow, filelock and PyTorch are enough; JAX is raced where it is
there. Each section is a process of its own with its share of the time that is left: one that fails, or is ended because
its time is over, says so and the next begins. Tables are there from the first line on, as CSV and Markdown, with what
was printed beside them; `summary.md` says how each section ended. Exit status: 0 all sections, 1 some failed.

`figure-3` goes on where it ended: with the store of this machine, else with the tables of an earlier time in the
folder. `--smoke` is all of it, tiny, on any machine.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import DEVICES, ROOT
from benchmarks.options import whole
from benchmarks.tables import write_table

SECTIONS: Mapping[str, float] = {
    "ceilings": 1,
    "bounds": 0.3,
    "equality": 1.5,
    "ladder": 3,
    "memory": 0.7,
    "precision": 2,
    "training": 4,
    "figure-3": 8,
}
"""By name, in this order, see `benchmarks.gpu_sections`; the share that each has of the time, beside those after it."""

FAILED, OVER = "failed", "ended: its time was over"
_GRACE_SECONDS = 5.0  # between being told to end and being ended


@dataclass(frozen=True)
class Ending:
    """How a section ended."""

    section: str
    outcome: str  # ok, FAILED or OVER
    seconds: float
    allowed_seconds: float


Run = Callable[[str, float], str]
"""Runs a section within so many seconds and gives its outcome."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    endings: list[Ending] = []
    for ending in run_sections(options.sections, end, lambda name, seconds: _run(name, seconds, options)):
        endings.append(ending)
        print(f"{ending.section}: {ending.outcome}, {ending.seconds:.0f} of {ending.allowed_seconds:.0f} s", flush=True)
        _write_summary(folder, endings)
    return int(any(ending.outcome != "ok" for ending in endings))


def run_sections(names: Sequence[str], end: float, run: Run) -> Iterator[Ending]:
    """Run sections one after the other, each within its share of what is left until `end`, a time of the clock."""
    for at, name in enumerate(names):
        weights = [SECTIONS[later] for later in names[at:]]
        started = time.monotonic()
        allowed = max(0.0, end - started) * weights[0] / sum(weights)
        outcome = run(name, allowed)
        yield Ending(name, outcome, time.monotonic() - started, allowed)


def _run(name: str, seconds: float, options: argparse.Namespace) -> str:
    """A section in a process of its own: a fault of a GPU ends the process that made it."""
    command = [sys.executable, "-m", "benchmarks.gpu_sections", name, "--out", options.out, "--store", options.store]
    command += ["--seconds", f"{seconds:.0f}", "--device", options.device] + (["--smoke"] if options.smoke else [])
    with (Path(options.out) / f"{name}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            return "ok" if process.wait(timeout=seconds) == 0 else FAILED
        except subprocess.TimeoutExpired:
            return OVER
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a section and all processes that it started."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_GRACE_SECONDS)


def _write_summary(folder: Path, endings: Sequence[Ending]) -> None:
    rows = [(e.section, e.outcome, round(e.seconds), round(e.allowed_seconds), f"{e.section}.log") for e in endings]
    write_table(folder, "summary", ("section", "outcome", "seconds", "allowed", "printed"), rows)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=whole(100_000), default=14, help="for all of it")
    parser.add_argument("--out", default="gpu-tables", metavar="FOLDER", help="where tables go")
    parser.add_argument(
        "--sections",
        nargs="+",
        choices=SECTIONS,
        default=list(SECTIONS),
        metavar="NAME",
        help=f"only these, in this order: {', '.join(SECTIONS)}",
    )
    parser.add_argument(
        "--store", default="/tmp/rdstudy-figure-3", metavar="FOLDER", help="results of figure-3, with checkpoints"
    )
    parser.add_argument("--device", choices=DEVICES, default="cuda", help="a GPU, unless --smoke is given")
    parser.add_argument("--smoke", action="store_true", help="tiny, on a CPU: does it run")
    options = parser.parse_args(arguments)
    options.device = "cpu" if options.smoke else options.device
    options.out, options.store = (str(Path(given).resolve()) for given in (options.out, options.store))
    return options


if __name__ == "__main__":
    sys.exit(main())
