"""The log of a run in its store, and who follows it."""

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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
