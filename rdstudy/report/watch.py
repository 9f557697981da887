"""A page that keeps up with a run: written anew when rows have come, until no run of its study is at work any more.

While it is watched, the page asks the browser that shows it to look for a newer one every minute; the last one, which
is what people send around, does not. A page is there whole at any moment.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rdstudy.report.build import Source, read_report, write_report
from rdstudy.report.read import choose_study
from rdstudy.results.presence import is_alive, runs_at_work
from rdstudy.results.store import Store

RELOADED_SECONDS = 60

_LOOK_SECONDS = 5.0
_BETWEEN_SECONDS = 20.0  # from the end of one page to the next
_WORK_SHARE = 5  # times as long as a page took is waited before the next: the run may be on this machine
_NEWER_SECONDS = 60.0  # that a run which was started a moment ago is waited for
_SHOWN = ("members", "measures", "own_measures")  # tables of which a new file makes a new page


def watch(
    source: Source,
    *,
    out: str | None,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Write the page of a study until its run has ended, and one minute longer where none is at work yet.

    Args:
        source: one study.
        out: the file to write; None for `reports/<study>.html`.
        say: told of each page.
        sleep: waits for so many seconds.
        clock: tells seconds.

    Raises:
        ValueError: no such folder or study, several studies and none chosen, or `out` cannot be written.
        KeyboardInterrupt: Ctrl-C; by then the page is one that is not reloaded.
    """
    store = Store.open(source.results)
    study = choose_study(store, source.study)
    source = replace(source, study=study)
    written = store.rows.file_names(_SHOWN)
    path, due = _write(source, out, clock, reloaded=True)
    say(f"{path}: reload it at will; it reloads itself every minute until the run has ended")
    waited_until = clock() + _NEWER_SECONDS
    try:
        while True:
            living = _is_at_work(store, study, sleep)
            if living:
                waited_until = 0.0
            present = store.rows.file_names(_SHOWN)
            if present != written and living and clock() >= due:
                written = present
                path, due = _write(source, out, clock, reloaded=True)
                say(f"{path}: written anew, {len(present)} files of rows")
            if not living and clock() >= waited_until:
                say(f"no run of study {study!r} is at work{' any more' if not waited_until else ''}")
                return
            sleep(_LOOK_SECONDS)
    finally:
        path, _ = _write(source, out, clock, reloaded=False)
        say(f"{path}: written for the last time")


def _write(source: Source, out: str | None, clock: Callable[[], float], *, reloaded: bool) -> tuple[Path, float]:
    """Write the page of what is stored now: where it is, and when the next may be written."""
    began = clock()
    path = write_report(read_report(source), out=out, reloaded_seconds=RELOADED_SECONDS if reloaded else None)
    ended = clock()
    return path, ended + max(_BETWEEN_SECONDS, _WORK_SHARE * (ended - began))


def _is_at_work(store: Store, study: str, sleep: Callable[[float], None]) -> bool:
    """Whether a run of the study gives signs of life; of one on another machine that takes up to half a minute."""
    return any(run.study == study and is_alive(store, run, sleep=sleep) for run in runs_at_work(store))
