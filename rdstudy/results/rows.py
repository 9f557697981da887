"""The tables of a store as files: who writes them, what survives a crash, and what is read of them."""

import errno
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.fs import FileInfo

from rdstudy.results import schema
from rdstudy.results.files import Files, StorageError
from rdstudy.results.snapshot import OF_ONE_RUN, NeighboursKey, Parts, Snapshot, is_own_name, stem
from rdstudy.results.tables import OUTCOMES, Damaged, from_parquet, to_parquet, without_members, written_as
from rdstudy.study.words import one_line

_READERS = 32  # files read at the same time: each is assumed to wait some 30 ms for a bucket
_LISTED = (("members",), ("measures",), tuple(name for name in schema.TABLES if name not in ("members", "measures")))
"""Tables in the order in which they are listed: what is written last is listed first, so that no row is read whose
others are not."""


class Rows:
    """The rows of all studies of a store: Parquet files, `<table>/<run_id>.parquet`.

    A training of one or more members is a run, and all its files carry its id.

    Who writes: any number of processes at once, on any machines. No two write one file: a run's id is its own. What is
    measured of a member later is stored under a name of its own, and its rows carry the run of the member's training.
    Files of `examples` are a data set's and those of `neighbours` a split's: whoever computes them computes the same.

    Atomic: a file, and through the order of its files a run.

    What survives a crash: a run's `members` file is written last, and what has no row in `members` is not read. Of what
    is measured later the `measures` file is written last: what has no row there is measured again. So a crash costs the
    runs at work, never a row that was stored, and half a run is as none.

    What never changes: a file of a run. It is not edited, not replaced and not deleted; one that cannot be read is
    renamed to `<name>.damaged`, with all files of its run. Two runs of one member are both kept, and one is read.
    `forget` alone, which a person asks for while no run is at work, puts a file without the rows of some members in
    the place of one that has them, `members` first: cut short, it leaves rows that are not read.

    Args:
        files: of the store.
        check: holds the folder against the store's identity before each write, see `Store.check_folder`.
    """

    def __init__(self, files: Files, check: Callable[[], None]) -> None:
        self._files, self._check = files, check
        self._outcomes: dict[str, dict[str, str]] = {}  # of files of `members` that were read: a file never changes

    def write_run(self, run_id: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store the rows of one run, all of them or none.

        Args:
            run_id: of `new_run_id`.
            tables: table name -> rows, column -> value. Columns left out are null.

        Raises:
            ValueError: a column or table that is not in the schema.
        """
        self._check()
        for name in sorted(tables, key=lambda name: name == "members"):
            self._write(f"{name}/{run_id}.parquet", name, tables[name])

    def write_measured(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store what was measured of members after their runs.

        Args:
            tables: as for `write_run`; rows carry the run of the member that was measured.
        """
        name = new_run_id()
        self._check()
        for table in sorted(tables, key=lambda table: table == "measures"):
            self._write(f"{table}/{name}.parquet", table, tables[table])

    def write_examples(self, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the example images of a data set, in place of those that were there."""
        self._check()
        self._write(f"examples/{dataset}.parquet", "examples", rows)

    def write_neighbours(self, key: NeighboursKey, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the neighbours of a split, in place of those that were there."""
        self._check()
        self._write(key.name, "neighbours", [{**row, **asdict(key)} for row in rows])

    def hard_image(self, key: NeighboursKey) -> int | None:
        """The hard example of a split, an index into its data set; None where its neighbours are not stored whole."""
        table = self._read("neighbours", key.name)
        if isinstance(table, Damaged) or any(
            table[name].unique().to_pylist() != [value] for name, value in asdict(key).items()
        ):
            return None
        hard = table.filter(table["hard"])["image"].to_pylist()
        return int(hard[0]) if hard else None

    def read(self, tables: Collection[str], columns: Mapping[str, Collection[str]] = MappingProxyType({})) -> Parts:
        """Every file of some tables, each read once, each folder listed once; of some tables, some columns alone."""
        entries: list[tuple[str, FileInfo]] = []
        with ThreadPoolExecutor(_READERS) as pool:
            for group in _LISTED:
                chosen = [table for table in group if table in tables]
                listed = zip(chosen, pool.map(self._files.inside, chosen), strict=True)
                entries += [(table, entry) for table, inside in listed for entry in inside if _is_of_rows(entry)]
            read = list(pool.map(lambda each: self._part(*each, columns=columns.get(each[0])), entries))
        parts: dict[str, dict[str, pa.Table | Damaged]] = {name: {} for name in schema.TABLES if name in tables}
        for (table, entry), part in zip(entries, read, strict=True):
            parts[table][f"{table}/{entry.base_name}"] = part
        for name, part in parts.get("members", {}).items():
            self._outcomes[name] = _outcomes_in(part)
        return parts

    def outcomes(self, cell: str = "") -> dict[str, str]:
        """Member id -> outcome of the members stored.

        Lists one folder, and reads only those files that this object has not read yet.

        Args:
            cell: the id of a cell: only runs whose ids begin with it are looked at, see `new_run_id`.
        """
        names = [name for name in self._files.names("members", ".parquet") if stem(name).startswith(cell)]
        for name, part in self._members([name for name in names if name not in self._outcomes]):
            self._outcomes[name] = _outcomes_in(part)
        stored = [pair for name in names for pair in self._outcomes[name].items()]
        return dict(sorted(stored, key=lambda pair: OUTCOMES.index(pair[1]), reverse=True))  # the best is put in last

    def file_names(self, tables: Collection[str]) -> frozenset[str]:
        """Names of the files of some tables; none of them is read."""
        return frozenset(name for table in tables for name in self._files.names(table, ".parquet"))

    def since(self, known: Collection[str]) -> dict[str, pa.Table | Damaged]:
        """Files of `members` that are not among these, by their names, each read once."""
        return dict(self._members([name for name in self._files.names("members", ".parquet") if name not in known]))

    def of_run(self, run_id: str, member_id: str) -> list[dict[str, Any]]:
        """The rows of `members` that a run stored of a member; none where its file is gone or damaged."""
        part = self._read("members", f"members/{run_id}.parquet")
        rows: list[dict[str, Any]] = [] if isinstance(part, Damaged) else part.to_pylist()
        return [row for row in rows if row["member_id"] == member_id]

    def set_aside_damaged(self, snapshot: Snapshot) -> Snapshot:
        """Rename every file that cannot be read to `<name>.damaged`, so that its members are trained again.

        All files of its run go with it: a run is read whole or not at all. What another process has set aside stays so.

        Returns:
            The snapshot without these files.
        """
        names = snapshot.of_damaged_runs()
        if names:
            self._check()
        for name in names:
            self._files.move(name, f"{name}.damaged")
        return snapshot.without(names)

    def forget(self, snapshot: Snapshot, member_ids: Collection[str]) -> None:
        """Remove the rows of some members, of all their runs, and no other row.

        Args:
            snapshot: of `members` and of all tables of `schema.OF_MEMBERS`.
            member_ids: of the members.
        """
        self._check()
        ids = pa.array(sorted(member_ids), pa.string())
        for table in ("members", *schema.OF_MEMBERS):
            for name, part in snapshot.parts[table].items():
                if isinstance(part, pa.Table) and pc.any(pc.is_in(part["member_id"], value_set=ids)).as_py():
                    rest = without_members(self._files.read(name), member_ids)
                    if rest:
                        self._files.write(name, rest)
                    else:
                        self._files.delete(name)
                    self._outcomes.pop(name, None)

    def _write(self, name: str, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._files.write(name, to_parquet(table, rows, file=stem(name)))

    def _members(self, names: Sequence[str]) -> Iterator[tuple[str, pa.Table | Damaged]]:
        """Files of `members` with their names, many read at the same time."""
        with ThreadPoolExecutor(_READERS) as pool:
            yield from zip(names, pool.map(lambda name: self._read("members", name), names), strict=True)

    def _part(self, table: str, entry: FileInfo, *, columns: Collection[str] | None) -> pa.Table | Damaged:
        name = f"{table}/{entry.base_name}"
        if not entry.is_file:
            return Damaged(self._files.path(name), "it is a folder")
        return self._read(table, name, columns)

    def _read(self, table: str, name: str, columns: Collection[str] | None = None) -> pa.Table | Damaged:
        """The rows of a file; none where it is gone, since another process may have set it aside.

        What was written under another name, or is of another run where the name says the run, is damage: two files
        that were exchanged would be lost with each other's runs.
        """
        path = self._files.path(name)
        try:
            rows = from_parquet(table, self._files.read(name), path=path, columns=columns)
        except FileNotFoundError:
            return schema.TABLES[table].empty_table()
        except StorageError as error:
            if error.errno != errno.EIO:
                raise
            return Damaged(path, one_line(error))
        if isinstance(rows, pa.Table) and is_own_name(name):
            if written_as(rows) not in ("", stem(name)):
                return Damaged(path, f"it was written as {written_as(rows)}")
            for run_id in rows["run_id"].unique().to_pylist() if table in OF_ONE_RUN else ():
                if run_id != stem(name):
                    return Damaged(path, f"it holds rows of the run {run_id}")
        return rows


def new_run_id(cell: str = "") -> str:
    """32 hex digits that no other run has.

    Args:
        cell: the id of the cell of its first member, 16 hex digits with which it begins: so that whoever asks for one
            cell reads the files of that cell alone (`Rows.outcomes`). Ids of an earlier version begin with anything.
    """
    return cell + uuid.uuid4().hex[len(cell) :]


def _is_of_rows(entry: FileInfo) -> bool:
    return bool(entry.base_name.endswith(".parquet"))


def _outcomes_in(part: pa.Table | Damaged) -> dict[str, str]:
    """Member id -> outcome in a file of `members`; none where it cannot be read."""
    if isinstance(part, Damaged):
        return {}
    return dict(zip(part["member_id"].to_pylist(), part["outcome"].to_pylist(), strict=True))
