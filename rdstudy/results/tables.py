"""Rows <-> the bytes of a Parquet file, and which rows of several runs are read. Knows no files."""

import functools
import hashlib
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rdstudy.results import schema
from rdstudy.study import NUMERICS_VERSION, Member
from rdstudy.study.member import IdText, nested
from rdstudy.study.words import one_line

_DIGEST_KEY = b"rdstudy.digest"
_NO_DIGEST = b"0" * 32
_FILE_KEY = b"rdstudy.file"
_DIGEST = re.compile(re.escape(_DIGEST_KEY) + rb"..([0-9a-f]{32})", re.DOTALL)  # two bytes of Thrift between them
_FEW_ROWS = 100  # with fewer, zstd and dictionaries make a file larger, and two to three times slower to read
OUTCOMES = ("ok", "nonfinite", "failed")
"""How training may end: of two runs of one member, the better outcome is read."""


@dataclass(frozen=True)
class Damaged:
    """A file that cannot be read, and what is wrong with it."""

    path: str
    reason: str


def to_parquet(name: str, rows: Sequence[Mapping[str, Any]], *, file: str = "") -> bytes:
    """A file with these rows of a table.

    Args:
        name: of the table.
        rows: column -> value.
        file: its name, without folder and ending, which it says: see `written_as`.

    Raises:
        ValueError: a column that is not in the schema.
    """
    expected = schema.TABLES[name]
    unknown = {column for row in rows for column in row} - set(expected.names)
    if unknown:
        raise ValueError(f"table {name!r} has no column {sorted(unknown)}; allowed: {', '.join(expected.names)}")
    table = pa.Table.from_pylist(rows, schema=expected.with_metadata({_DIGEST_KEY: _NO_DIGEST, _FILE_KEY: file}))
    return _to_bytes(table)


def without_members(content: bytes, ids: Collection[str]) -> bytes:
    """A file of `to_parquet`, of this version or another one, without the rows of some members.

    Returns:
        All other rows, with the columns that this version does not know; empty where there are no other rows.
    """
    rows = pq.ParquetFile(pa.BufferReader(content)).read(use_threads=False)
    kept = rows.filter(pc.invert(pc.is_in(rows["member_id"], value_set=pa.array(sorted(ids), pa.string()))))
    if not len(kept):
        return b""
    said = kept.schema.metadata or {}
    place = {_DIGEST_KEY: _NO_DIGEST} if _DIGEST_KEY in said else {}
    return _to_bytes(kept.replace_schema_metadata({**said, **place}))


def _to_bytes(table: pa.Table) -> bytes:
    """The file of a table, with its digest where its schema has a place for one."""
    sink = io.BytesIO()
    few = len(table) < _FEW_ROWS
    pq.write_table(
        table, sink, compression="snappy" if few else "zstd", use_dictionary=not few, write_page_checksum=True
    )
    content = sink.getvalue()
    start, end = _digest_span(content)
    return content[:start] + _digest(content, start, end) + content[end:] if end else content


def from_parquet(name: str, content: bytes, *, path: str, columns: Collection[str] | None = None) -> pa.Table | Damaged:
    """The rows of a file in the columns of today: a column that it lacks is null, or as `schema.BEFORE` says.

    A file is damaged where its bytes are not those that were written, where it is of another table, or where settings
    of a member are not those that its id is a hash of. Checksums of pages are Parquet's own and leave out its footer,
    which can give a column another name: the digest in the footer covers every byte of the file.

    Args:
        name: of the table.
        content: of the file.
        path: of the file, for messages.
        columns: those that are read, `schema.REQUIRED` among them; None for all. Ids are held against settings where
            both are read: what says that a member is stored reads both.
    """
    try:
        start, end = _digest_span(content)
        if end and content[start:end] != _digest(content, start, end):
            return Damaged(path, "its bytes are not those that were written")
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        expected = _expected(name, None if columns is None else frozenset(columns))
        table = file.read(expected.names, use_threads=False)  # half the time of `read_table`; files come in parallel
        rows = _in_columns(name, table, expected)
        _check_values(name, rows)
        of_now = set(file.schema.names) <= set(schema.MEMBERS.names)  # else of a later version, with more settings
        if name == "members" and of_now and set(_CHECKED) <= set(expected.names):
            _check_settings(rows, written_here=bool(end))
    except (pa.ArrowException, OSError, _OtherTableError) as error:
        return Damaged(path, one_line(error))
    return rows


@functools.cache
def _expected(name: str, columns: frozenset[str] | None) -> pa.Schema:
    """The columns of a table that are read."""
    return pa.schema([field for field in schema.TABLES[name] if columns is None or field.name in columns])


def _in_columns(name: str, table: pa.Table, expected: pa.Schema) -> pa.Table:
    """What was read of a file, in columns of today."""
    said = {_FILE_KEY: (table.schema.metadata or {}).get(_FILE_KEY, b"")}
    if table.schema.equals(expected):
        return table.replace_schema_metadata(said)
    columns = dict(zip(table.column_names, table.columns, strict=True))
    if len(columns) < table.num_columns:
        raise _OtherTableError("it has two columns of one name")
    made = [_column(name, field, columns, len(table)) for field in expected]
    return pa.table(made, schema=expected.with_metadata(said))


def written_as(rows: pa.Table) -> str:
    """The name under which the file of some rows was written; empty where it does not say, as in an earlier version."""
    said: bytes = (rows.schema.metadata or {}).get(_FILE_KEY, b"")
    return said.decode(errors="replace")


class _OtherTableError(Exception):
    """A file that holds something else than rows of its table: what."""


def _column(name: str, field: pa.Field, columns: Mapping[str, pa.ChunkedArray], length: int) -> pa.ChunkedArray:
    """A column of a table, from the columns of a file."""
    column = columns.get(field.name)
    if column is None:
        if field.name in schema.REQUIRED[name]:
            raise _OtherTableError(f"it is no file of the table {name}: it has no column {field.name!r}")
        return pa.repeat(pa.scalar(schema.BEFORE.get(field.name), field.type), length)
    if column.type == field.type:
        return column
    if not _fits(column.type, field.type):
        raise _OtherTableError(f"its column {field.name!r} is of type {column.type}, and not {field.type}")
    return column.cast(field.type)


_FAMILIES = (
    (pa.types.is_integer,),
    (pa.types.is_floating, pa.types.is_integer),
    (pa.types.is_string, pa.types.is_large_string),
    (pa.types.is_binary, pa.types.is_large_binary),
    (pa.types.is_boolean,),
    (pa.types.is_timestamp,),
    (pa.types.is_list, pa.types.is_large_list),
)
"""Per kind of column, what other programs may write for it."""


def _fits(kind: pa.DataType, expected: pa.DataType) -> bool:
    """Whether a column of one type can stand for one of another: numbers are never read as text."""
    family = next(family for family in _FAMILIES if family[0](expected))
    return bool(pa.types.is_null(kind)) or any(is_one(kind) for is_one in family)


def _digest_span(content: bytes) -> tuple[int, int]:
    """Where the digest stands in the footer of a file; (0, 0) where it has none, as files of an earlier version."""
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    digest = _DIGEST.search(content, max(footer, 0))
    return digest.span(1) if digest else (0, 0)


def _digest(content: bytes, start: int, end: int) -> bytes:
    """Of all bytes of a file but the digest itself, 32 hex digits."""
    digest = hashlib.blake2b(content[:start], digest_size=16)
    digest.update(content[end:])
    return digest.hexdigest().encode()


def _check_values(name: str, rows: pa.Table) -> None:
    for column in schema.REQUIRED[name]:
        if rows[column].null_count:
            raise _OtherTableError(f"its column {column!r} has rows without a value")
    for outcome in rows["outcome"].unique().to_pylist() if name == "members" else ():
        if outcome not in OUTCOMES:
            raise _OtherTableError(f"an outcome is {outcome!r}")


def _check_settings(rows: pa.Table, *, written_here: bool) -> None:
    """Hold that each member's id is the hash of the settings beside it.

    Rows of an earlier version lack a part of the settings, and cannot be checked.

    Args:
        rows: of `members`.
        written_here: whether the file has its digest: levels that are not allowed are then those of a later version.
    """
    id_text = functools.cache(_id_text)
    for *cell, beta, seed, member_id in set(zip(*(rows[name].to_pylist() for name in _CHECKED), strict=True)):
        settings = dict(zip(_CHECKED, (*cell, beta, seed), strict=False))
        numerics = settings["numerics_version"]
        if None in (numerics, settings["trajectory_points"]) or numerics > NUMERICS_VERSION:
            continue
        try:  # a member is only made where the settings as they stand have another id
            same = id_text(*cell).member_id(beta, seed) == member_id
            same = same or member_of(settings).id_under(numerics) == member_id
        except (ValueError, TypeError):
            same = written_here
        if not same:
            raise _OtherTableError(f"the settings beside member {member_id} are not those of that member")


def _id_text(*cell: Any) -> IdText:
    """Of the values of `_CHECKED` that members of a cell have in common."""
    settings = dict(zip(_CHECKED, cell, strict=False))
    return IdText.of(nested(settings), settings["numerics_version"])


def member_of(row: Mapping[str, Any]) -> Member:
    """The member that a row of `members` is about, by its settings.

    Raises:
        ValueError: settings that are not allowed.
        TypeError: settings that are missing, as in rows of an earlier version.
    """
    return Member.from_dict(nested(row))


_SHARED = tuple(name for name in schema.SETTINGS if name not in ("beta", "seed"))
_CHECKED = (*_SHARED, "numerics_version", "beta", "seed", "member_id")
"""The columns of `members` that tell whether settings are those of the id."""


def best_runs(members: pa.Table) -> pa.Table:
    """Of the runs of one member keep the best outcome, the earliest of these, so that the choice never changes."""
    runs = members.select(["member_id", "run_id", "finished_at"])
    runs = runs.append_column("rank", pc.index_in(members["outcome"], pa.array(OUTCOMES)))
    runs = runs.sort_by([(name, "ascending") for name in ("rank", "finished_at", "run_id")])
    best = runs.group_by("member_id", use_threads=False).aggregate([("run_id", "first")])
    at = pc.index_in(members["member_id"], value_set=best["member_id"].combine_chunks())
    return members.filter(pc.equal(members["run_id"], best["run_id_first"].take(at)))


def trained_runs(members: pa.Table, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The runs that took a known time and of which a member ended well; others are not trained to their end.

    Returns:
        Of each, the number of its `members`, and columns of its first row.
    """
    timed = pc.and_kleene(pc.not_equal(members["wall_seconds"], 0), pc.is_valid(members["device"]))
    rows = members.filter(pc.and_(pc.equal(members["subset"], "train"), timed))
    rows = rows.append_column("is_ok", pc.equal(rows["outcome"], "ok"))
    runs = rows.group_by("run_id", use_threads=False)  # in the order of rows, so that the first is the first
    runs = runs.aggregate([("run_id", "count"), ("is_ok", "any"), *((name, "first") for name in columns)])
    runs = runs.filter(runs["is_ok_any"]).select(["run_id_count", *(f"{name}_first" for name in columns)])
    rows_of: list[dict[str, Any]] = runs.rename_columns(["members", *columns]).to_pylist()
    return rows_of


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
