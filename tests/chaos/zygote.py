"""A process that has everything imported and forks commands: each as good as a process of its own, seconds earlier.

`Zygote.start` returns what `subprocess.Popen` would. The commands are children of a waiter each, which writes down how
they ended; the zygote itself only forks, in one thread.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tests.fuzz.forks import ROOT, run_command, warm_up

_PAUSE_SECONDS = 0.01


class Forked:
    """A command that was forked: the part of `subprocess.Popen` that runs need."""

    def __init__(self, pid: int, ended: Path) -> None:
        self.pid, self._ended = pid, ended

    def poll(self) -> int | None:
        """Its exit status, or None."""
        return int(self._ended.read_text()) if self._ended.exists() else None

    def wait(self, timeout: float | None = None) -> int:
        """The same, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not, in so many seconds.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("a command", timeout or 0.0)
            time.sleep(_PAUSE_SECONDS)
        return status

    def send_signal(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Zygote:
    """The process, ready when the first command is asked for."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.PIPE,
            text=True,
        )

    def start(
        self, arguments: Sequence[str], *, folder: Path, out: Path, err: Path, environment: Mapping[str, str]
    ) -> Forked:
        """`python -m rdstudy.run <arguments>` in a folder."""
        begun, ended = (out.with_suffix(f".{name}") for name in ("pid", "status"))
        order = [[*arguments], *map(str, (folder, out, err, begun, ended)), {**os.environ, **environment}]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        while not begun.exists():
            if self._process.poll() is not None:
                raise RuntimeError("the process that forks commands has ended")
            time.sleep(_PAUSE_SECONDS)
        return Forked(int(begun.read_text()), ended)

    def close(self) -> None:
        """No more commands."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def _serve() -> None:
    warm_up()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the waiters
    for line in sys.stdin:
        order = json.loads(line)
        if os.fork() == 0:
            _wait_for_command(order)


def _wait_for_command(order: list[Any]) -> NoReturn:
    arguments, folder, out, err, begun, ended, environment = order
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.environ.clear()
            os.environ.update(environment)
            status = run_command("run", arguments, Path(folder), Path(out), Path(err))
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    _write(Path(begun), pid)
    _, how = os.waitpid(pid, 0)
    _write(Path(ended), os.waitstatus_to_exitcode(how))
    os._exit(0)


def _write(path: Path, number: int) -> None:
    """Whole or not at all; nothing where the folder is gone by now."""
    with contextlib.suppress(OSError):
        temporary = path.with_suffix(".new")
        temporary.write_text(str(number))
        temporary.rename(path)


if __name__ == "__main__":
    _serve()
