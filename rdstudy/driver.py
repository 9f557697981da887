"""Trains what remains of a plan, here or as trials on Ray, until every member has a row or something ends it before."""

import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdstudy.checks import fail, one_line_with_type
from rdstudy.failures import Cause, Failure, Failures, Remedy, UnitError
from rdstudy.meter import Meter, limit_reached
from rdstudy.packs import Pack
from rdstudy.plan import Plan
from rdstudy.progress import PackProgress, ProgressLine
from rdstudy.results.store import Store
from rdstudy.runlog import RunLog
from rdstudy.study import Study

if TYPE_CHECKING:
    import torch

    from rdstudy.cluster import Usage

_ROUNDS = 3  # of trials, before members without a row are reported as such


@dataclass(frozen=True)
class Limits:
    """Where a run stops although something remains; None for no limit."""

    hours: float | None = None
    cost: float | None = None  # USD


@dataclass(frozen=True)
class Ended:
    """How a run ended.

    Attributes:
        interrupted: why the user, or a limit of theirs, ended it early.
        failed: why it ended itself: too many equal failures in a row.
        example: id of a member that shows that.
        joined: whether the cluster that it ran on is still up.
    """

    interrupted: str | None = None
    failed: str | None = None
    example: str | None = None
    joined: bool = False


def train(plan: Plan, store: Store, *, local: bool, address: str | None, limits: Limits, log: RunLog) -> Ended:
    """Train what remains.

    Raises:
        ValueError: a cluster that cannot be used as the study asks.
        OSError: the store failed.
        KeyboardInterrupt: Ctrl-C for the second time.
    """
    with Interrupt() as interrupt:
        run = _Run(plan, store, limits, log, interrupt)
        joined = False
        if local:
            run.train_here()
        else:
            joined = run.train_on_ray(address)
        run.close()
        return run.ended(joined=joined)


