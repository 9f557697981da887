"""The line that lives: it fits the terminal, and what matters most stays on it."""

import time

import pytest

from rdstudy.planning.packs import Pack
from rdstudy.running.progress import PackProgress, ProgressLine, fitted
from tests.running.terminals import screen, terminal
from tests.running.test_worker import MEMBERS

FULL = "2/4 models, 2.0 models/min, 60 s so far, 60 s left, 1 not ok, 8 GPUs, 97% at work, $1234.56"


def make(stream, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    packs = [Pack(MEMBERS[:2]), Pack(MEMBERS[2:])]
    line = ProgressLine(packs, stream=stream)
    line.usage = ("8 GPUs", "97% at work", "$1234.56")
    line.update(packs[0].pack_id, PackProgress(2, 1, 1.0))
    monkeypatch.setattr(time, "monotonic", lambda: line._started + 60.0)
    return line


@pytest.mark.parametrize(
    ("columns", "shown"),
    [
        (200, FULL),
        (80, "2/4 models, 2.0 models/min, 60 s left, 1 not ok, 8 GPUs, 97% at work, $1234.56"),
        (40, "2/4 models, 60 s left, 1 not ok"),
        (12, "2/4 models"),
        (9, "2/4 mode"),
    ],
)
def test_the_line_stays_one_line_of_the_terminal(columns, shown, monkeypatch):
    with terminal(columns) as screen_of:
        line = make(screen_of.stream, monkeypatch)
        for _ in range(3):
            line._shown = 0.0
            line.tick()
        assert screen_of.screen() == [shown]


def test_columns_that_the_user_names_count_and_a_log_has_all(monkeypatch):
    with terminal(200) as screen_of:
        line = make(screen_of.stream, monkeypatch)
        monkeypatch.setenv("COLUMNS", "40")
        line._shown = 0.0
        line.tick()
        assert screen_of.screen() == ["2/4 models, 60 s left, 1 not ok"]
        log: list[str] = []
        line._log = log.append
        line.close()
        assert log == [FULL]


def test_what_is_said_stands_above_the_line_and_is_not_cut(monkeypatch):
    with terminal(40) as screen_of:
        line = make(screen_of.stream, monkeypatch)
        line.say("x" * 50)
        line._shown = 0.0
        line.tick()
        assert screen_of.screen()[-3:] == ["x" * 40, "x" * 10, "2/4 models, 60 s left, 1 not ok"]


def test_that_all_is_well_goes_before_the_time_left_and_failures_stay():
    assert fitted(["a", "time", "0 bad"], ["0 bad", "time"], 7) == "a, time"
    assert fitted(["a", "time", "7 bad"], ["time", "7 bad"], 8) == "a, 7 bad"


def test_the_screen_wraps_and_erases_as_a_terminal_does():
    assert screen("abcdef", 4) == ["abcd", "ef"]
    assert screen("abcd\r\x1b[2Kx", 4) == ["x"]
    assert screen("a\nb\n\x1b[2A\r\x1b[Jc\n", 4) == ["c", ""]
