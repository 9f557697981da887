"""Commands under test: started, disturbed, waited for, and held to what they may say."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.chaos.processes import below, kill
from tests.chaos.zygote import Zygote

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "tests/chaos/small.py"
OK, SOME_NOT_OK, REFUSED, INTERRUPTED = 0, 1, 2, 130
SECRET = "CHAOSSECRET"
_PLANNED = "training steps"  # the last words of a plan: work begins

_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|^Fatal Python error|panicked at", re.MULTILINE)
_OUR_FRAME = re.compile(r'File ".*rdstudy/[^"]*", line \d+, in (?!<module>)')

_BESIDE = re.compile(r"WARNING: |used: |\d+/\d+ models, ")
"""How lines begin that may stand beside the one that refuses: of what was mended, and of how far training had come."""


class Run:
    """One `python -m rdstudy.run`, in a folder, its output in files there; forked where a zygote is given."""

    def __init__(
        self, folder: Path, options: Sequence[str], environment: Mapping[str, str], zygote: Zygote | None = None
    ) -> None:
        self._out, self._err = (folder / f"{time.monotonic_ns()}.{name}" for name in ("stdout", "stderr"))
        self.command = ["python", "-m", "rdstudy.run", str(STUDY), *options]
        self._process = (
            self._start(folder, environment)
            if zygote is None
            else zygote.start(self.command[3:], folder=folder, out=self._out, err=self._err, environment=environment)
        )
        self.pid = self._process.pid
        self.signals: list[int] = []
        self._at_work = True  # whenever a signal was sent

    def _start(self, folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with self._out.open("wb") as stdout, self._err.open("wb") as stderr:
            return subprocess.Popen(
                [sys.executable, *self.command[1:]],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def stdout(self) -> str:
        """All that it printed so far."""
        return _text(self._out)

    def stderr(self) -> str:
        """The same of standard error."""
        return _text(self._err)

    def send(self, number: int) -> None:
        """A signal, unless it has ended."""
        if self.status is None:
            self.signals.append(number)
            self._at_work &= self.phase() == "at work"
            self._process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether it ends within so many seconds."""
        try:
            self._process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        return True

    def wait_for(self, words: str, seconds: float) -> bool:
        """Whether it prints these words within so many seconds, and before its end."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.status is None:
            if words in self.stdout() + self.stderr():
                return True
            time.sleep(0.02)
        return False

    def destroy(self) -> None:
        """SIGKILL to it and to all that it started, such as a Ray of its own."""
        kill([*below(self.pid), *([self.pid] if self.status is None else [])])
        self._process.wait()

    def phase(self) -> str:
        """How far it is, by its own words."""
        said = self.stdout()
        if not said:
            return "at its start"
        if "report: " in said:
            return "at its end"
        if "\nused: " in said or "nothing to do" in said:
            return "writing its page"
        return "at work" if _PLANNED in said else "planning"

    def offences(self, allowed: Sequence[int]) -> list[str]:
        """What is wrong with how it ended and what it said."""
        both = self.stdout() + self.stderr()
        wrong = []
        if _TRACEBACK.search(both) and not self._was_interrupted_before_it_began():
            wrong.append(f"traceback: {_last_line(both)}")
        if SECRET in both:
            wrong.append("the password is printed")
        if self.status not in (*allowed, *self._ended_by_signals()):
            last = " / ".join((self.stdout().splitlines() + self.stderr().splitlines())[-4:])
            wrong.append(f"status {self.status}, allowed {sorted({*allowed, *self._ended_by_signals()})}: {last[:600]}")
        said = [line for line in self.stderr().splitlines() if not _BESIDE.match(line)]
        if self.status == REFUSED and not (len(said) == 1 and said[0].startswith("error: ")):
            wrong.append(f"status 2 and {len(said)} lines: {self.stderr()[-300:]}")
        return wrong

    def _ended_by_signals(self) -> list[int]:
        """Exit statuses that the signals it was sent explain."""
        statuses = {
            signal.SIGKILL: [-signal.SIGKILL],
            signal.SIGHUP: [-signal.SIGHUP, INTERRUPTED],
            signal.SIGINT: [INTERRUPTED, -signal.SIGINT],
            signal.SIGTERM: [INTERRUPTED] if self._at_work else [INTERRUPTED, -signal.SIGTERM],
        }
        return [status for number in self.signals for status in statuses.get(signal.Signals(number), [])]

    def _was_interrupted_before_it_began(self) -> bool:
        """While Python itself and the command's own imports were read: nobody can catch Ctrl-C there."""
        said = self.stderr()
        return signal.SIGINT in self.signals and "KeyboardInterrupt" in said and not _OUR_FRAME.search(said)


def _text(path: Path) -> str:
    """Nothing yet, where the command has only just been asked for."""
    return path.read_text(errors="replace") if path.exists() else ""


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    frames = re.findall(r'File ".*?(rdstudy/[^"]*)", line \d+, in (\w+)', text)
    return f"{(lines or text.splitlines())[-1][:200]} [{':'.join(frames[-1]) if frames else 'no frame of ours'}]"
