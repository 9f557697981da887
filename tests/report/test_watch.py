"""A page that keeps up with a run: anew when rows come, whole at any moment, and left as one to send around."""

import os
import signal
from pathlib import Path
from typing import cast

import pytest

from rdstudy.report import build
from rdstudy.report import watch as watching
from rdstudy.report.__main__ import main
from rdstudy.report.build import Source
from rdstudy.report.page import Page
from rdstudy.results.presence import Presence, this_run
from rdstudy.results.store import Store

REFRESH = '<meta http-equiv="refresh" content="60">'


class Pages:
    """In place of pages: when they were written, and whether a browser reloads them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reloaded: list[int | None] = []

    def __call__(self, report, *, out, reloaded_seconds):
        assert report == "read"
        assert out == str(self.path)
        self.reloaded.append(reloaded_seconds)
        return self.path


@pytest.fixture
def pages(tmp_path, monkeypatch) -> Pages:
    pages = Pages(tmp_path / "page.html")
    monkeypatch.setattr(watching, "read_report", lambda _: "read")
    monkeypatch.setattr(watching, "write_report", pages)
    monkeypatch.setattr(watching, "choose_study", lambda *_: "tiny")
    return pages


def watch(store: Store, pages: Pages, steps):
    """Watch while at each look one of these steps is done; returns what was said."""
    said: list[str] = []
    now, left = [0.0], iter(steps)

    def sleep(seconds: float) -> None:
        now[0] += seconds
        next(left, lambda: None)()

    watching.watch(Source(store.uri), out=str(pages.path), say=said.append, sleep=sleep, clock=lambda: now[0])
    return said


def lands(store: Store, name: str):
    return lambda: Path(store.location, "members", f"{name}.parquet").write_bytes(b"rows")


def nothing() -> None:
    pass


def test_a_page_is_written_when_rows_have_come_and_last_without_reloading(tmp_path, pages):
    store = Store.create(str(tmp_path / "out"))
    Path(store.location, "members").mkdir()
    presence = Presence(store, this_run("tiny", ()))
    presence._write()
    looks = [nothing] * 5 + [lands(store, "a")] + [nothing] * 5 + [lands(store, "b"), lands(store, "c")]
    said = watch(store, pages, [*looks, presence.end])
    assert pages.reloaded == [60, 60, 60, None], "the third rows came too soon after the second for a page of their own"
    assert said[-2] == "no run of study 'tiny' is at work any more"
    assert said[-1].endswith("page.html: written for the last time")


def test_a_run_that_is_to_start_is_waited_for_and_where_none_comes_that_is_said(tmp_path, pages):
    store = Store.create(str(tmp_path / "out"))
    Presence(store, this_run("another", ()))._write()
    said = watch(store, pages, [])
    assert pages.reloaded == [60, None]
    assert "no run of study 'tiny' is at work" in said
    presence = Presence(store, this_run("tiny", ()))
    said = watch(store, pages, [presence._write, *[nothing] * 30, presence.end])
    assert "no run of study 'tiny' is at work any more" in said


def test_a_run_that_was_killed_is_not_waited_for(tmp_path, pages):
    store = Store.create(str(tmp_path / "out"))
    run = this_run("tiny", ())
    Presence(store, type(run)(**{**vars(run), "pid": os.getpid(), "process_started": "before"}))._write()
    assert watch(store, pages, [])[-1].endswith("written for the last time")


def test_ctrl_c_leaves_a_page_that_is_not_reloaded(tmp_path, pages):
    store = Store.create(str(tmp_path / "out"))

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch(store, pages, [nothing, interrupt])
    assert pages.reloaded == [60, None]


def test_sigterm_does_so_too(tmp_path, pages, monkeypatch):
    store = Store.create(str(tmp_path / "out"))
    monkeypatch.setattr(watching, "_is_at_work", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert main([store.uri, "--watch", "--out", str(pages.path)]) == 0
    assert pages.reloaded == [60, None]


@pytest.mark.parametrize(
    ("options", "contrary"), [(["--figures", "f"], "--figures"), (["--tables", "t"], "--tables"), (["two"], "RESULTS2")]
)
def test_what_does_not_go_with_it_is_refused(capsys, options, contrary):
    assert main(["out", *options, "--watch"]) == 2
    assert capsys.readouterr().err.startswith(f"error: --watch and {contrary} contradict each other; allowed: ")


@pytest.mark.parametrize("seconds", [60, None])
def test_a_page_that_is_watched_asks_its_browser_and_no_other_does(tmp_path, monkeypatch, seconds):
    template = Path(build.__file__).with_name("web").joinpath("page.html").read_text()
    assert template.count("<head>") == 1
    monkeypatch.setattr(build, "render", lambda _: template)
    path = build._write_page(cast(Page, None), "tiny", out=str(tmp_path / "page.html"), reloaded_seconds=seconds)
    assert path.read_text().count(f"<head>\n{REFRESH}\n") == (seconds is not None)
