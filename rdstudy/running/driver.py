"""Trains what remains of a plan, here or as trials on Ray, until every member has a row or something ends it before."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rdstudy.planning.packs import Pack, TrialPack
from rdstudy.planning.plan import Plan
from rdstudy.results.presence import Presence
from rdstudy.results.store import FolderGoneError, Store
from rdstudy.running.executor import Executor, Usage, Work
from rdstudy.running.failures import Failure, Failures, Remedy
from rdstudy.running.log import RunLog
from rdstudy.running.own_parts import sources_of
from rdstudy.running.progress import PackProgress, ProgressLine
from rdstudy.running.usage import TotalUsage, limit_reached
from rdstudy.study import Study
from rdstudy.study.checks import fail
from rdstudy.study.words import one_line_with_type


@dataclass(frozen=True)
class Limits:
    """Where a run stops although something remains; None for no limit."""

    hours: float | None = None
    cost: float | None = None  # USD


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    interrupted: str | None = None  # why the user, or a limit of theirs, ended it early
    failed: str | None = None  # why it ended itself: too many equal failures in a row
    example: str | None = None  # id of a member that shows that
    joined: bool = False  # whether the cluster that it ran on is still up


def train(
    plan: Plan,
    store: Store,
    *,
    local: bool,
    address: str | None,
    limits: Limits,
    log: RunLog,
    presence: Presence,
    debugger: bool = False,
) -> Ended:
    """Train what remains.

    Args:
        plan: says what that is.
        store: where rows go.
        local: whether it is done in this process.
        address: of the Ray to join, else.
        limits: where to stop in order.
        log: told of what is said.
        presence: of this run in the store.
        debugger: whether a debugger opens at the first exception of a local run, which ends with it.

    Raises:
        ValueError: a cluster that cannot be used as the study asks.
        OSError: the store failed.
        KeyboardInterrupt: Ctrl-C for the second time.
    """
    with Interrupt() as interrupt:
        run = _Run(plan, store, limits, log, interrupt=interrupt, presence=presence)
        presence.doing = run.doing
        work = Work(
            packs=plan.packs,
            study=plan.study.name,
            store=store,
            resources=plan.study.resources,
            measures=plan.study.measures,
            placements=plan.placements,
            callbacks=() if local else _callbacks(plan.study),  # a tracker that is not there costs no cluster
            failures=run.failures,
            sources=sources_of(plan.study, (member for pack in plan.packs for member in pack.members)),
        )
        joined = False
        try:
            joined = _executor(local=local, address=address, debugger=debugger).run(work, run)
        except SystemExit as ended:  # by Ray's own handler, which has SIGTERM while Ray starts
            if ended.code != signal.SIGTERM:
                raise
            interrupt.ask()
        run.close()
        return run.ended(joined=joined)


def _executor(*, local: bool, address: str | None, debugger: bool) -> Executor:
    """This process, or Ray; the libraries of the other are not imported."""
    if local:
        from rdstudy.running.local import LocalExecutor

        return LocalExecutor(debugger=debugger)
    from rdstudy.running.tune.executor import TuneExecutor

    return TuneExecutor(address)


class _Run:
    """One run: what is known of it, and when it is to stop. Observes its executor."""

    def __init__(
        self, plan: Plan, store: Store, limits: Limits, log: RunLog, *, interrupt: "Interrupt", presence: Presence
    ) -> None:
        self._plan, self._store, self._limits, self._interrupt = plan, store, limits, interrupt
        self._presence = presence
        self._line = ProgressLine(plan.packs, log=log.add)
        self.failures, self._total = Failures(), TotalUsage()
        self._resources = plan.study.resources
        self._given_up: set[str] = set()
        self._shown: set[str] = set()  # reasons whose traceback was said
        self._tracebacks: dict[str, str] = {}  # pack id -> of its latest failure
        self._started = self._looked = time.monotonic()
        self._limit: str | None = None

    def should_stop(self) -> bool:
        """Whether nothing more is to be started, and what is at work is to save and end."""
        self._limit = self._limit or limit_reached(
            self._total,
            max_hours=self._limits.hours,
            max_cost=self._limits.cost,
            price=self._resources.price,
            elapsed=time.monotonic() - self._started,
        )
        return bool(self._interrupt.asked() or self._limit or self.failures.stop or self._presence.problem)

    def close(self) -> None:
        """Write the last line."""
        self._line.close()
        hours, busy = self._total.device_hours, self._total.utilization
        if busy is not None:
            parts = (f"{hours:.2g} {_kind(self._resources.gpus)}-hours", f"{busy:.0%} at work", self._cost())
            self._line.say(f"used: {', '.join(part for part in parts if part)}")

    def ended(self, *, joined: bool) -> Ended:
        """How it ended: well, too, where it was to end early when nothing remained.

        Raises:
            FolderGoneError: the results folder went while it was at work.
        """
        problem = self._presence.problem
        if isinstance(problem, FolderGoneError):
            raise problem
        early = "interrupted" if self._interrupt.asked() else self._limit or problem
        ids = (pack.pack_id for pack in self._plan.packs if pack.pack_id not in self._given_up)
        interrupted = None if all(map(self._line.is_done, ids)) else early
        example = self.failures.example
        members = {pack.pack_id: pack.members[0].member_id for pack in self._plan.packs}
        return Ended(interrupted, self.failures.stop, members[example] if example else None, joined)

    def doing(self) -> str:
        """What is in training, for `rdstudy.running.board`."""
        return json.dumps(Counter(member.cell_id for member in self._line.at_work()))

    def begins(self) -> None:
        """Listen to signals again: the executor may have taken them."""
        self._interrupt.arm()

    def progressed(self, pack_id: str, host: str, progress: PackProgress) -> None:
        """Take note of how far a pack has come."""
        before = self._line.update(pack_id, progress)
        self.failures.progressed(pack_id, share=progress.share, host=host)
        if progress.members_done - progress.members_not_ok > before.members_done - before.members_not_ok:
            self.failures.stored(host)

    def failed(self, failure: Failure, remedy: Remedy) -> None:
        """Say why a pack came to no end, and once where in the code that was."""
        self.say(f"pack {failure.pack_id} on {failure.host}: {failure.cause.value} ({failure.reason}); {remedy.value}")
        self._line.ended(failure.pack_id)
        self._tracebacks[failure.pack_id] = failure.traceback
        if failure.traceback and failure.reason not in self._shown:
            self._shown.add(failure.reason)
            self.say(failure.traceback.rstrip())

    def gave_up(self, pack: TrialPack, reason: str) -> None:
        """Store a row for every member of a pack that the store lacks."""
        import torch

        from rdstudy.running.worker import store_failed

        self._given_up.add(pack.pack_id)
        stored = self._store.rows.outcomes()
        lost = tuple(member for member in pack.members if member.member_id not in stored)
        if lost:
            where = self._tracebacks.get(pack.pack_id, "")
            store_failed(self._store, Pack(lost), reason, traceback=where, device=torch.device("cpu"))

    def used(self, usage: Usage) -> None:
        """Take note of what is up and at work, since the last look."""
        now = time.monotonic()
        self._total.add(seconds=now - self._looked, devices=usage.devices, busy=min(usage.busy, usage.devices))
        self._looked = now
        share = self._total.utilization
        at_work = "" if share is None else f"{share:.0%} at work"
        parts = (f"{usage.devices:g} {_kind(self._resources.gpus)}s", at_work, self._cost())
        self._line.usage = tuple(part for part in parts if part)
        self._line.tick()

    def say(self, text: str) -> None:
        """Say a line, above the one that says how far the run is."""
        self._line.say(text)

    def _cost(self) -> str:
        price = self._resources.price
        return "" if price is None else f"${self._total.cost(price):.2f}"


def _callbacks(study: Study) -> Sequence[Any]:
    """What the study's own function returns.

    Raises:
        ValueError: it raised an exception, or returned no list.
    """
    if study.callbacks is None:
        return ()
    where, allowed = f"study {study.name!r}: callbacks()", "a function that returns a list of Tune's callbacks"
    try:
        callbacks = study.callbacks()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit, too, would end the command without a word
        raise ValueError(f"{where} raised {one_line_with_type(error)}; allowed: {allowed}") from None
    if not isinstance(callbacks, list | tuple):
        raise fail(where, callbacks, allowed)
    return callbacks


def _kind(gpus: float | str) -> str:
    return "GPU" if gpus else "CPU core"


def _closing_terminal() -> tuple[signal.Signals, ...]:
    """SIGHUP, where the system has it and nobody ignores it."""
    hangup = getattr(signal, "SIGHUP", None)
    return () if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN else (hangup,)


class Interrupt:
    """The first Ctrl-C, SIGTERM, or SIGHUP of a terminal that closes, asks for an orderly end; the second ends at once.

    `nohup`, which ignores SIGHUP, goes on. In a thread that is not the main one no signal arrives: there, they are left
    to whoever started it.
    """

    def __enter__(self) -> "Interrupt":
        self._asked = False
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM, *_closing_terminal()) if in_main else ()
        self._before = {number: signal.getsignal(number) for number in numbers}
        self.arm()
        return self

    def arm(self) -> None:
        """Listen to the signals; again, after a library has taken one of them for itself."""
        for number in self._before:
            signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: a handler in C

    def _ask(self, number: int, *_: object) -> None:
        if self._asked and number in _closing_terminal():  # it comes from the shell and from the system
            return
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        line = "\nstopping: saving checkpoints; Ctrl-C again to stop at once\n"
        try:
            os.write(sys.stderr.fileno(), line.encode())  # past the buffer, which may be at work
        except (OSError, ValueError, AttributeError):  # no file behind it, or closed: a notebook
            with contextlib.suppress(OSError, ValueError, AttributeError):
                sys.stderr.write(line)

    def ask(self) -> None:
        """Ask for an orderly end."""
        self._asked = True

    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked
