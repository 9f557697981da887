"""What to do about a pack that came to no end: again, again on a larger share, or given up; and when to stop them all.

Pure bookkeeping. Causes are told apart because each has another remedy: a node that went away says nothing about the
pack, an exception comes again, and a device that is too small stays so.
"""

import re
import traceback
from dataclasses import dataclass
from enum import Enum

_DEATHS = 5  # of a pack's process in a row, none of which came further than the one before
_EQUAL = 5  # packs that fail on one host for one reason, with nothing stored there in between
_EQUAL_OF_ONE = 12  # the same, however few packs there are
_LONGEST_TRACEBACK = 10_000  # letters
_FRAME = re.compile(r'^ *File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_STORAGE = 2  # of any hosts, with nothing stored in between: each of them has waited for two minutes


class Cause(Enum):
    """Why a pack came to no end."""

    PREEMPTED = "its node went away"
    DIED = "its process ended"
    MEMORY = "out of memory"
    STORAGE = "storage"
    VERSIONS = "other versions"
    ELSEWHERE = "another results folder"
    RAISED = "exception"


class Remedy(Enum):
    """What is done about it."""

    AGAIN = "again"
    LARGER = "again, on a larger share"
    GIVE_UP = "given up"


class PackError(Exception):
    """A pack raised an exception for the first time: its id, the reason in one line, and the traceback.

    The traceback is carried as text: Ray hands on neither the cause of an exception nor where it was raised.

    A trial on a CPU trains the members of its pack as packs of one: the id is that of the pack of one.
    """

    def __init__(self, pack_id: str, reason: str, traceback: str) -> None:
        super().__init__(pack_id, reason, traceback)
        self.pack_id, self.reason, self.traceback = pack_id, reason, traceback


class ShareTooSmallError(Exception):
    """A pack ran out of memory on its share of a device."""


class VersionsError(Exception):
    """A process runs other code or other libraries than the driver."""


class OtherFolderError(Exception):
    """A process finds no results folder, or another one, where the driver has the run's."""


@dataclass(frozen=True)
class Failure:
    """A pack's try that came to no end."""

    pack_id: str
    cause: Cause
    reason: str  # one line
    host: str
    raised: str = ""  # id of the pack that raised, where one did: this one, or a part of it that was trained at once
    traceback: str = ""  # of what was raised, where it is known


def traceback_text(error: BaseException | None) -> str:
    """The traceback of an exception as Python writes it; of a very long one, the end."""
    return shortened("".join(traceback.format_exception(error))) if error else ""


def shortened(text: str) -> str:
    """The end of a traceback: what was raised, and where."""
    return text if len(text) <= _LONGEST_TRACEBACK else f"...\n{text[-_LONGEST_TRACEBACK:]}"


def place_of(text: str) -> str:
    """Where the exception of a traceback was raised, `FILE:LINE, in FUNCTION`; empty where it does not say."""
    frames = list(_FRAME.finditer(text))
    return f"{frames[-1]['file']}:{frames[-1]['line']}, in {frames[-1]['function']}" if frames else ""


@dataclass
class _Streak:
    """Failures of one host for one reason."""

    cause: Cause
    reason: str
    names: set[str]
    count: int


class Failures:
    """The failures of a run, and what follows from them."""

    def __init__(self) -> None:
        self.tried: dict[str, set[str]] = {}
        """Pack id -> ids of what was trained at once of it and has raised once: the next exception is the outcome."""
        self.stop: str | None = None
        """Why nothing more should be started, once that is clear."""
        self.example: str | None = None
        """A pack that shows it."""
        self._furthest: dict[str, float] = {}
        self._deaths: dict[str, tuple[int, float]] = {}  # in a row, and how far the pack had come
        self._streaks: dict[str, _Streak] = {}
        self._storage = 0  # failures of storage since anything was stored

    def progressed(self, pack_id: str, *, share: float, host: str) -> None:
        """Take note of how far a pack has come, in [0, 1]; where training goes on, processes do not just die."""
        if share > self._furthest.get(pack_id, 0.0):
            self._furthest[pack_id] = share
            if host in self._streaks and self._streaks[host].cause is Cause.DIED:
                del self._streaks[host]

    def stored(self, host: str) -> None:
        """Take note that a host stored a member that is ok: the host itself is not at fault."""
        self._streaks.pop(host, None)
        self._storage = 0

    def failed(self, failure: Failure) -> Remedy:
        """Take note of a failure and say what to do about it."""
        if failure.cause is Cause.PREEMPTED:
            return Remedy.AGAIN
        if failure.cause is Cause.MEMORY:
            return Remedy.LARGER  # many at once say that the first share was too small, and nothing of the host
        self._count(failure)
        if failure.cause is Cause.RAISED and failure.raised:
            self.tried.setdefault(failure.pack_id, set()).add(failure.raised)
            return Remedy.AGAIN
        if failure.cause is Cause.STORAGE:
            return Remedy.AGAIN
        return self._died(failure.pack_id)

    def no_larger(self, failure: Failure) -> Remedy:
        """Take note that there is no larger share for a pack that ran out of memory."""
        self._count(failure)
        return Remedy.GIVE_UP

    def _died(self, pack_id: str) -> Remedy:
        """What to do after a process ended, or raised outside of training: a pack that comes further is tried again."""
        furthest = self._furthest.get(pack_id, 0.0)
        deaths, before = self._deaths.get(pack_id, (0, -1.0))
        deaths = deaths + 1 if furthest <= before else 1
        self._deaths[pack_id] = (deaths, furthest)
        return Remedy.AGAIN if deaths < _DEATHS else Remedy.GIVE_UP

    def _count(self, failure: Failure) -> None:
        if failure.cause in (Cause.VERSIONS, Cause.ELSEWHERE):
            self._stop(failure, failure.reason)
            return
        if failure.cause is Cause.STORAGE:
            self._storage += 1
            if self._storage >= _STORAGE:
                self._stop(failure, f"storage failed {self._storage} times, nothing stored: {failure.reason}")
        reason = re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "N", failure.reason)  # ids and addresses differ each time
        streak = self._streaks.get(failure.host)
        if streak is None or streak.reason != reason:
            streak = self._streaks[failure.host] = _Streak(failure.cause, reason, set(), 0)
        streak.names.add(failure.raised or failure.pack_id)
        streak.count += 1
        if len(streak.names) >= _EQUAL or streak.count >= _EQUAL_OF_ONE:
            self._stop(failure, f"{streak.count} failures in a row on {failure.host}, nothing stored: {failure.reason}")

    def _stop(self, failure: Failure, why: str) -> None:
        if self.stop is None:
            self.stop, self.example = why, failure.pack_id
