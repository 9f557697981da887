"""Progress for people: a live line on a terminal, one plain line a minute otherwise.

Knows packs by their ids and costs, and nothing of who trains them.
"""

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TextIO

from rdstudy.planning.packs import TrialPack, pack_cost
from rdstudy.running.screen import size_of
from rdstudy.study import Member
from rdstudy.study.words import duration

_LIVE_SECONDS = 0.5
_PLAIN_SECONDS = 60.0


@dataclass(frozen=True)
class PackProgress:
    """How far a pack has come."""

    members_done: int  # stored, whatever their outcome
    members_not_ok: int  # of these, with an outcome other than ok
    share: float  # of the pack's training steps, in [0, 1]
    values: Mapping[str, float] = field(default_factory=dict)  # see `rdstudy.running.tracked`


class ProgressLine:
    """Counts models, estimates the time left, and writes to a stream and to a log.

    Args:
        packs: all packs of this run.
        stream: where to write, standard error unless given.
        log: told of one line a minute, and of everything that is said.
    """

    def __init__(
        self, packs: Iterable[TrialPack], *, stream: TextIO | None = None, log: Callable[[str], None] | None = None
    ) -> None:
        packs = tuple(packs)
        self.usage: tuple[str, ...] = ()
        """What trains, in words for the line: "2 CPU cores", "96% at work", "$0.20"."""
        self._states = {pack.pack_id: PackProgress(0, 0, 0.0) for pack in packs}
        self._packs = {pack.pack_id: pack for pack in packs}
        self._begun: set[str] = set()
        self._costs = {pack.pack_id: pack_cost(pack) for pack in packs}
        self._total = sum(len(pack.members) for pack in packs)
        self._stream = stream or sys.stderr
        self._log = log or (lambda _: None)
        self._live = self._stream.isatty()
        self._started = self._logged = time.monotonic()
        self._shown = 0.0

    def update(self, pack_id: str, progress: PackProgress) -> PackProgress:
        """Take note of how far a pack has come, write if it is time, and return how far it had come before."""
        before, self._states[pack_id] = self._states[pack_id], progress
        (self._begun.discard if self.is_done(pack_id) else self._begun.add)(pack_id)
        self.tick()
        return before

    def is_done(self, pack_id: str) -> bool:
        """Whether all members of a pack are stored or measured, whatever their outcome."""
        return self._states[pack_id].members_done == len(self._packs[pack_id].members)

    def at_work(self) -> list[Member]:
        """Members of packs that have begun and are not done; from any thread."""
        return [
            member
            for pack_id in tuple(self._begun)
            for member in self._packs[pack_id].members[self._states[pack_id].members_done :]
        ]

    def ended(self, pack_id: str) -> None:
        """Take note that a pack is not at work any more, whether or not it is done."""
        self._begun.discard(pack_id)

    def tick(self) -> None:
        """Write if it is time."""
        now = time.monotonic()
        if self._live and now - self._shown >= _LIVE_SECONDS:
            self._shown = now
            self._stream.write(f"\r\x1b[2K{self.line(now - self._started, columns=size_of(self._stream).columns - 1)}")
            self._stream.flush()
        if now - self._logged >= _PLAIN_SECONDS:
            self._logged = now
            self._write_line()

    def say(self, text: str) -> None:
        """Write something else, on a line of its own."""
        self._stream.write(f"\r\x1b[2K{text}\n" if self._live else f"{text}\n")
        self._stream.flush()
        self._log(text)

    def line(self, seconds: float, *, columns: int | None = None) -> str:
        """What is known after so many seconds; of what does not fit into so many columns, what matters least goes."""
        done = sum(state.members_done for state in self._states.values())
        not_ok = sum(state.members_not_ok for state in self._states.values())
        share = sum(self._costs[pack] * state.share for pack, state in self._states.items()) / sum(self._costs.values())
        models = f"{done}/{self._total} models"
        rate = f"{60 * done / seconds:.1f} models/min" if done else "no rate yet"
        so_far = f"{duration(seconds)} so far"
        left = f"{duration(seconds * (1 - share) / share)} left" if share > 0.01 else "time left unknown"
        lacking = f"{not_ok} not ok"
        parts = [models, rate, so_far, left, lacking, *self.usage]
        least_first = [so_far, *self.usage, rate, *([left, lacking] if not_ok else [lacking, left])]
        return fitted(parts, least_first, columns)

    def close(self) -> None:
        """Write a last line."""
        self._write_line(last=True)

    def _write_line(self, *, last: bool = False) -> None:
        line = self.line(time.monotonic() - self._started)
        self._log(line)
        if not self._live:
            self._stream.write(f"{line}\n")
        elif last:
            self._stream.write(f"\r\x1b[2K{line}\n")
        self._stream.flush()


def fitted(parts: Sequence[str], least_first: Iterable[str], columns: int | None) -> str:
    """Parts with commas between them, in at most so many columns.

    Args:
        parts: in their order.
        least_first: those that may be left out, the first before the second.
        columns: None for as many as it takes.
    """
    line = ", ".join(parts)
    for least in least_first:
        if columns is None or len(line) <= columns:
            break
        parts = [part for part in parts if part != least]
        line = ", ".join(parts)
    return line[:columns]
