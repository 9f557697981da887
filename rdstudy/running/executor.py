"""Where packs are trained: one interface with two implementations, which tell the same events.

local.py          one pack after the other, in this process
tune/executor.py  packs as trials of Ray Tune
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rdstudy.planning.packs import TrialPack
from rdstudy.planning.placement import Placement
from rdstudy.results.store import Store
from rdstudy.running.failures import Failure, Failures, Remedy
from rdstudy.running.progress import PackProgress
from rdstudy.study import Measures, Resources
from rdstudy.study.sources import Source


@dataclass(frozen=True)
class Work:
    """What an executor trains, and what it needs for that."""

    packs: Sequence[TrialPack]  # what remains, in the order in which packs are started
    study: str  # its name
    store: Store  # where rows go; every node must reach it
    resources: Resources  # what a pack asks for
    measures: Measures | None  # what is measured after training; None for nothing
    placements: Mapping[str, Placement]  # pack id -> its share of a GPU; empty on a CPU
    callbacks: Sequence[Any]  # of Tune, for experiment trackers
    failures: Failures  # what is known of failed tries
    sources: Mapping[str, Source]  # files of the user's own parts, by digest, as they were when the study was read


@dataclass(frozen=True)
class Usage:
    """Of a moment: devices are GPUs, or CPU cores where no GPU is asked for."""

    devices: float  # that are up
    busy: float  # of these, with a pack at work


class Observer(Protocol):
    """Whoever is told of the events of an executor, and decides when it is to stop."""

    def begins(self) -> None:
        """The executor has its devices; what it has done to the process's signals may be undone."""

    def progressed(self, pack_id: str, host: str, progress: PackProgress) -> None:
        """A pack has come further."""

    def failed(self, failure: Failure, remedy: Remedy) -> None:
        """A try of a pack came to no end."""

    def gave_up(self, pack: TrialPack, reason: str) -> None:
        """A pack is not tried again."""

    def used(self, usage: Usage) -> None:
        """So much is up and at work."""

    def say(self, text: str) -> None:
        """A line for the user."""

    def should_stop(self) -> bool:
        """Asked now and then; once true, nothing is started, and packs save a checkpoint and end."""


class Executor(Protocol):
    """Trains packs."""

    def run(self, work: Work, observer: Observer) -> bool:
        """Train packs until each has its rows or is given up, or the observer says stop.

        Returns:
            Whether devices that are paid for are still up.

        Raises:
            ValueError: devices that the work does not fit.
            OSError: the store failed.
        """
