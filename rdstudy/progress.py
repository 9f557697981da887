"""Progress for people: a live line on a terminal, one plain line a minute otherwise.

Knows packs by their ids and costs, and nothing of who trains them.
"""

import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

from rdstudy.packs import Pack, pack_cost

_LIVE_SECONDS = 0.5
_PLAIN_SECONDS = 60.0


@dataclass(frozen=True)
class PackProgress:
    """How far a pack has come."""

    members_done: int  # stored, whatever their outcome
    members_not_ok: int  # of these, with an outcome other than ok
    share: float  # of the pack's training steps, in [0, 1]


class ProgressLine:
    """Counts models, estimates the time left, and writes to a stream.

    Args:
        packs: all packs of this run.
        workers: how many packs run at the same time, in words for the line: "2 processes".
        stream: where to write, standard error unless given.
    """

    def __init__(self, packs: Iterable[Pack], *, workers: str, stream: TextIO | None = None) -> None:
        packs = tuple(packs)
        self._states = {pack.pack_id: PackProgress(0, 0, 0.0) for pack in packs}
        self._costs = {pack.pack_id: pack_cost(pack) for pack in packs}
        self._total = sum(len(pack.members) for pack in packs)
        self._workers = workers
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._started = time.monotonic()
        self._written = self._started if not self._live else 0.0

    def update(self, pack_id: str, progress: PackProgress) -> None:
        """Take note of how far a pack has come, and write if it is time."""
        self._states[pack_id] = progress
        now = time.monotonic()
        if now - self._written >= (_LIVE_SECONDS if self._live else _PLAIN_SECONDS):
            self._written = now
            self._write(self.line(now - self._started))

    def line(self, seconds: float) -> str:
        """What is known after so many seconds."""
        done = sum(state.members_done for state in self._states.values())
        not_ok = sum(state.members_not_ok for state in self._states.values())
        share = sum(self._costs[pack] * state.share for pack, state in self._states.items()) / sum(self._costs.values())
        rate = f"{60 * done / seconds:.1f} models/min" if done else "no rate yet"
        left = f"{duration(seconds * (1 - share) / share)} left" if share > 0.01 else "time left unknown"
        return (
            f"{done}/{self._total} models, {rate}, {duration(seconds)} so far, {left}, {not_ok} not ok, {self._workers}"
        )

    def close(self) -> None:
        """Write a last line."""
        self._write(self.line(time.monotonic() - self._started))
        if self._live:
            self._stream.write("\n")

    def _write(self, line: str) -> None:
        self._stream.write(f"\r\x1b[2K{line}" if self._live else f"{line}\n")
        self._stream.flush()


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `3 min`, `2.5 h`, `3.1 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"
