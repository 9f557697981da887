"""Who is at work in a store: so that two runs do not train the same members, and pay for them, twice.

A run puts down `runs/<token>.json`, which says who and where it is and which members it trains, and
`runs/<token>.beat`, which it writes anew every few seconds. Whoever comes second asks whether the first is alive: on
the same machine the process tells, elsewhere the beat, which is looked at for a while and not held against a clock.
Nothing is ever lost with these files: without them two runs at worst do the same work, and rows are read as ever.
"""

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from rdstudy.results.files import StorageError
from rdstudy.results.store import FolderGoneError, Store

BEAT_SECONDS = 10.0
_DEAD_SECONDS = 3.5 * BEAT_SECONDS  # without a beat: storage may be slow
_LOOK_SECONDS = 0.2  # between two looks for rivals
_SETTLE_SECONDS = 20.0  # that one of two runs which start at the same moment waits for the other to settle


@dataclass(frozen=True)
class Run:
    """A run that is, or was, at work."""

    token: str  # its name among others
    study: str  # name of its study
    host: str  # name of its machine, for people
    machine: str  # tells machines, and containers with processes of their own, apart
    pid: int  # of its process
    process_started: str  # tells that process from a later one with the same number; empty where the system is silent
    since: str  # when it began, by its own clock, for people
    member_ids: tuple[str, ...]  # members that it trains or measures
    settled: bool = False  # whether it has looked for others after it was put down
    taken_over_by: str = ""  # the run that was told to go on in its place; empty where none was
    log: str = ""  # name of its log, for whoever follows it; empty where it keeps none

    def __str__(self) -> str:
        return f"the run of study {self.study!r} on {self.host} (process {self.pid}, since {self.since})"


def this_run(study: str, member_ids: Sequence[str], *, log: str = "") -> Run:
    """The run of this process; `log` is the name of what it says."""
    return Run(
        token=uuid.uuid4().hex,
        study=study,
        host=platform.node(),
        machine=_machine(),
        pid=os.getpid(),
        process_started=_process_started(os.getpid()),
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        member_ids=tuple(member_ids),
        log=log,
    )


def runs_at_work(store: Store) -> list[Run]:
    """Runs that were put down and not taken up again, dead ones too, but for those that another one has taken over."""
    runs = (_read(store, token) for token in store.blobs.run_tokens())
    return [run for run in runs if run is not None and not run.taken_over_by]


def is_alive(store: Store, run: Run, *, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Whether a run is still at work; where only its beat can tell, that takes up to half a minute."""
    if run.machine == _machine():
        return not is_here_and_dead(run)
    before = store.blobs.read_beat(run.token)
    for _ in range(int(_DEAD_SECONDS)):
        sleep(1)
        if _read(store, run.token) is None:  # it has just come to its end
            return False
        if store.blobs.read_beat(run.token) != before:
            return True
    return False


def is_here_and_dead(run: Run) -> bool:
    """Whether a run was on this machine and its process is gone; of other machines that cannot be said at once."""
    if run.machine != _machine():
        return False
    return _process_started(run.pid) != run.process_started or not _is_process(run.pid)


class Presence:
    """This run, as others see it, while it is at work.

    Attributes:
        problem: why this run is to stop: it was taken over, or its folder is gone; None while nothing is.
        token: of the run.
        doing: asked at each sign of life what the run is at, for whoever follows it.
    """

    def __init__(self, store: Store, run: Run) -> None:
        self.problem: FolderGoneError | str | None = None
        self.doing: Callable[[], str] = str
        self._store, self._run = store.hurried(), run
        self.token = run.token
        self._beats = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="presence", daemon=True)

    def begin(self) -> None:
        """From now on, write a beat."""
        self._run = replace(self._run, settled=True)
        self._write()
        self._thread.start()

    def end(self) -> None:
        """Take the files of this run up again."""
        self._closing.set()
        if self._thread.ident is not None:
            self._thread.join(timeout=BEAT_SECONDS)
        with suppress(StorageError):
            self._store.blobs.delete_run(self._run.token)

    def _work(self) -> None:
        while not self._closing.wait(BEAT_SECONDS):
            try:
                self._beat()
            except FolderGoneError as error:
                self.problem = error
                return
            except StorageError:  # others may take this run for dead: its work would be done twice, and nothing lost
                continue

    def _beat(self) -> None:
        seen = _read(self._store, self._run.token)
        if seen is None:  # somebody tidied up
            self._write()
        elif seen.taken_over_by:
            self.problem = f"taken over by {seen.taken_over_by}"
            return
        self._beats += 1
        self._store.blobs.write_beat(self._run.token, f"{self._beats}\n{self.doing()}")

    def _write(self) -> None:
        self._store.blobs.write_run_entry(self._run.token, json.dumps(asdict(self._run)))


@contextmanager
def present(store: Store, run: Run) -> Iterator[Presence]:
    """Let others see a run while it is at work.

    Raises:
        ValueError: another run with the same members began at the same moment, or took this one over before it began.
    """
    presence = Presence(store, run)
    presence._write()
    try:
        _give_way(store, run)
        presence.begin()
        yield presence
    finally:
        presence.end()


def overlapping(runs: Collection[Run], member_ids: Collection[str]) -> list[Run]:
    """Those of some runs that train members of these."""
    wanted = set(member_ids)
    return [run for run in runs if not wanted.isdisjoint(run.member_ids)]


def take_over(store: Store, run: Run, by: Run) -> None:
    """Tell a run, if it is alive after all, that another one goes on in its place: then it stops in order."""
    store.blobs.write_run_entry(run.token, json.dumps(asdict(replace(run, taken_over_by=str(by)))))


def _give_way(store: Store, run: Run) -> None:
    """Of two runs that begin at the same moment, each of which may or may not see the other, one goes on.

    Each puts itself down before it looks, so that one of them sees the other. One that sees a settled run gives way, or
    one that is not settled and has a lower token; else it waits until the other has given way or settled. It goes on
    once it has seen nobody twice: a storage that does not replace files at once may hide a rival that settles. One that
    was taken over meanwhile gives way too, or its next entry would hide that from it.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    looks_without_rivals = 0
    while True:
        itself = _read(store, run.token)
        if itself is not None and itself.taken_over_by:
            raise ValueError(f"{itself.taken_over_by} was started with --force and goes on in the place of this run")
        rivals = [other for other in overlapping(runs_at_work(store), run.member_ids) if other.token != run.token]
        rivals = [other for other in rivals if not is_here_and_dead(other)]
        for other in rivals:
            if other.settled or other.token < run.token:
                raise ValueError(f"{other} is at work on the same models; allowed: --wait, --force, or another study")
        looks_without_rivals = 0 if rivals else looks_without_rivals + 1
        if looks_without_rivals == 2 or time.monotonic() > deadline:
            return
        time.sleep(_LOOK_SECONDS)


def _read(store: Store, token: str) -> Run | None:
    """A run that was put down; None where it was taken up again, or its file is no such thing."""
    try:
        values = json.loads(store.blobs.read_run_entry(token))
        return Run(**{**values, "member_ids": tuple(values["member_ids"])})
    except (FileNotFoundError, ValueError, RecursionError, TypeError, KeyError):
        return None


def _machine() -> str:
    """Names this machine since it was started and, in a container, the set of processes that are seen from here."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _process_started(pid: int) -> str:
    """When a process of this machine was started, in clock ticks; empty where there is none or the system is silent."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state == "Z" else fields[18]  # a zombie waits for its parent, and works no more


def _is_process(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
