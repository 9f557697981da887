"""The store: rows of all studies in one folder or bucket, and the only place that knows file names.

    <root>/store.json                     what this folder is
    <root>/studies/<study>.json           the declaration of each study, so that a report needs no code
    <root>/<table>/<run_id>.parquet       rows: written once under a temporary name, moved into place, never edited
    <root>/neighbours/<split>.parquet     of a split: the same whoever computes them
    <root>/checkpoints/<unit>/<n>.bin     see `rdstudy.results.checkpoints`
    <root>/weights/<member>-<run>.bin     weights of a member, where they were to be kept
    <root>/logs/<study>-<started>.log     what a run said while it worked
    <root>/datasets/<name>/<file>         images of one's own, for nodes that were not given them
    <root>/tmp/<name>                     files that are being written, in a folder; buckets need none

A training of one or more members is a run; all its files carry its `run_id`, and its `members` file is moved into
place last: what has no `members` row was never finished and is not read. When two runs trained the same member, one
of them is read and the other ignored, so that no row is doubled. What is measured of a member later is stored under a
name of its own and carries the run of its training. `rdstudy.results.files` is the only door to the files.
Longer than other modules, since all file names stand here and nowhere else.
"""

import copy
import errno
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.checks import one_line
from rdstudy.results import schema
from rdstudy.results.files import Files, StorageError
from rdstudy.results.tables import Damaged, best_runs, distinct, from_parquet, of_runs, to_parquet

_FORMAT = {"format": "rdstudy results", "version": 1}
_READERS = 32  # files read at the same time: each is assumed to wait some 30 ms for a bucket


