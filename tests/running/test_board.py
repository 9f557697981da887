"""The table of cells that a follower sees: what it counts, how it fits, and that it stays where it is."""

import dataclasses
import io
import math
from pathlib import Path

import pytest

from rdstudy.planning.packs import Pack
from rdstudy.results.presence import Presence, this_run
from rdstudy.results.rows import new_run_id
from rdstudy.results.store import Store
from rdstudy.running.board import Board, CellState, at_work_in, table_of
from rdstudy.running.log import follow
from rdstudy.running.progress import PackProgress, ProgressLine
from tests.running.terminals import screen, terminal
from tests.running.test_worker import MEMBER

CELLS = [dataclasses.replace(MEMBER, depth=depth, beta=beta) for depth in (1, 3) for beta in (0.1, 1.0, 5.0)]


def store_row(store: Store, member, outcome: str = "ok", distortion: float | None = None) -> None:
    run_id = new_run_id()
    rows = [
        {"member_id": member.member_id, "run_id": run_id, "subset": subset, "outcome": outcome, "distortion": value}
        for subset, value in (("train", 0.25), ("test", distortion))
    ]
    store.rows.write_run(run_id, {"members": rows})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(str(tmp_path / "out"))


def test_cells_are_counted_and_the_best_is_of_the_test_images(store):
    board = Board(store, "tiny", CELLS)
    first, second = board.states()
    assert (first.name, first.members, first.done, first.running, first.failed) == ("1 layer", 3, 0, 0, 0)
    assert math.isnan(first.best)
    store_row(store, CELLS[0], distortion=31.0)
    store_row(store, CELLS[1], distortion=29.5)
    store_row(store, CELLS[3], "failed")
    store_row(store, CELLS[4], "nonfinite")
    store_row(store, dataclasses.replace(MEMBER, depth=2), distortion=1.0)  # of another study
    first, second = board.states()
    assert (first.done, first.failed, first.best, first.beta) == (2, 0, 29.5, 1.0)
    assert (second.done, second.failed) == (0, 2)
    store_row(store, CELLS[3], distortion=40.0)  # tried again by the next run
    assert (board.states()[1].done, board.states()[1].failed, board.states()[1].best) == (1, 1, 40.0)


def test_a_follower_sees_the_names_that_cells_have_on_a_page(store):
    own = [f"own(k=3)@{digit * 16}" for digit in "ab"]
    parts = [dataclasses.replace(MEMBER, prior=prior) for prior in own]
    names = [state.name for state in Board(store, "tiny", parts).states()]
    assert names == [f"own(k=3) prior @{'a' * 16}", f"own(k=3) prior @{'b' * 16}"]
    wide = [
        dataclasses.replace(MEMBER, architecture=name, width=width) for name, width in (("mlp", 512), ("linear", 1))
    ]
    assert [state.name for state in Board(store, "tiny", wide).states()] == ["MLP", "linear"]


def test_each_file_is_read_once(store, monkeypatch):
    board = Board(store, "tiny", CELLS)
    store_row(store, CELLS[0], distortion=31.0)
    board.states()
    read, names = store.rows._read, []

    def count(table: str, name: str):
        names.append(name)
        return read(table, name)

    monkeypatch.setattr(store.rows, "_read", count)
    store_row(store, CELLS[1], distortion=30.0)
    board.states()
    board.states()
    assert len(names) == 1


def test_what_runs_is_said_by_signs_of_life_and_forgotten_when_they_end(store):
    pack = Pack(tuple(CELLS[:3]))
    line = ProgressLine([pack, Pack(tuple(CELLS[3:]))], stream=io.StringIO())
    now = [0.0]
    board = Board(store, "tiny", CELLS, clock=lambda: now[0])
    assert line.at_work() == []
    line.update(pack.pack_id, PackProgress(1, 0, 0.4))
    assert line.at_work() == CELLS[1:3]
    run = this_run("tiny", ())
    presence = Presence(store, run)
    presence._write()
    presence.doing = lambda: f'{{"{CELLS[0].cell_id}": {len(line.at_work())}}}'
    presence._beat()
    assert [state.running for state in board.states()] == [2, 0]
    now[0] = 59.0
    assert board.states()[0].running == 2
    now[0] = 61.0
    assert board.states()[0].running == 0, "that run was killed"
    presence._beat()
    assert board.states()[0].running == 2
    assert [state.running for state in Board(store, "other", CELLS).states()] == [0, 0]
    line.update(pack.pack_id, PackProgress(3, 0, 1.0))
    assert line.at_work() == []
    line.update(pack.pack_id, PackProgress(2, 0, 0.9))
    line.ended(pack.pack_id)
    assert line.at_work() == []


