"""How far a study is, cell by cell, as a table that fits a terminal; read from a store while runs are at work there.

Reads what is new since the last look, and of the runs at work what their signs of life say.
"""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rdstudy.results.presence import runs_at_work
from rdstudy.results.store import Store
from rdstudy.results.tables import Damaged
from rdstudy.study import Member
from rdstudy.study.cells import cell_name, telling_factors
from rdstudy.study.factors import CELL_FACTORS

_SILENT_SECONDS = 60.0  # without a sign of life of a run, nothing that it does is counted
_LEAST_NAME = 12  # letters that the name of a cell keeps before a column goes


@dataclass(frozen=True)
class CellState:
    """How far the members of a cell are."""

    name: str
    members: int
    done: int = 0  # stored, with an outcome that is ok
    running: int = 0
    failed: int = 0  # stored, with another one
    best: float = math.nan  # the least test distortion so far, nats per image
    beta: float = math.nan  # where that is


class Board:
    """The cells of a study, and how far each is, of those of some members."""

    def __init__(
        self, store: Store, study: str, members: Iterable[Member], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store, self._study, self._clock = store, study, clock
        self._members = {member.member_id: member for member in members}
        self._cells = {member_id: member.cell_id for member_id, member in self._members.items()}
        self._files: set[str] = set()
        self._rows: dict[str, dict[str, Any]] = {}  # member id -> its test row, the best outcome of all runs
        self._beats: dict[str, tuple[bytes, float]] = {}  # token -> the last sign of life, and when it came

    def states(self) -> list[CellState]:
        """Of each cell, in the order of the study."""
        self._read()
        running = self._running()
        states = {cell: CellState(name, 0, running=running[cell]) for cell, name in self._named_cells().items()}
        for member_id, member in self._members.items():
            cell = self._cells[member_id]
            states[cell] = _with(states[cell], self._rows.get(member_id), member.beta)
        return list(states.values())

    def lines(self, columns: int, rows: int) -> list[str]:
        """The table, in at most so many columns and rows."""
        return table_of(self.states(), columns, rows)

    def _named_cells(self) -> dict[str, str]:
        """Id of each cell -> the levels by which it differs from others."""
        cells = {self._cells[member_id]: member for member_id, member in self._members.items()}
        levels = {name: [cell.level(name) for cell in cells.values()] for name in CELL_FACTORS}
        telling = telling_factors(levels)
        return {
            cell_id: cell_name({name: cell.level(name) for name in telling}, among=levels)
            for cell_id, cell in cells.items()
        }

    def _read(self) -> None:
        """Read the files of rows that were not there before."""
        for name, part in self._store.rows.since(self._files).items():
            self._files.add(name)
            if isinstance(part, Damaged):
                continue
            columns = ("member_id", "subset", "outcome", "distortion")
            for row in part.select(columns).to_pylist():
                known = self._rows.get(row["member_id"])
                if row["subset"] == "test" and (known is None or known["outcome"] != "ok"):
                    self._rows[row["member_id"]] = row

    def _running(self) -> Counter[str]:
        """Cell id -> members in training, as the runs of this study say that are alive."""
        running: Counter[str] = Counter()
        now = self._clock()
        for run in runs_at_work(self._store):
            beat = self._store.blobs.read_beat(run.token)
            last, since = self._beats.get(run.token, (b"", now))
            if beat != last:
                since = now
            self._beats[run.token] = (beat, since)
            if run.study == self._study and now - since < _SILENT_SECONDS:
                running.update(at_work_in(beat))
        return running


def at_work_in(beat: bytes) -> dict[str, int]:
    """Cell id -> members in training, as a run's sign of life says; nothing where it says nothing."""
    try:
        said = json.loads(beat.partition(b"\n")[2] or b"{}")
        return {str(cell): int(members) for cell, members in said.items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def _with(state: CellState, row: dict[str, Any] | None, beta: float) -> CellState:
    """A cell with one member more."""
    state = replace(state, members=state.members + 1)
    if row is None:
        return state
    if row["outcome"] != "ok":
        return replace(state, failed=state.failed + 1)
    best = row["distortion"]
    if best is not None and not best >= state.best:
        state = replace(state, best=best, beta=beta)
    return replace(state, done=state.done + 1)


def table_of(states: Sequence[CellState], columns: int, rows: int) -> list[str]:
    """One line a cell and one for all, each at most so wide; cells that are not at work go where there are too many.

    D of cells is not compared: they may be of different data.
    """
    shown = _chosen(states, max(1, rows - 2))
    whole = CellState("all", *(sum(getattr(state, name) for state in states) for name in _COUNTS))
    cells = [_entries(state) for state in (*shown, *([whole] if len(states) > 1 else []))]
    if len(shown) < len(states):
        cells[-1][0] = f"all, {len(states) - len(shown)} not shown"
    for kept, heads in ((5, _HEADS), (4, _HEADS), (4, _NARROW_HEADS)):  # where the best D is goes first
        lines = [["cell", *heads[:kept]], *(line[: 1 + kept] for line in cells)]
        widths = [max(len(line[at]) for line in lines) for at in range(1, 1 + kept)]
        longest = max(len(line[0]) for line in lines)
        room = columns - sum(width + 2 for width in widths)
        if room >= min(_LEAST_NAME, longest):
            break
    names = max(1, min(room, longest))
    return [_line(line, [names, *widths])[:columns].rstrip() for line in lines]


def _line(entries: Sequence[str], widths: Sequence[int]) -> str:
    numbers = "".join(f"  {entry:>{width}}" for entry, width in zip(entries[1:], widths[1:], strict=True))
    return _short(entries[0], widths[0]).ljust(widths[0]) + numbers


_COUNTS = ("members", "done", "running", "failed")
_HEADS = ("done", "running", "failed", "best test D", "at β")
_NARROW_HEADS = ("done", "run", "bad", "test D")


def _chosen(states: Sequence[CellState], most: int) -> list[CellState]:
    """Of many cells those at work, then those with failures, then those with something to do; in their order."""
    ranked = sorted(states, key=lambda state: (not state.running, not state.failed, state.done == state.members))
    chosen = {id(state) for state in ranked[:most]}
    return [state for state in states if id(state) in chosen]


def _entries(state: CellState) -> list[str]:
    best = "" if math.isnan(state.best) else f"{state.best:.2f}"
    beta = "" if math.isnan(state.best) else f"{state.beta:g}"
    counts = [f"{state.done}/{state.members}", str(state.running or ""), str(state.failed or "")]
    return [state.name or "all", *counts, best, beta]


def _short(name: str, letters: int) -> str:
    """A name in so many letters: what differs stands at both ends."""
    if len(name) <= letters:
        return name
    head = (letters - 1) // 2
    tail = letters - 1 - head
    return f"{name[:head]}…{name[-tail:] if tail else ''}"
