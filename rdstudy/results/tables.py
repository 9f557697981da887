"""Rows <-> the bytes of a Parquet file, and which rows of several runs are read. Knows no files."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rdstudy.checks import one_line
from rdstudy.results import schema

_RANK = ("ok", "nonfinite", "failed")  # of two runs of one member, the better outcome is read


@dataclass(frozen=True)
class Damaged:
    """A file that cannot be read, and what is wrong with it."""

    path: str
    reason: str


def to_parquet(name: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
    """A file with these rows of a table.

    Raises:
        ValueError: a column that is not in the schema.
    """
    expected = schema.TABLES[name]
    unknown = {column for row in rows for column in row} - set(expected.names)
    if unknown:
        raise ValueError(f"table {name!r} has no column {sorted(unknown)}; allowed: {', '.join(expected.names)}")
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=expected), sink, compression="zstd")
    return sink.getvalue()


def from_parquet(name: str, content: bytes, *, path: str) -> pa.Table | Damaged:
    """The rows of a file in the columns of today: a column that it lacks is null."""
    expected = schema.TABLES[name]
    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        return Damaged(path, one_line(error))
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in expected
    ]
    return pa.table(columns, schema=expected)


def best_runs(members: pa.Table) -> pa.Table:
    """Of the runs of one member keep the best outcome, the earliest of these, so that the choice never changes."""
    runs = members.select(["member_id", "run_id", "outcome", "finished_at"])
    rank = pc.index_in(runs["outcome"], pa.array(_RANK))
    runs = runs.append_column("rank", rank).sort_by([(name, "ascending") for name in ("rank", "finished_at", "run_id")])
    best = dict(zip(reversed(runs["member_id"].to_pylist()), reversed(runs["run_id"].to_pylist()), strict=True))
    pairs = zip(members["member_id"].to_pylist(), members["run_id"].to_pylist(), strict=True)
    return members.filter(pa.array([best[member] == run for member, run in pairs], pa.bool_()))


def of_runs(table: pa.Table, runs: pa.Table) -> pa.Table:
    """The rows of these runs of members, in their order; rows are joined by number, since Arrow joins no lists."""
    keys = ["member_id", "run_id"]
    numbers = pa.array(range(len(table)), pa.int64())
    kept = table.select(keys).append_column("row", numbers).join(runs, keys, join_type="left semi")["row"]
    return table.filter(pc.is_in(numbers, value_set=kept.combine_chunks()))


def distinct(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Sorted by a key, and of rows that agree in it only the first: a measuring that was cut off is done again."""
    table = table.append_column("row", pa.array(range(len(table)), pa.int64()))
    order = [(column, "ascending") for column in [*key, "row"]]
    first = table.group_by(list(key)).aggregate([("row", "min")])["row_min"]
    return table.filter(pc.is_in(table["row"], value_set=first.combine_chunks())).sort_by(order).drop_columns(["row"])
