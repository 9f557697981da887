"""The log of a run, kept in its store: readable from any machine while the run goes on, and after it."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

from rdstudy.results.store import Store

_FLUSH_SECONDS = 30.0
_SILENT_SECONDS = 300.0  # a run writes a line a minute
_LOOK_SECONDS = 5.0
_END = "end of this run: "


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
            last = self._closing.wait(_FLUSH_SECONDS)
            lines = list(self._lines)
            if len(lines) > self._written:
                with contextlib.suppress(OSError):  # rows need the store, the log can wait
                    self._store.write_log(self._study, self._started, "\n".join(lines) + "\n")
                    self._written = len(lines)
            if last:
                return


def follow(
    store: Store, study: str, *, stream: TextIO | None = None, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Print the newest log of a study, and what is added to it, until its run ends; a newer run is followed too.

    Reads the store and nothing else: safe from any machine, any number of times.
    """
    stream = stream or sys.stdout
    name, shown, silent, told = "", 0, 0.0, False
    while True:
        newest = next(iter(reversed(store.logs(study))), "")
        if newest != name:
            name, shown = newest, 0
        text = store.read_log(name) if name else ""
        if len(text) > shown:
            stream.write(text[shown:])
            stream.flush()
            shown, silent, told = len(text), 0.0, False
        if _END in text.rstrip("\n").rpartition("\n")[2]:
            return
        if silent >= (_SILENT_SECONDS if name else _LOOK_SECONDS) and not told:
            told = True
            stream.write(_silence(name))
            stream.flush()
        sleep(_LOOK_SECONDS)
        silent += _LOOK_SECONDS


def _silence(name: str) -> str:
    if not name:
        return "no run of this study has written a line yet; waiting\n"
    return "no line for five minutes: the run may have been killed; the same command goes on where it was\n"