class _Run:
    """One run: what is known of it, and when it is to stop."""

    def __init__(self, plan: Plan, store: Store, limits: Limits, log: RunLog, interrupt: "Interrupt") -> None:
        self._plan, self._store, self._limits, self._interrupt = plan, store, limits, interrupt
        self._line = ProgressLine(plan.packs, log=log.add)
        self._failures, self._meter = Failures(), Meter()
        self._resources = plan.study.resources
        self._given_up: set[str] = set()
        self._started = self._looked = time.monotonic()
        self._limit: str | None = None

    def should_stop(self) -> bool:
        """Whether nothing more is to be started, and what is at work is to save and end."""
        self._limit = self._limit or limit_reached(
            self._meter,
            max_hours=self._limits.hours,
            max_cost=self._limits.cost,
            price=self._resources.price,
            elapsed=time.monotonic() - self._started,
        )
        return bool(self._interrupt.asked() or self._limit or self._failures.stop)

    def train_here(self) -> None:
        """One pack after the other, in this process."""
        from rdstudy.worker import find_device

        device = find_device(self._resources.gpus)
        for pack in self._plan.packs:
            while not self._train_pack(pack, device):
                pass
            if self.should_stop():
                return

    def train_on_ray(self, address: str | None) -> bool:
        """Packs as trials, again and again until every member has a row: no trial's end is taken on trust."""
        from rdstudy import cluster

        callbacks = _callbacks(self._plan.study)  # a tracker that is not there costs no cluster
        with cluster.connected(address, self._resources) as connection:
            self._interrupt.arm()  # Ray ends the process at SIGTERM
            if connection.joined:
                cluster.check_nodes(self._store, gpus=bool(self._resources.gpus))
            if connection.devices is None:
                _refuse_own_folder(self._store.uri)
                self._line.say("no node has what a trial asks for yet: waiting for the cluster to grow")
            packs: Sequence[Pack] = self._plan.packs
            for _ in range(_ROUNDS):
                given_up = cluster.run_packs(
                    packs,
                    self._store,
                    placements=self._plan.placements,
                    resources=self._resources,
                    measures=self._plan.study.measures,
                    callbacks=callbacks,
                    failures=self._failures,
                    on_progress=self._on_progress,
                    on_failure=self._on_failure,
                    on_usage=self._on_usage,
                    should_stop=self.should_stop,
                )
                self._given_up.update(given_up)
                _store_given_up(packs, self._store, given_up)
                stored = self._store.outcomes()
                packs = tuple(pack for pack in packs if any(one.member_id not in stored for one in pack.members))
                if not packs or self.should_stop():
                    break
                self._line.say(f"{len(packs)} packs ended without all their rows; started again")
            return connection.joined

    def close(self) -> None:
        """Write the last line."""
        self._line.close()
        hours, busy = self._meter.device_hours, self._meter.utilization
        if busy is not None:
            self._line.say(f"used: {hours:.2g} {_kind(self._resources.gpus)}-hours, {busy:.0%} at work{self._cost()}")

    def ended(self, *, joined: bool) -> Ended:
        """How it ended: well, too, where it was to end early when nothing remained."""
        early = "interrupted" if self._interrupt.asked() else self._limit
        interrupted = early if self._remains() else None
        example = self._failures.example
        members = {pack.pack_id: pack.members[0].member_id for pack in self._plan.packs}
        return Ended(interrupted, self._failures.stop, members[example] if example else None, joined)

    def _remains(self) -> bool:
        """Whether there is a pack that is neither done nor given up."""
        packs = [pack for pack in self._plan.packs if pack.pack_id not in self._given_up]
        return not all(self._line.is_done(pack) for pack in packs)

    def _train_pack(self, pack: Pack, device: "torch.device") -> bool:
        """Train a pack here until it ends, or one of its units raises for the first time: then False."""
        from rdstudy.worker import run_pack

        events = run_pack(
            pack,
            self._store,
            device=device,
            resources=self._resources,
            measures=self._plan.study.measures,
            tried=self._failures.tried.get(pack.pack_id, ()),
        )
        host = platform.node()
        try:
            for progress in events:
                self._on_progress(pack.pack_id, host, progress)
                self._add_usage(devices=1.0, busy=1.0)
                if self.should_stop():
                    events.close()
                    break
        except UnitError as error:
            failure = Failure(pack.pack_id, Cause.RAISED, error.reason, host, error.unit)
            self._on_failure(failure, self._failures.failed(failure))
            return self.should_stop()
        return True

    def _on_progress(self, pack_id: str, host: str, progress: PackProgress) -> None:
        before = self._line.update(pack_id, progress)
        self._failures.progressed(pack_id, share=progress.share, host=host)
        if progress.members_done - progress.members_not_ok > before.members_done - before.members_not_ok:
            self._failures.stored(host)

    def _on_failure(self, failure: Failure, remedy: Remedy) -> None:
        self._line.say(
            f"pack {failure.pack_id} on {failure.host}: {failure.cause.value} ({failure.reason}); {remedy.value}"
        )

    def _on_usage(self, usage: "Usage") -> None:
        self._add_usage(devices=usage.devices, busy=min(usage.busy, usage.devices))
        self._line.tick()

    def _add_usage(self, *, devices: float, busy: float) -> None:
        """Add the time since the last look to the meter."""
        now = time.monotonic()
        self._meter.add(seconds=now - self._looked, devices=devices, busy=busy)
        self._looked = now
        share = self._meter.utilization
        at_work = "" if share is None else f", {share:.0%} at work"
        self._line.devices = f"{devices:g} {_kind(self._resources.gpus)}s{at_work}{self._cost()}"

    def _cost(self) -> str:
        price = self._resources.price
        return "" if price is None else f", ${self._meter.cost(price):.2f}"


def _refuse_own_folder(uri: str) -> None:
    """Before nodes are waited for: they would find out, each for itself, that the folder is not there."""
    if "://" not in uri:
        raise ValueError(
            f"results folder {uri} may be on this machine alone, and nodes that train are still to come; allowed: "
            f"s3://, gs://, or file://{os.path.abspath(uri)} where all nodes share it"
        )


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
    except Exception as error:
        told = one_line_with_type(error)
        raise ValueError(
            f"{where} raised {told}; allowed: a function that returns a list of Tune's callbacks"
        ) from None
    if not isinstance(callbacks, list | tuple):
        raise fail(where, callbacks, allowed)
    return callbacks


def _kind(gpus: float | str) -> str:
    return "GPU" if gpus else "CPU core"


def _store_given_up(packs: Sequence[Pack], store: Store, given_up: dict[str, str]) -> None:
    """A row for every member of a pack that was given up."""
    if not given_up:
        return
    import torch

    from rdstudy.worker import store_failed

    stored = store.outcomes()
    for pack in packs:
        lost = tuple(member for member in pack.members if member.member_id not in stored)
        if pack.pack_id in given_up and lost:
            store_failed(store, Pack(lost), given_up[pack.pack_id], device=torch.device("cpu"))


class Interrupt:
    """The first Ctrl-C, or SIGTERM, asks for an orderly end; the second ends at once."""

    def __enter__(self) -> "Interrupt":
        self._asked = False
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.arm()
        return self

    def arm(self) -> None:
        """Listen to the signals; again, after a library has taken one of them for itself."""
        for number in self._before:
            signal.signal(number, self._ask)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        os.write(sys.stderr.fileno(), b"\nstopping: saving checkpoints; Ctrl-C again to stop at once\n")

    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked
