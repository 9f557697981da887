"""Two results folders side by side: rows lost, doubled and changed, and what work left behind."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rdstudy.results import schema
from rdstudy.results.store import Store

CHANGING = {"run_id", "wall_seconds", "finished_at", "peak_memory_bytes", "measure_seconds"}
"""Columns that differ from run to run."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    **schema.OF_MEMBERS,
    "members": ("member_id", "subset"),
    "neighbours": ("dataset", "split", "study_seed", "image"),
    "examples": ("dataset", "image"),
}
_MOST_NAMED = 3


@dataclass(frozen=True)
class Differences:
    """In the rows of one table, those of an undisturbed run being right.

    Attributes:
        table: its name.
        lost: rows that are not there.
        doubled: rows that are there more than once.
        changed: rows with other values, or that nobody asked for.
        example: one of them in words; empty where there are none.
    """

    table: str
    lost: int
    doubled: int
    changed: int
    example: str

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.changed)

    def __str__(self) -> str:
        return f"{self.table}: {self.lost} rows lost, {self.doubled} doubled, {self.changed} changed ({self.example})"


def table_differences(out: str | Path, undisturbed: str | Path) -> list[Differences]:
    """Tables in which two results folders do not agree.

    Raises:
        ValueError: one of them is no results folder.
    """
    snapshots = [Store.open(str(folder)).snapshot() for folder in (out, undisturbed)]
    compared = [compare(name, *(each.table(name).to_pylist() for each in snapshots)) for name in schema.TABLES]
    return [differences for differences in compared if differences]


def compare(table: str, rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> Differences:
    """What is wrong with the rows of a table."""
    got, right = ([(_key(table, row), _values(row)) for row in given] for given in (rows, expected))
    count, values = Counter(key for key, _ in got), dict(right)
    lost = [key for key in values if key not in count]
    doubled = [key for key, times in count.items() if times > 1]
    changed = sorted({key for key, value in got if values.get(key) != value})
    examples = [f"lost {lost[0]}"] if lost else [f"doubled {doubled[0]}"] if doubled else []
    if changed:
        examples.append(f"changed {changed[0]}: {_columns(dict(got)[changed[0]], values.get(changed[0]))}")
    return Differences(table, len(lost), len(doubled), len(changed), "; ".join(examples))


def leftovers(out: Path) -> list[str]:
    """What work left in a results folder on this machine: checkpoints, files being written, signs of life."""
    return [
        str(path.relative_to(out))
        for folder in ("checkpoints", "tmp", "runs")
        for path in sorted((out / folder).rglob("*"))
        if path.is_file()
    ]


def differences(out: Path, undisturbed: Path) -> Iterator[str]:
    """All of it in words."""
    yield from map(str, table_differences(out, undisturbed))
    if left := leftovers(out):
        yield f"left over: {', '.join(left[:_MOST_NAMED])}"


def _key(table: str, row: Mapping[str, Any]) -> str:
    return " ".join(str(row[column]) for column in _KEYS[table])


def _values(row: Mapping[str, Any]) -> str:
    """As text, in which NaN equals NaN and every bit of a float is told."""
    return repr({column: value for column, value in row.items() if column not in CHANGING})


def _columns(changed: str, right: str | None) -> str:
    """Where two rows begin to differ."""
    if right is None:
        return "nobody asked for it"
    at = next((at for at, (a, b) in enumerate(zip(changed, right, strict=False)) if a != b), 0)
    return f"{changed[max(0, at - 60) : at + 20]!r}, right is {right[max(0, at - 20) : at + 20]!r}"
