"""The log of a run in its store, and who follows it."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from rdstudy.results.presence import this_run
from rdstudy.results.store import Store
from rdstudy.running.log import RunLog, follow


def test_lines_carry_the_time_and_the_last_says_how_it_ended(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    log = RunLog(store, "mine")
    log.add("one\ntwo")
    log.close("exit status 0")
    (name,) = store.blobs.logs("mine")
    lines = store.blobs.read_log(name).splitlines()
    assert [line.split("  ", 1)[1] for line in lines] == ["one", "two", "end of this run: exit status 0"]
    assert lines[0][:2] == "20"


def test_a_follower_prints_each_line_once_until_the_end(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: store.blobs.write_log("mine", "20260101T000000Z", "a\n"),
            lambda: store.blobs.write_log("mine", "20260101T000000Z", "a\nb\n"),
            lambda: None,
            lambda: store.blobs.write_log("mine", "20260102T000000Z", "of a newer run\n"),
            lambda: store.blobs.write_log(
                "mine", "20260102T000000Z", "of a newer run\nx  end of this run: exit status 0\n"
            ),
        ]
    )

    def take(_: float) -> None:
        next(steps)()

    stream = io.StringIO()
    follow(store, "mine", stream=stream, sleep=take)
    assert stream.getvalue().splitlines() == ["a", "b", "of a newer run", "x  end of this run: exit status 0"]


def test_a_follower_of_a_run_that_has_ended_waits_a_minute_for_a_newer_one(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    ended = "x  end of this run: exit status 130"
    store.blobs.write_log("mine", "20260101T000000Z", f"{ended}\n")
    slept: list[float] = []
    stream = io.StringIO()
    follow(store, "mine", stream=stream, sleep=slept.append)
    waiting = "that run has ended; waiting a minute for a newer one"
    assert stream.getvalue().splitlines() == [ended, waiting]
    assert 60 <= sum(slept) <= 65

    def starts(_: float) -> None:
        store.blobs.write_log("mine", "20260102T000000Z", "new\nx  end of this run: exit status 0\n")

    stream = io.StringIO()
    follow(store, "mine", stream=stream, sleep=starts)
    assert stream.getvalue().splitlines()[:3] == [ended, waiting, "new"]


REFUSED = "x  end of this run: the run of study 'mine' is at work on the same 4 models\n"
ENDED = "x  end of this run: exit status 0\n"


def put_at_work(store: Store, log: str, *, process_started: str | None = None) -> str:
    run = this_run("mine", ["a"], log=log)
    run = replace(run, process_started=process_started or run.process_started)
    store.blobs.write_run_entry(run.token, json.dumps(vars(run)))
    return run.token


def test_a_follower_follows_the_run_at_work_and_no_other_that_was_refused_or_waits(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    token = put_at_work(store, store.blobs.write_log("mine", "20260101T000000Z", "at work\n"))
    store.blobs.write_log("mine", "20260102T000000Z", REFUSED)
    store.blobs.write_log("mine", "20260103T000000Z", "waiting\n")
    steps: Iterator[Callable[[], object]] = iter(
        [
            lambda: store.blobs.write_log("mine", "20260103T000000Z", "waiting\n" + REFUSED),
            lambda: store.blobs.write_log("mine", "20260104T000000Z", REFUSED),  # while it is followed
            lambda: store.blobs.delete_run(token),  # it has trained, and draws its page
            lambda: store.blobs.write_log("mine", "20260101T000000Z", "at work\nreport\n" + ENDED),
        ]
    )

    def take(_: float) -> None:
        next(steps)()

    follow(store, "mine", stream=(stream := io.StringIO()), sleep=take)
    assert stream.getvalue().splitlines() == ["at work", "report", ENDED.strip()]


def test_of_several_runs_at_work_the_newest_is_followed_and_then_the_others(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    older = store.blobs.write_log("mine", "20260101T000000Z", "older\n")
    newer = store.blobs.write_log("mine", "20260102T000000Z", "newer\n")
    tokens = [put_at_work(store, older), put_at_work(store, newer)]
    put_at_work(store, store.blobs.write_log("mine", "20260103T000000Z", "dead\n" + REFUSED), process_started="before")

    def take(_: float) -> None:
        """The newer one ends first."""
        token = tokens.pop()
        store.blobs.delete_run(token)
        day, text = (2, "newer\n") if tokens else (1, "older\n")
        store.blobs.write_log("mine", f"2026010{day}T000000Z", text + ENDED)

    follow(store, "mine", stream=(stream := io.StringIO()), sleep=take)
    assert stream.getvalue().splitlines() == ["newer", ENDED.strip(), "older", ENDED.strip()]


def test_a_run_that_has_begun_can_be_followed_at_once(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    log = RunLog(store, "mine")
    log.add("one")
    deadline = time.monotonic() + 20
    while not store.blobs.logs("mine"):
        assert time.monotonic() < deadline  # a flush of every 30 s would come later
        time.sleep(0.1)
    log.close("exit status 0")


def test_a_follower_says_when_nothing_comes(tmp_path: Path):
    store = Store.create(str(tmp_path / "out"))
    looks = []

    def sleep(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            store.blobs.write_log("mine", "20260101T000000Z", "a\n")
        if len(looks) == 100:
            store.blobs.write_log("mine", "20260101T000000Z", "a\nx  end of this run: stopped at once\n")

    stream = io.StringIO()
    follow(store, "mine", stream=stream, sleep=sleep)
    said = stream.getvalue().splitlines()
    assert said[0].startswith("no run of this study has written a line yet")
    assert [line for line in said if line.startswith("no line for five minutes")] == said[2:3]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch):
    store = Store.create(str(tmp_path / "out"))

    def fails(*_: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.blobs, "write_log", fails)
    log = RunLog(store, "mine")
    log.add("one")
    log.close("exit status 0")
    assert store.blobs.logs("mine") == []