class Store:
    """One results folder. `Store.create` makes it where there is none, `Store.open` expects it."""

    def __init__(self, uri: str) -> None:
        """Use `create` or `open`: this does not look at what is there."""
        self.uri = uri
        self._files = Files(uri)
        self.location = uri if "://" in uri else self._files.place
        """The same place for a process with another working directory."""

    @classmethod
    def create(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for writing, and make it where there is nothing yet.

        Raises:
            ValueError: it cannot be written, or something else lies there.
        """
        try:
            store = cls(uri)
            at_once = store.hurried()
            there = at_once._is_store()
            if not there:
                at_once._refuse_other_folder()
            if not there or not at_once.identity():
                at_once._files.write("store.json", json.dumps({**_FORMAT, "id": uuid.uuid4().hex}).encode())
            probe = f"tmp/{uuid.uuid4().hex}"
            at_once._files.write(probe, b"")
            at_once._files.delete(probe)
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be written: {one_line(error)}") from None
        return store

    @classmethod
    def open(cls, uri: str) -> "Store":
        """Open the results folder at `uri` for reading.

        Raises:
            ValueError: there is none.
        """
        try:
            store = cls(uri)
            found = store._is_store()
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be read: {one_line(error)}") from None
        if not found:
            raise ValueError(f"{uri} is no results folder: it has no store.json; allowed: the --out of a run")
        return store

    @classmethod
    def exists(cls, uri: str) -> bool:
        """Whether there is anything at `uri`; `open` says whether that is a results folder."""
        try:
            return cls(uri).hurried()._files.kind("") != "nothing"
        except OSError as error:
            raise ValueError(f"results folder {uri} cannot be read: {one_line(error)}") from None

    def identity(self) -> str:
        """What this very folder is known by: a node that finds another one under the same path finds another identity.

        Empty for a folder of an earlier version, until `create` is called for it.

        Raises:
            FileNotFoundError: there is no results folder.
            StorageError: it cannot be read.
        """
        return str(json.loads(self._files.read("store.json")).get("id", ""))

    def hurried(self) -> "Store":
        """The same store for what may be lost: it raises at once where the storage does not answer."""
        store = copy.copy(self)
        store._files = self._files.hurried()
        return store

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
            self._write_table(f"{name}/{run_id}.parquet", name, tables[name])

    def write_examples(self, dataset: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the example images of a data set, in place of those that were there."""
        self._write_table(f"examples/{dataset}.parquet", "examples", rows)

    def has_examples(self, dataset: str) -> bool:
        """Whether `write_examples` was called for this data set."""
        return self._files.kind(f"examples/{dataset}.parquet") == "file"

    def write_measured(self, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Store what was measured of members after their runs: the `measures` table, which says that it is done, last.

        Args:
            tables: as for `write_run`; rows carry the run of the member that was measured.
        """
        name = new_run_id()
        for table in sorted(tables, key=lambda table: table == "measures"):
            self._write_table(f"{table}/{name}.parquet", table, tables[table])

    def write_neighbours(self, dataset: str, split: str, study_seed: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store the neighbours of a split."""
        self._write_table(_neighbours_name(dataset, split, study_seed), "neighbours", rows)

    def hard_image(self, dataset: str, split: str, study_seed: int) -> int | None:
        """The hard example of a split, an index into its data set; None where its neighbours are not stored."""
        table = self._read_table(_neighbours_name(dataset, split, study_seed), "neighbours")
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
        members = best_runs(self._read_all("members")[0])
        if name == "members":
            return members.sort_by([("member_id", "ascending"), ("subset", "ascending")])
        runs = members.group_by(["member_id", "run_id"]).aggregate([])
        return distinct(of_runs(self._read_all(name)[0], runs), schema.OF_MEMBERS[name])

    def unmeasured(self, measures_id: str) -> dict[str, str | None]:
        """Members stored as ok that lack the measures of these settings -> the run that kept their weights, or None."""
        measures = self._read_all("measures")[0]
        measures = measures.filter(pc.equal(measures["measures_id"], measures_id)).select(["member_id", "run_id"])
        done = {(row["member_id"], row["run_id"]) for row in measures.to_pylist()}
        kept = {_stem(path) for path in self._files.names("weights", ".bin")}
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
        """Rename every file that cannot be read to `<name>.damaged`, so that its members are trained again.

        All files of its run go with it, those that say that the run is done first: a run is read whole or not at all.
        """
        found = self.damaged()
        of_runs = [name for table in ("members", *schema.OF_MEMBERS) for name in self._files.names(table, ".parquet")]
        for bad in found:
            name = bad.path.removeprefix(self._files.path(""))[1:]
            of_run = [other for other in of_runs if _stem(other) == _stem(name) and other != name]
            for one in [*of_run, name]:
                self._files.move(one, one + ".damaged")
        return found

    # --- declarations -------------------------------------------------------------------------------------------

    def declare(self, study: str, declaration: Mapping[str, Any]) -> None:
        """Keep the declaration of a study, in place of an earlier one."""
        self._files.write(f"studies/{study}.json", json.dumps(declaration, indent=1, allow_nan=False).encode())

    def studies(self) -> list[str]:
        """Names of the studies declared here."""
        return sorted(_stem(path) for path in self._files.names("studies", ".json"))

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
            declaration: dict[str, Any] = json.loads(self._files.read(f"studies/{study}.json"))
        except ValueError as error:
            path = self._files.path(f"studies/{study}.json")
            raise ValueError(f"{path} is damaged ({error}); run the study again") from None
        return declaration

    # --- checkpoints: bytes only, see rdstudy.results.checkpoints -----------------------------------------------

    def checkpoint_names(self, unit: str) -> list[int]:
        """Numbers of the checkpoints of a unit, oldest first."""
        return sorted(int(_stem(path)) for path in self._files.names(f"checkpoints/{unit}", ".bin"))

    def read_checkpoint(self, unit: str, number: int) -> bytes:
        """The bytes of one checkpoint."""
        return self._files.read(f"checkpoints/{unit}/{number}.bin")

    def write_checkpoint(self, unit: str, number: int, content: bytes) -> None:
        """Keep the bytes of one checkpoint."""
        self._files.write(f"checkpoints/{unit}/{number}.bin", content)

    def delete_checkpoint(self, unit: str, number: int) -> None:
        """Forget one checkpoint."""
        self._files.delete(f"checkpoints/{unit}/{number}.bin")

    def delete_checkpoints(self, unit: str) -> None:
        """Forget a unit's checkpoints; nothing happens where it has none."""
        self._files.delete_folder(f"checkpoints/{unit}")

    def checkpoint_units(self) -> list[str]:
        """The units that have checkpoints."""
        return sorted(entry.base_name for entry in self._files.inside("checkpoints"))

    # --- weights: bytes only ------------------------------------------------------------------------------------

    def write_weights(self, run_id: str, member_id: str, content: bytes) -> None:
        """Keep the weights that a member had at the end of a run."""
        self._files.write(f"weights/{member_id}-{run_id}.bin", content)

    def read_weights(self, run_id: str, member_id: str) -> bytes:
        """The bytes that `write_weights` kept."""
        return self._files.read(f"weights/{member_id}-{run_id}.bin")

    # --- logs: what a run said ----------------------------------------------------------------------------------

    def write_log(self, study: str, started: str, text: str) -> str:
        """Keep what a run of a study has said so far, in place of what it had said before.

        Args:
            study: its name.
            started: when the run began, such that later is greater; what is no letter or digit is left out of it.
            text: all lines.

        Returns:
            The name of the log.
        """
        name = f"{study}-{re.sub('[^A-Za-z0-9]', '', started)}"
        self._files.write(f"logs/{name}.log", text.encode())
        return name

    def logs(self, study: str) -> list[str]:
        """Names of the logs of a study, oldest first."""
        names = [_stem(path) for path in self._files.names("logs", ".log")]
        return [name for name in names if name.rpartition("-")[0] == study]

    def read_log(self, name: str) -> str:
        """The lines of a log of `logs`."""
        return self._files.read(f"logs/{name}.log").decode()

    # --- data sets: files of images of one's own, see rdstudy.datasets.own --------------------------------------

    def write_dataset(self, name: str, files: Mapping[str, Path]) -> None:
        """Keep the files of a data set whose name says its contents; those that are there stay as they are.

        Args:
            name: of the data set.
            files: file name -> where it is on this node; none where it is no data set of one's own.
        """
        if not files:
            return
        there = {entry.base_name: entry.size for entry in self._files.inside(f"datasets/{name}")}
        for base_name, file in files.items():
            if there.get(base_name) != file.stat().st_size:
                self._files.upload(file, f"datasets/{name}/{base_name}")

    def dataset_files(self, name: str) -> list[str]:
        """Names of the files of a data set that are kept here."""
        return sorted(entry.base_name for entry in self._files.inside(f"datasets/{name}"))

    def fetch_dataset_file(self, name: str, base_name: str, file: Path) -> None:
        """Write a copy of a file of `dataset_files` to a path on this node."""
        self._files.download(f"datasets/{name}/{base_name}", file)

    # --- files --------------------------------------------------------------------------------------------------

    def _is_store(self) -> bool:
        return self._files.kind("store.json") == "file"

    def _refuse_other_folder(self) -> None:
        if self._files.kind("") == "file":
            raise ValueError(f"results folder {self.uri} is a file; allowed: a folder")
        inside = {entry.base_name for entry in self._files.inside("")}
        if inside - {"tmp"}:
            raise ValueError(
                f"{self.uri} is not empty and no results folder; allowed: a new folder or the --out of a run"
            )

    def _write_table(self, name: str, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self._files.write(name, to_parquet(table, rows))

    def _read_table(self, name: str, table: str) -> pa.Table | Damaged:
        """The rows of a file; none where it is gone, since somebody else may have set it aside."""
        try:
            return from_parquet(table, self._files.read(name), path=self._files.path(name))
        except FileNotFoundError:
            return schema.TABLES[table].empty_table()
        except StorageError as error:
            if error.errno != errno.EIO:
                raise
            return Damaged(self._files.path(name), one_line(error))

    def _read_all(self, table: str) -> tuple[pa.Table, list[Damaged]]:
        with ThreadPoolExecutor(_READERS) as pool:
            names = self._files.names(table, ".parquet")
            parts = list(pool.map(lambda name: self._read_table(name, table), names))
        tables = [part for part in parts if isinstance(part, pa.Table)]
        rows = pa.concat_tables(tables) if tables else schema.TABLES[table].empty_table()
        return rows, [part for part in parts if isinstance(part, Damaged)]


def new_run_id() -> str:
    """A name that no other run has."""
    return uuid.uuid4().hex


def _neighbours_name(dataset: str, split: str, study_seed: int) -> str:
    return "neighbours/" + re.sub(r"[^A-Za-z0-9-]+", "-", f"{dataset}-{split}-{study_seed}") + ".parquet"


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]
