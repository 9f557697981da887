"""The log of a run, kept in its store: readable from any machine while the run goes on, and after it."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rdstudy.results.presence import is_here_and_dead, runs_at_work
from rdstudy.results.store import Store
from rdstudy.running.screen import Screen, size_of

_FLUSH_SECONDS = 30.0
_FIRST_SECONDS = 1.0  # until a run has written something: whoever follows it looks for the newest log
_NEWER_SECONDS = 60.0  # that a follower waits for the run that was started a moment ago
_SILENT_SECONDS = 300.0  # a run writes a line a minute
_LOOK_SECONDS = 5.0
_END = "end of this run: "
_PROGRESS = re.compile(r"\S+ \S+  \d+/\d+ models, ")


class RunLog:
    """Collects lines, and writes them to the store from a thread of its own: slow storage holds nothing up."""

    def __init__(self, store: Store, study: str) -> None:
        self._store, self._study = store, study
        self._started = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        self._lines: list[str] = []
        self._written = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="run log", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """By which the store has it."""
        return self._store.blobs.log_name(self._study, self._started)

    def add(self, text: str) -> None:
        """Add lines, each with the time of day."""
        now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        self._lines.extend(f"{now}  {line}" for line in text.splitlines())

    def close(self, why: str) -> None:
        """Write what is left; the last line says how the run ended."""
        self.add(_END + why)
        self._closing.set()
        self._thread.join(timeout=_FLUSH_SECONDS)

    def _work(self) -> None:
        while True:
            last = self._closing.wait(_FLUSH_SECONDS if self._written else _FIRST_SECONDS)
            lines = list(self._lines)
            if len(lines) > self._written:
                with contextlib.suppress(OSError):  # rows need the store, the log can wait
                    self._store.blobs.write_log(self._study, self._started, "\n".join(lines) + "\n")
                    self._written = len(lines)
            if last:
                return


def follow(
    store: Store,
    study: str,
    *,
    board: Callable[[int, int], Sequence[str]] = lambda columns, lines: (),  # noqa: ARG005
    stream: TextIO | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Print the log of the run at work on a study, and what is added to it, until it ends; a newer run is followed too.

    Where several are at work it is the newest of them, and the others after it; where none is, the newest that was.
    A run that was refused, or waits for another one, is not at work.

    On a terminal, a table stands below the log and is written anew in place, with the log's latest line of progress;
    elsewhere the table comes once, at the end.
    Where that run has ended already, one that was started a moment ago may not have written yet: a minute is waited.

    Reads the store and nothing else: safe from any machine, any number of times.

    Args:
        store: where the run writes.
        study: its name.
        board: the lines of the table, in at most so many columns and lines.
        stream: where to write, standard output unless given.
        sleep: waits for so many seconds.
    """
    screen = Screen(stream or sys.stdout)
    latest = ""
    name, shown, silent, is_told, began, ended = "", 0, 0.0, False, False, False
    while True:
        newest = _log_to_follow(store, study, name, began=began, ended=ended)
        if newest != name:
            name, shown = newest, 0
        elif ended and (began or silent >= _NEWER_SECONDS):
            _show(screen, board, latest)
            return
        text = store.blobs.read_log(name) if name else ""
        if len(text) > shown:
            lines, latest = _apart(text[shown:], latest) if screen.is_live else (text[shown:], "")
            screen.say(lines)
            shown, silent, is_told = len(text), 0.0, False
        ended = _has_ended(text)
        began = began or not ended
        if not is_told and not (ended and began) and (ended or silent >= (_SILENT_SECONDS if name else _LOOK_SECONDS)):
            is_told = True
            screen.say(_silence(name, ended=ended))
        if screen.is_live:
            _show(screen, board, latest)
        if not (ended and began):
            sleep(_LOOK_SECONDS)
            silent += _LOOK_SECONDS


def _log_to_follow(store: Store, study: str, name: str, *, began: bool, ended: bool) -> str:
    """The log to go on with after that of `name`, which may be the same.

    From a run at work nothing leads away but a newer one at work; from one that goes on, a newer one that goes on.
    """
    logs = store.blobs.logs(study)
    runs = (run for run in runs_at_work(store) if run.study == study and not is_here_and_dead(run))
    at_work = {run.log for run in runs}.intersection(logs)
    newer = [log for log in logs if log > name]
    if name in at_work:
        newer = [log for log in newer if log in at_work]
    elif name and began:
        newer = [log for log in newer if not _has_ended(store.blobs.read_log(log))]
    if ended or not name:
        newer = sorted(at_work - {name}) or newer
    return newer[-1] if newer else name


def _has_ended(text: str) -> bool:
    return _END in text.rstrip("\n").rpartition("\n")[2]


def _apart(text: str, latest: str) -> tuple[str, str]:
    """New lines of a log but for those of progress, and the last one of these."""
    lines = text.splitlines(keepends=True)
    progress = [line for line in lines if _PROGRESS.match(line)]
    rest = "".join(line for line in lines if not _PROGRESS.match(line))
    return rest, progress[-1].rstrip("\n").partition("  ")[2] if progress else latest


def _show(screen: Screen, board: Callable[[int, int], Sequence[str]], latest: str) -> None:
    """The table, and the latest line of progress below it; as plain lines where no terminal shows them."""
    size = size_of(screen.stream)
    lines = [*board(size.columns - 1, size.lines - 2), *([latest[: size.columns - 1]] if latest else [])]
    if screen.is_live:
        screen.show(lines)
    else:
        screen.say("".join(f"{line}\n" for line in lines))


def _silence(name: str, *, ended: bool) -> str:
    if ended:
        return "that run has ended; waiting a minute for a newer one\n"
    if not name:
        return "no run of this study has written a line yet; waiting\n"
    return "no line for five minutes: the run may have been killed; the same command goes on where it was\n"
