"""What a study of 100,000 members takes before anything is trained: its plan, its queue, and a look at its store.

    python -m benchmarks.scale [--members 100000] [--without-store]

The study is that of `benchmarks.reads`, in cells of 60. Each measurement is a process of its own; memory is its peak.
The plan is that of the command `--plan`, with nothing stored, in packs of 60 on GPUs and one by one on CPU cores. The
queue is what holds the packs until Tune takes them; its memory is what Python allocates for it beside the packs and
while half of them are taken. The store has a file a pack of 60 in each table, on this machine's disk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reads import write_store, write_study

_PACKED = ("--set", "resources.gpus=1", "--set", "resources.gpu_memory_gib=80", "--set", "resources.pack_size=60")
_PLAN = ("-m", "rdstudy.run", "study.py", "--plan", "--out")
_QUEUE = """
import sys, tracemalloc
from rdstudy.planning.plan import make_plan
from rdstudy.running.failures import Failures
from rdstudy.running.tune.queue import PackQueue
from rdstudy.study.studyfile import load_study

study = load_study("study.py")
plan = make_plan(study, {})
tracemalloc.start()
queue = PackQueue(
    plan.packs, placements=plan.placements, resources=study.resources, most_cpus=lambda: 1, failures=Failures()
)
made = tracemalloc.get_traced_memory()[0]
for number in range(len(plan.packs) // 2):
    queue.suggest(str(number))
    queue.on_trial_complete(str(number))
print(f"queue of {len(plan.packs):,}: {made / 1e6:.1f} MB, at most {tracemalloc.get_traced_memory()[1] / 1e6:.1f} MB")
"""
_SNAPSHOT = """
import time
from rdstudy.results.store import Store

started = time.perf_counter()
snapshot = Store.open("results").snapshot()
read = time.perf_counter()
members = len(snapshot.outcomes())
rows = sum(len(snapshot.table(name)) for name in snapshot.parts)
print(f"read {read - started:.1f} s, resolved {time.perf_counter() - read:.1f} s: {members:,} members, {rows:,} rows")
"""


@dataclass(frozen=True)
class Taken:
    """What a process took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    text: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--members", type=int, default=100_000, help="(default: 100,000)")
    parser.add_argument("--without-store", action="store_true", help="leave out what takes a store of as many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_study(Path(folder), options.members)
        _measure("--plan, packs of 60", folder, *_PLAN, "none", *_PACKED)
        _measure("--plan, one by one", folder, *_PLAN, "none")
        print(_measure("queue, one by one", folder, "-c", _QUEUE).text, flush=True)
        if not options.without_store:
            write_store(Path(folder), "results", options.members, 60)
            print(_measure("snapshot", folder, "-c", _SNAPSHOT).text, flush=True)
            _measure("--plan, all stored", folder, *_PLAN, "results", *_PACKED)


def _measure(name: str, folder: str, *command: str) -> Taken:
    taken = _take(folder, command)
    print(
        f"{name:20} {taken.wall_seconds:6.1f} s wall, {taken.cpu_seconds:6.1f} s CPU, {taken.peak_bytes / 1e9:.2f} GB",
        flush=True,
    )
    return taken


def _take(folder: str, command: tuple[str, ...]) -> Taken:
    """Run Python with a command; it ends well."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    text = process.stdout.read().strip()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0, text
    return Taken(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


if __name__ == "__main__":
    main()
