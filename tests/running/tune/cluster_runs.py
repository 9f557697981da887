"""A small study run through Ray in processes of their own, and ways to disturb it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from rdstudy.run import main

ROOT = Path(__file__).resolve().parents[3]
LOCAL_RAY = {  # the same on every machine, and beside whatever runs there; one process of trials: each is dear to start
    "RAY_OVERRIDE_RESOURCES": '{"CPU": 1}',
    "RAY_worker_niceness": "0",  # else another process starves Ray's
}
TWO_CPUS = {"RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
ENVIRONMENT = {**os.environ, **LOCAL_RAY, "PYTHONPATH": str(ROOT)}

SLOW = """
import time

import ray


def slow():
    return step


def step(number, steps):
    time.sleep(0.01 * ray.is_initialized())
    return 1.0
"""


def slow_down(study: Path) -> None:
    """On Ray, let a step take as long as that of a large network, which this machine does not have to compute."""
    study.with_name("slow.py").write_text(SLOW)
    text = study.read_text().replace("import Evaluation", "import part, Evaluation")
    study.write_text(text.replace("Recipe(", 'Recipe(schedule=part("slow.py:slow"), '))


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "rdstudy.run", "tiny.py", "--no-report", *options]


def run(*options: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options), env={**ENVIRONMENT, **(environment or {})}, capture_output=True, text=True, check=False
    )


def run_here(*options: str) -> int:
    """The exit status of the same in this process, which has PyTorch: for what uses no Ray."""
    return main(["tiny.py", "--no-report", *options])


def start(*options: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*options),
        env={**ENVIRONMENT, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """End a process that a failed test left."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def descendants(pid: int) -> list[int]:
    """Processes below `pid`: raylets start workers, so children of children count."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    below, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        below += frontier
    return below


def is_training(pid: int) -> bool:
    """Whether a process is an actor of a trial that takes a step: Ray writes so into its command line."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
    return line.startswith("ray::") and ".train" in line
