"""What a scenario works with: a folder of its own, commands, random moments, undisturbed runs to compare with."""

import random
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.compare import leftovers, table_differences
from tests.chaos.runs import OK, Run
from tests.chaos.tally import Tally
from tests.chaos.zygote import Zygote

_PATIENCE = 20.0  # times the duration of an undisturbed run, until a run that does not end is a fault
_LEAST_PATIENCE_SECONDS = 120.0
_FORKED = 0.8  # share of commands that need not import anything: the others are hit while they do


Step = tuple[str, Sequence[str]]
"""A study, and the options with which it is run."""


@dataclass(frozen=True)
class Undisturbed:
    """What a run that nothing happens to leaves, and how long it takes: the longest, of several.

    Attributes:
        out: the results folder.
        seconds: from the start of the process to its end.
        seconds_before_page: to the moment at which its page is begun.
    """

    out: Path
    seconds: float
    seconds_before_page: float


class References:
    """Undisturbed runs, each made once, by whoever needs it first."""

    def __init__(self, folder: Path, environment: Mapping[str, str], zygote: Zygote) -> None:
        self._folder, self._environment, self._zygote = folder, environment, zygote
        self._locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self._made: dict[str, Undisturbed] = {}

    def of(self, *steps: Step) -> Undisturbed:
        """These commands, one after the other, on one results folder."""
        key = "-".join("".join(filter(str.isalnum, study + " ".join(options))) for study, options in steps)
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                folder = self._folder / key
                folder.mkdir(parents=True)
                times = [self._run(folder, study, options) for study, options in steps]
                self._made[key] = Undisturbed(folder / "out", *map(max, zip(*times, strict=True)))
            return self._made[key]

    def _run(self, folder: Path, study: str, options: Sequence[str]) -> tuple[float, float]:
        """The seconds of `Undisturbed`."""
        started = time.monotonic()
        run = Run(
            folder,
            ["--local", "--out", str(folder / "out"), *options],
            {**self._environment, "CHAOS_STUDY": study},
            self._zygote,
        )
        run.wait_for("\nused: ", 10 * _LEAST_PATIENCE_SECONDS)
        before_page = time.monotonic() - started
        run.wait(10 * _LEAST_PATIENCE_SECONDS)
        if run.status != OK:
            raise RuntimeError(f"the undisturbed run ended with {run.status}:\n{run.stdout()}{run.stderr()}")
        return time.monotonic() - started, before_page


@dataclass(frozen=True)
class Setting:
    """What all rounds share.

    Attributes:
        folder: where rounds have their folders.
        references: undisturbed runs.
        environment: of all commands.
        zygote: which forks most commands.
        bucket: HOST:PORT of a server that speaks S3.
        deadline: when no more faults are to come, as `time.monotonic` has it.
    """

    folder: Path
    references: References
    environment: Mapping[str, str]
    zygote: Zygote
    bucket: str
    deadline: float


