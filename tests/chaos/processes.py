"""What runs below a process, from /proc: Linux alone."""

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path


def below(pid: int) -> list[int]:
    """Children, their children and so on."""
    parents = _parents()
    below, frontier = [], [pid]
    while frontier:
        frontier = [child for child, parent in parents.items() if parent in frontier]
        below += frontier
    return below


def training(pids: Iterable[int]) -> list[int]:
    """Those that are actors of a trial in the middle of a step: Ray writes so into their command line."""
    return [pid for pid in pids if _command(pid).startswith("ray::") and ".train" in _command(pid)]


def kill(pids: Iterable[int]) -> None:
    """SIGKILL; who is gone already is none the worse."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _parents() -> dict[int, int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parents


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""
