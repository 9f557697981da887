"""The store: rows of all studies in one folder or bucket, and the only place that knows file names.

    <root>/store.json                     what this folder is
    <root>/studies/<study>.json           the declaration of each study, so that a report needs no code
    <root>/<table>/<run_id>.parquet       rows: written once under a temporary name, moved into place, never edited
    <root>/neighbours/<split>.parquet     of a split: the same whoever computes them
    <root>/checkpoints/<unit>/<n>.bin     see `rdstudy.results.checkpoints`
    <root>/weights/<member>-<run>.bin     weights of a member, where they were to be kept

A training of one or more members is a run; all its files carry its `run_id`, and its `members` file is moved into
place last: what has no `members` row was never finished and is not read. When two runs trained the same member, one
of them is read and the other ignored, so that no row is doubled. What is measured of a member later is stored under a
name of its own and carries the run of its training. `pyarrow.fs` is the only door to the files.
"""

import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from rdstudy.results import schema

_FORMAT = {"format": "rdstudy results", "version": 1}
_RANK = ("ok", "nonfinite", "failed")  # of two runs of one member, the better outcome is read


@dataclass(frozen=True)
class Damaged:
    """A file that cannot be read, and what is wrong with it."""

    path: str
    reason: str


class Store:
    """One results folder. `Store.create` makes it where there is none, `Store.open` expects it."""

    def __init__(self, uri: str) -> None:
        """Use `create` or `open`: this does not look at what is there."""
        self.uri = uri
        self._fs, self._root = _resolve(uri)
        self.location = uri if "://" in uri else self._root
        """The same place for a process with another working directory."""

    @classmethod
    def create(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for writing, and make it where there is nothing yet.

        Raises:
            ValueError: it cannot be written, or something else lies there.
        """
        store = cls(uri)
        try:
            if not store._is_store():
                store._refuse_other_folder()
                store._write("store.json", json.dumps(_FORMAT).encode())
            probe = f"tmp/{uuid.uuid4().hex}"
            store._write(probe, b"")
            store._delete(probe)
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be written: {_one_line(error)}") from None
        return store

    @classmethod
    def open(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for reading.

        Raises:
            ValueError: there is none.
        """
        store = cls(uri)
        try:
            found = store._is_store()
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be read: {_one_line(error)}") from None
        if not found:
            raise ValueError(f"{uri} is no results folder: it has no store.json; allowed: the --out of a run")
        return store

    @classmethod
    def exists(cls, uri: str) -> bool:
        """Whether there is anything at `uri`; `open` says whether that is a results folder."""
        store = cls(uri)
        try:
            return bool(store._fs.get_file_info(store._root).type != pafs.FileType.NotFound)
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be read: {_one_line(error)}") from None

    # --- rows ---------------------------------------------------------------------------------------------------

    def write_run(self, run_id: str, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store the rows of one run, all of them or none: the `members` table goes last.

        Args:
            run_id: of `new_run_id`.
            tables: table name -> rows, column -> value. Columns left out are null.

        Raises:
            ValueError: a column or table that is not in the schema.
        """
        for name in sorted(tables, key=lambda name: name == "members"):
            self._write_table(f"{name}/{run_id}.parquet", _to_table(name, tables[name]))

    def write_examples(self, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the example images of a data set, in place of those that were there."""
        self._write_table(f"examples/{dataset}.parquet", _to_table("examples", rows))

    def has_examples(self, dataset: str) -> bool:
        """Whether `write_examples` was called for this data set."""
        return self._exists(f"examples/{dataset}.parquet")

    def write_measured(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store what was measured of members after their runs: the `measures` table, which says that it is done, last.

        Args:
            tables: as for `write_run`; rows carry the run of the member that was measured.
        """
        name = new_run_id()
        for table in sorted(tables, key=lambda table: table == "measures"):
            self._write_table(f"{table}/{name}.parquet", _to_table(table, tables[table]))

    def write_neighbours(self, dataset: str, split: str, study_seed: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the neighbours of a split."""
        self._write_table(_neighbours_name(dataset, split, study_seed), _to_table("neighbours", rows))

    def hard_image(self, dataset: str, split: str, study_seed: int) -> int | None:
        """The hard example of a split, an index into its data set; None where its neighbours are not stored."""
        name = _neighbours_name(dataset, split, study_seed)
        if not self._exists(name):
            return None
        table = _read_file(self._fs, self._path(name), schema.TABLES["neighbours"])
        if isinstance(table, Damaged):
            return None
        hard = table.filter(table["hard"])["image"].to_pylist()
        return int(hard[0]) if hard else None

    def read(self, name: str) -> pa.Table:
        """All rows of a table, each member from one run alone, in a fixed order.

        Files that cannot be read are left out; `damaged` names them.
        """
        if name in ("examples", "neighbours"):
            return self._read_all(name)[0]
        members = _best_runs(self._read_all("members")[0])
        if name == "members":
            return members.sort_by([("member_id", "ascending"), ("subset", "ascending")])
        runs = members.group_by(["member_id", "run_id"]).aggregate([])
        table = self._read_all(name)[0].join(runs, ["member_id", "run_id"], join_type="left semi")
        return _distinct(table, schema.OF_MEMBERS[name])

    def unmeasured(self, measures_id: str) -> dict[str, str | None]:
        """Members stored as ok that lack the measures of these settings -> the run that kept their weights, or None."""
        measures = self._read_all("measures")[0]
        measures = measures.filter(pc.equal(measures["measures_id"], measures_id)).select(["member_id", "run_id"])
        done = {(row["member_id"], row["run_id"]) for row in measures.to_pylist()}
        kept = {_stem(path) for path in self._files("weights", ".bin")}
        members = self.read("members").select(["member_id", "run_id", "outcome"]).to_pylist()
        return {
            row["member_id"]: row["run_id"] if f"{row['member_id']}-{row['run_id']}" in kept else None
            for row in members
            if row["outcome"] == "ok" and (row["member_id"], row["run_id"]) not in done
        }

    def outcomes(self) -> dict[str, str]:
        """Member id -> outcome of every member stored."""
        members = self.read("members")
        return dict(zip(members["member_id"].to_pylist(), members["outcome"].to_pylist(), strict=True))

    def damaged(self) -> list[Damaged]:
        """Files of any table that cannot be read."""
        return [bad for name in schema.TABLES for bad in self._read_all(name)[1]]

    def set_aside_damaged(self) -> list[Damaged]:
        """Rename every file that cannot be read to `<name>.damaged`, so that its members are trained again."""
        found = self.damaged()
        for bad in found:
            self._fs.move(bad.path, bad.path + ".damaged")
        return found

    # --- declarations -------------------------------------------------------------------------------------------

    def declare(self, study: str, declaration: Mapping[str, Any]) -> None:
        """Keep the declaration of a study, in place of an earlier one."""
        self._write(f"studies/{study}.json", json.dumps(declaration, indent=1, allow_nan=False).encode())

    def studies(self) -> list[str]:
        """Names of the studies declared here."""
        return sorted(_stem(path) for path in self._files("studies", ".json"))

    def declaration(self, study: str) -> dict[str, Any]:
        """What `declare` kept.

        Raises:
            ValueError: no such study, or its file is damaged.
        """
        if study not in self.studies():
            raise ValueError(
                f"study {study!r} is not in {self.uri}; allowed: {', '.join(self.studies()) or 'none yet'}"
            )
        try:
            declaration: dict[str, Any] = json.loads(self._read(f"studies/{study}.json"))
        except ValueError as error:
            raise ValueError(f"{self.uri}/studies/{study}.json is damaged ({error}); run the study again") from None
        return declaration

    # --- checkpoints: bytes only, see rdstudy.results.checkpoints -----------------------------------------------

    def checkpoint_names(self, unit: str) -> list[int]:
        """Numbers of the checkpoints of a unit, oldest first."""
        return sorted(int(_stem(path)) for path in self._files(f"checkpoints/{unit}", ".bin"))

    def read_checkpoint(self, unit: str, number: int) -> bytes:
        """The bytes of one checkpoint."""
        return self._read(f"checkpoints/{unit}/{number}.bin")

    def write_checkpoint(self, unit: str, number: int, content: bytes) -> None:
        """Keep the bytes of one checkpoint."""
        self._write(f"checkpoints/{unit}/{number}.bin", content)

    def delete_checkpoint(self, unit: str, number: int) -> None:
        """Forget one checkpoint."""
        self._delete(f"checkpoints/{unit}/{number}.bin")

    def delete_checkpoints(self, unit: str) -> None:
        """Forget a unit's checkpoints; nothing happens where it has none."""
        if self._exists(f"checkpoints/{unit}"):
            self._fs.delete_dir(self._path(f"checkpoints/{unit}"))

    # --- weights: bytes only ------------------------------------------------------------------------------------

    def write_weights(self, run_id: str, member_id: str, content: bytes) -> None:
        """Keep the weights that a member had at the end of a run."""
        self._write(f"weights/{member_id}-{run_id}.bin", content)

    def read_weights(self, run_id: str, member_id: str) -> bytes:
        """The bytes that `write_weights` kept."""
        return self._read(f"weights/{member_id}-{run_id}.bin")

    # --- files --------------------------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._path(name)).type != pafs.FileType.NotFound)

    def _is_store(self) -> bool:
        return self._exists("store.json")

    def _refuse_other_folder(self) -> None:
        info = self._fs.get_file_info(self._root)
        if info.type == pafs.FileType.File:
            raise ValueError(f"results folder {self.uri} is a file; allowed: a folder")
        selector = pafs.FileSelector(self._root, allow_not_found=True)
        inside = [entry.base_name for entry in self._fs.get_file_info(selector)]
        if set(inside) - {"tmp"}:
            raise ValueError(
                f"{self.uri} is not empty and no results folder; allowed: a new folder or the --out of a run"
            )

    def _files(self, folder: str, ending: str) -> list[str]:
        selector = pafs.FileSelector(self._path(folder), allow_not_found=True)
        found = [info.path for info in self._fs.get_file_info(selector) if info.type == pafs.FileType.File]
        return sorted(path for path in found if path.endswith(ending))

    def _read(self, name: str) -> bytes:
        with self._fs.open_input_stream(self._path(name)) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, name: str, content: bytes) -> None:
        """Write under a unique temporary name, then move into place."""
        temporary = self._path(f"tmp/{uuid.uuid4().hex}")
        self._fs.create_dir(self._path("tmp"))
        with self._fs.open_output_stream(temporary) as stream:
            stream.write(content)
        self._fs.create_dir(self._path(name).rpartition("/")[0])
        self._fs.move(temporary, self._path(name))

    def _write_table(self, name: str, table: pa.Table) -> None:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write(name, sink.getvalue().to_pybytes())

    def _delete(self, name: str) -> None:
        if self._exists(name):
            self._fs.delete_file(self._path(name))

    def _read_all(self, name: str) -> tuple[pa.Table, list[Damaged]]:
        expected = schema.TABLES[name]
        with ThreadPoolExecutor(8) as pool:
            parts = list(pool.map(lambda path: _read_file(self._fs, path, expected), self._files(name, ".parquet")))
        tables = [part for part in parts if isinstance(part, pa.Table)]
        table = pa.concat_tables(tables) if tables else expected.empty_table()
        return table, [part for part in parts if isinstance(part, Damaged)]


def new_run_id() -> str:
    """A name that no other run has."""
    return uuid.uuid4().hex


def _resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    try:
        fs, root = pafs.FileSystem.from_uri(uri) if "://" in uri else (pafs.LocalFileSystem(), _local_path(uri))
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"results folder {uri!r} cannot be opened: {_one_line(error)}") from None
    return fs, root.rstrip("/")


def _local_path(path: str) -> str:
    return os.path.abspath(os.path.expanduser(path))


def _to_table(name: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    expected, rows = schema.TABLES[name], list(rows)
    unknown = {column for row in rows for column in row} - set(expected.names)
    if unknown:
        raise ValueError(f"table {name!r} has no column {sorted(unknown)}; allowed: {', '.join(expected.names)}")
    return pa.Table.from_pylist(rows, schema=expected)


def _read_file(fs: pafs.FileSystem, path: str, expected: pa.Schema) -> pa.Table | Damaged:
    """The rows of a file in the columns of today: a column that it lacks is null."""
    try:
        with fs.open_input_file(path) as source:
            table = pq.read_table(source)
    except (pa.ArrowException, OSError) as error:
        return Damaged(path, _one_line(error))
    columns = [
        table[field.name].cast(field.type) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in expected
    ]
    return pa.table(columns, schema=expected)


def _best_runs(members: pa.Table) -> pa.Table:
    """Of the runs of one member keep the best outcome, the earliest of these, so that the choice never changes."""
    runs = members.select(["member_id", "run_id", "outcome", "finished_at"])
    rank = pc.index_in(runs["outcome"], pa.array(_RANK))
    runs = runs.append_column("rank", rank).sort_by([(name, "ascending") for name in ("rank", "finished_at", "run_id")])
    best = dict(zip(reversed(runs["member_id"].to_pylist()), reversed(runs["run_id"].to_pylist()), strict=True))
    pairs = zip(members["member_id"].to_pylist(), members["run_id"].to_pylist(), strict=True)
    return members.filter(pa.array([best[member] == run for member, run in pairs], pa.bool_()))


def _neighbours_name(dataset: str, split: str, study_seed: int) -> str:
    return "neighbours/" + re.sub(r"[^A-Za-z0-9-]+", "-", f"{dataset}-{split}-{study_seed}") + ".parquet"


def _distinct(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """Sorted by a key, and of rows that agree in it only the first: a measuring that was cut off is done again."""
    table = table.append_column("row", pa.array(range(len(table)), pa.int64()))
    order = [(column, "ascending") for column in [*key, "row"]]
    first = table.group_by(list(key)).aggregate([("row", "min")])["row_min"]
    return table.filter(pc.is_in(table["row"], value_set=first.combine_chunks())).sort_by(order).drop_columns(["row"])


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