@pytest.mark.parametrize(
    "beat", [b"", b"7", b"7\n", b"7\nnot json", b"7\n[1]", b'7\n{"a": "x"}', b"7\n" + b"[" * 10**5]
)
def test_a_sign_of_life_of_another_version_says_nothing(beat):
    assert at_work_in(beat) == {}


STATES = [
    CellState("1 layer, cv(16384), a long name of a part", 60, 12, 4, 0, 29.512, 0.1),
    CellState("3 layers, cv(16384), a long name of a part", 60, 0, 0, 2),
]


WHOLE = [
    "cell                                          done  running  failed  best test D  at β",
    "1 layer, cv(16384), a long name of a part    12/60        4                29.51   0.1",
    "3 layers, cv(16384), a long name of a part    0/60                2",
    "all                                         12/120        4       2",
]
AT_80 = [
    "cell                                    done  running  failed  best test D  at β",
    "1 layer, cv(16384…ong name of a part   12/60        4                29.51   0.1",
    "3 layers, cv(1638…ong name of a part    0/60                2",
    "all                                   12/120        4       2",
]
AT_40 = [
    "cell              done  run  bad  test D",
    "1 laye… a part   12/60    4        29.51",
    "3 laye… a part    0/60         2",
    "all             12/120    4    2",
]


@pytest.mark.parametrize(("columns", "expected"), [(200, WHOLE), (86, WHOLE), (80, AT_80), (40, AT_40)])
def test_the_table_fits_the_terminal(columns, expected):
    assert table_of(STATES, columns, 50) == expected


@pytest.mark.parametrize("columns", [60, 30, 20, 9, 2])
def test_no_line_of_it_is_ever_too_long(columns):
    lines = table_of(STATES, columns, 50)
    assert len(lines) == 4
    assert max(map(len, lines)) <= columns


def test_where_there_are_more_cells_than_lines_those_at_work_stay():
    states = [CellState(f"cell {number}", 2, done=2) for number in range(30)]
    states[20] = CellState("cell 20", 2, running=1)
    states[25] = CellState("cell 25", 2, failed=1)
    states[28] = CellState("cell 28", 2)
    lines = table_of(states, 80, 6)
    assert len(lines) == 6
    assert [line.split("  ")[0].strip() for line in lines] == [
        "cell",
        "cell 0",
        "cell 20",
        "cell 25",
        "cell 28",
        "all, 26 not shown",
    ]


LOG = (
    "2026-01-01 00:00:00  study tiny: 6 members\n"
    "2026-01-01 00:01:00  1/6 models, 2.0 models/min, 60 s so far, 60 s left, 0 not ok\n"
)
MORE = (
    "2026-01-01 00:02:00  pack a on b: exception (a bug); again\n"
    "2026-01-01 00:02:00  2/6 models, 1.0 models/min, 120 s so far, 60 s left, 0 not ok\n"
    "2026-01-01 00:03:00  end of this run: exit status 0\n"
)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_follower_at_a_terminal_sees_one_table_below_the_log(store, monkeypatch, columns):
    for name in ("COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    board = Board(store, "tiny", CELLS)
    store.blobs.write_log("tiny", "20260101T000000Z", LOG)
    seen = []

    def sleep(_: float) -> None:
        seen.append(shown.written())
        store_row(store, CELLS[0], distortion=31.0)
        store.blobs.write_log("tiny", "20260101T000000Z", LOG + MORE)

    with terminal(columns) as shown:
        follow(store, "tiny", board=board.lines, stream=shown.stream, sleep=sleep)
        seen.append(shown.written())
    lines = screen("".join(seen), columns)
    text = "\n".join(lines)
    assert text.count("cell ") == 1
    assert [line.split()[:3] for line in lines if "layer" in line] == [["1", "layer", "1/3"], ["3", "layers", "0/3"]]
    assert "31.00" in text
    assert "1/6 models" not in text
    assert lines[-2].startswith("2/6 models, 1.0 models/min"[: columns - 1])
    assert "exception (a bug)" in text.replace("\n", "")


def test_a_follower_without_a_terminal_gets_plain_lines_and_the_table_once(store):
    store.blobs.write_log("tiny", "20260101T000000Z", LOG)
    store_row(store, CELLS[0], distortion=31.0)
    stream = io.StringIO()
    board = Board(store, "tiny", CELLS)
    follow(
        store,
        "tiny",
        board=board.lines,
        stream=stream,
        sleep=lambda _: store.blobs.write_log("tiny", "20260101T000000Z", LOG + MORE),
    )
    text = stream.getvalue()
    assert text.startswith(LOG + MORE)
    assert "\x1b" not in text
    assert "\r" not in text
    assert text.count("best test D") == 1