class World:
    """One round of a scenario."""

    def __init__(self, name: str, number: int, setting: Setting, *, tally: Tally, draw: random.Random) -> None:
        self.name, self.tally, self.draw = name, tally, draw
        self._setting = setting
        self.folder = setting.folder / f"{name}-{number}"
        self.out = self.folder / "out"
        self.environment, self.bucket = dict(setting.environment), setting.bucket
        self.seconds = 10.0  # of an undisturbed run: `reference` measures it
        self._runs: list[Run] = []
        self._wrong_before = len(tally.wrong)
        self.folder.mkdir(parents=True)

    def reference(self, *steps: Step, page: bool = False) -> Path:
        """Results to compare with, of the study `base` unless others are named; moments are those of such a run."""
        undisturbed = self._setting.references.of(*(steps or (("base", ()),)))
        self.seconds = undisturbed.seconds if page else undisturbed.seconds_before_page
        return undisturbed.out

    def time_is_over(self) -> bool:
        """Whether no more faults are to come."""
        return time.monotonic() > self._setting.deadline

    def start(self, *options: str, study: str = "base", out: str | Path | None = None, local: bool = True) -> Run:
        """The command, on this round's results folder unless another is named."""
        words = ["--local"] if local else []
        environment = {**self.environment, "CHAOS_STUDY": study}
        forked = local and self.draw.random() < _FORKED
        zygote = self._setting.zygote if forked else None  # Ray looks at the command line of its driver
        run = Run(self.folder, [*words, "--out", str(out or self.out), *options], environment, zygote)
        self._runs.append(run)
        return run

    def end(self, run: Run, *allowed: int) -> int | None:
        """Wait for the end of a run, and hold it against the statuses that it may have: 0, if none is named."""
        if not run.wait(max(_LEAST_PATIENCE_SECONDS, _PATIENCE * self.seconds)):
            self.wrong(f"no end: {' '.join(run.command)}\n{run.stdout()[-1_000:]}{run.stderr()[-1_000:]}")
            run.destroy()
        for offence in run.offences(allowed or (OK,)):
            self.tally.tracebacks += offence.startswith("traceback")
            self.wrong(offence)
        return run.status

    def finish(self, *options: str, study: str = "base", out: str | Path | None = None, local: bool = True) -> Run:
        """The command once more, undisturbed: it ends well."""
        run = self.start(*options, study=study, out=out, local=local)
        self.end(run)
        return run

    def disturb(self, run: Run, kinds: Sequence[str], *, moment: float | None = None) -> bool:
        """One fault at a random moment; False where the run ended before."""
        if run.wait(self.moment() if moment is None else moment):
            return False
        kind = self.draw.choice(kinds)
        phase = run.phase()
        FAULTS[kind](run, self.draw)
        self.count(f"{kind}, {phase}")
        return True

    def disturb_until_done(
        self, kinds: Sequence[str], *options: str, study: str = "base", local: bool = True, most: int = 8
    ) -> None:
        """The same command, with a fault each time, until it has ended well, time is over, or enough faults came."""
        for number in range(most):
            if number and self.time_is_over():
                break
            run = self.start(*options, study=study, local=local)
            hit = self.disturb(run, kinds)
            status = self.end(run, *((OK,) if hit else ()))
            if status == OK:
                return

    def moment(self) -> float:
        """Seconds from a start: uniform over an undisturbed run, and one in four in its last third."""
        return self.seconds * (self.draw.uniform(0.66, 1) if self.draw.random() < 0.25 else self.draw.random())

    def compare(self, reference: Path, out: str | Path | None = None) -> None:
        """Hold the results against undisturbed ones."""
        self.tally.rounds += 1
        try:
            differences = table_differences(out or self.out, reference)
        except Exception as error:
            self.wrong(f"the results cannot be read: {type(error).__name__}: {error}")
            return
        self.tally.add_differences(differences)
        for difference in differences:
            self.wrong(str(difference))
        left = leftovers(self.out) if out is None else ()
        if left:
            self.wrong(f"left over: {', '.join(left[:3])}")

    def count(self, fault: str) -> None:
        """A fault came."""
        self.tally.faults[fault] += 1
        print(f"{self.name}: {fault}", flush=True)

    def damaged(self, what: str) -> None:
        """A file was damaged."""
        self.tally.damages += 1
        print(f"{self.name}: {what}", flush=True)

    def wrong(self, what: str) -> None:
        """Something is not as it should be."""
        self.tally.wrong.append(self._told(what))
        print(f"WRONG {self._told(what)}", flush=True)

    def close(self) -> None:
        """End what still runs, and remove the folder unless something was wrong in it."""
        for run in self._runs:
            run.destroy()
        if len(self.tally.wrong) == self._wrong_before:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _told(self, what: str) -> str:
        return f"{self.name}, {self.folder.name}: {what}"


def _twice(run: Run, draw: random.Random) -> None:
    run.send(signal.SIGINT)
    time.sleep(draw.uniform(0, 0.5))
    run.send(signal.SIGINT)


def _frozen(run: Run, draw: random.Random) -> None:
    run.send(signal.SIGSTOP)
    time.sleep(draw.uniform(0.1, 2))
    run.send(signal.SIGCONT)


FAULTS: Mapping[str, Callable[[Run, random.Random], object]] = {
    "SIGKILL": lambda run, _: run.send(signal.SIGKILL),
    "SIGTERM": lambda run, _: run.send(signal.SIGTERM),
    "SIGINT": lambda run, _: run.send(signal.SIGINT),
    "SIGINT twice": _twice,
    "SIGHUP": lambda run, _: run.send(signal.SIGHUP),
    "SIGSTOP": _frozen,
}
ANY_FAULT = ("SIGKILL",) * 6 + ("SIGTERM", "SIGINT", "SIGINT twice", "SIGHUP", "SIGSTOP")
