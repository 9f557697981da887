"""What the tables of a store held at one moment: every question about rows that are stored is put to a `Snapshot`."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.results import schema
from rdstudy.results.tables import Damaged, best_runs, distinct, of_runs, written_as
from rdstudy.study import Measures, Member

Parts = Mapping[str, Mapping[str, pa.Table | Damaged]]
"""Table -> name of a file -> its rows, or why it cannot be read. A file's name is a path below the store's folder."""


_BATCH_ROWS = 10_000


def plain_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table as plain data, in its order, some thousands of them in memory at a time."""
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        yield from batch.to_pylist()


@dataclass(frozen=True)
class NeighboursKey:
    """What the neighbours of a split depend on; the fields are `schema.NEIGHBOURS_KEY`."""

    dataset: str
    split: str
    study_seed: int
    validation_images: int
    neighbour_images: int
    reconstruction_images: int

    @property
    def name(self) -> str:
        """Of their file."""
        return _neighbours_name(*astuple(self))

    @property
    def older_name(self) -> str:
        """Of their file in a store of an earlier version, whatever they depended on."""
        return _neighbours_name(self.dataset, self.split, self.study_seed)


def neighbours_key(member: Member, measures: Measures) -> NeighboursKey:
    """What the neighbours of a member's split depend on, for a study that measures so."""
    return NeighboursKey(
        dataset=member.dataset,
        split=member.split,
        study_seed=member.study_seed,
        validation_images=member.evaluation.validation_images,
        neighbour_images=measures.neighbour_images,
        reconstruction_images=measures.reconstruction_images,
    )


class Snapshot:
    """The tables of a store as `Store.snapshot` read them, each file once. Reads nothing more, and never changes.

    A member that several runs trained has the rows of one of them, the same in every snapshot that holds these runs;
    a copied file doubles no row. Files that cannot be read are left out and named by `damaged`. Rows of a run that was
    killed before its last file was written are left out.

    Args:
        parts: of the tables that were read.
        weights: names of the weights that are kept, `<member_id>-<run_id>`.
        path: a file's name as messages give it.
    """

    def __init__(self, parts: Parts, *, weights: Collection[str], path: Callable[[str], str]) -> None:
        self.parts, self.weights = parts, frozenset(weights)
        self._path = path
        self._tables: dict[str, pa.Table] = {}

    def table(self, name: str) -> pa.Table:
        """All rows of a table (`schema.TABLES`), each member from one run alone, in a fixed order, in the columns that
        were read of it.

        Raises:
            KeyError: the table was not read.
        """
        if name not in self._tables:
            self._tables[name] = self._resolved(name)
        return self._tables[name]

    def rows(self, name: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Some columns of the rows of a table, see `plain_rows`."""
        return plain_rows(self.table(name).select(columns))

    def outcomes(self) -> dict[str, str]:
        """Member id -> outcome of every member stored."""
        members = self.table("members")
        return dict(zip(members["member_id"].to_pylist(), members["outcome"].to_pylist(), strict=True))

    def unmeasured(self, measures_id: str) -> dict[str, str | None]:
        """Members stored as ok that lack the measures of these settings -> the run that kept their weights, or None."""
        measures = self._rows("measures", schema.REQUIRED["measures"])  # all columns: gigabytes for 100,000 members
        measured = of_runs(measures.filter(pc.equal(measures["measures_id"], measures_id)), self._runs_read())
        ok = self._ok_members()
        lacking = ok.filter(pc.invert(pc.is_in(ok["member_id"], value_set=measured["member_id"].combine_chunks())))
        return {
            member_id: run_id if f"{member_id}-{run_id}" in self.weights else None
            for member_id, run_id in _pairs(lacking)
        }

    def without_weights(self) -> set[str]:
        """Ids of members stored as ok whose weights are not kept."""
        return {member for member, run in _pairs(self._ok_members()) if f"{member}-{run}" not in self.weights}

    def has_examples(self, dataset: str) -> bool:
        """Whether the example images of a data set are stored whole."""
        return isinstance(self.parts["examples"].get(f"examples/{dataset}.parquet"), pa.Table)

    def without_neighbours(
        self, members: Iterable[Member], measures: Measures
    ) -> list[tuple[NeighboursKey, list[Member]]]:
        """What neighbours of some members' splits are not stored, and those members.

        Those that an earlier version stored, by the split alone, count as stored.
        """
        by_key: dict[NeighboursKey, list[Member]] = {}
        for member in members:
            by_key.setdefault(neighbours_key(member, measures), []).append(member)
        stored = self.parts["neighbours"]
        return [
            (key, of_key) for key, of_key in by_key.items() if key.name not in stored and key.older_name not in stored
        ]

    @property
    def damaged(self) -> dict[str, Damaged]:
        """Files that cannot be read, and folders that stand in their place, by their names."""
        return {
            name: part for files in self.parts.values() for name, part in files.items() if isinstance(part, Damaged)
        }

    @property
    def copies(self) -> list[str]:
        """Files of rows, as messages name them, whose names this program gives to none: a sync client's or a person's
        copies. Their rows count once, as all rows do.
        """
        return [self._path(name) for files in self.parts.values() for name in sorted(files) if not is_own_name(name)]

    def of_damaged_runs(self) -> list[str]:
        """Names of the damaged files, and of all others of their runs, those that say that a run is done first.

        Copies of these are among them: a member that a copy says is done would lack what is set aside.
        """
        damaged = self.damaged
        runs = {stem(name) for name in damaged}
        files = [item for table in ("members", *schema.OF_MEMBERS) for item in self.parts.get(table, {}).items()]
        whole = [name for name, part in files if isinstance(part, pa.Table) and not runs.isdisjoint(_runs(name, part))]
        return [*whole, *damaged]

    def without(self, names: Collection[str]) -> "Snapshot":
        """The same without some files."""
        parts = {
            table: {name: part for name, part in files.items() if name not in names}
            for table, files in self.parts.items()
        }
        return Snapshot(parts, weights=self.weights, path=self._path)

    def _resolved(self, name: str) -> pa.Table:
        """All rows of a table, see `table`."""
        rows = self._rows(name)
        if name == "members":
            rows = best_runs(rows)
        elif name in schema.OF_MEMBERS:
            rows = of_runs(rows, self._runs_read())
        return distinct(rows, schema.KEYS[name])

    def _rows(self, name: str, columns: Sequence[str] = ()) -> pa.Table:
        """The rows of all files of a table, copies last; in some columns, or in those that were read."""
        files = self.parts[name]
        ordered = sorted(sorted(files), key=is_own_name, reverse=True)
        tables = [part for part in map(files.__getitem__, ordered) if isinstance(part, pa.Table)]
        empty = schema.TABLES[name].empty_table()
        columns = columns or (tables or [empty])[0].column_names
        rows = pa.concat_tables(table.select(columns) for table in (empty, *tables))
        return rows.combine_chunks()  # in thousands of chunks, each question takes several times as long

    def _runs_read(self) -> pa.Table:
        """Members and the run that is read of each."""
        return self.table("members").group_by(["member_id", "run_id"]).aggregate([])

    def _ok_members(self) -> pa.Table:
        """The rows of members that are stored as ok."""
        members = self.table("members")
        return members.filter(pc.equal(members["outcome"], "ok"))


def _pairs(members: pa.Table) -> Iterable[tuple[str, str]]:
    """Members, each once, and their runs."""
    return dict(zip(members["member_id"].to_pylist(), members["run_id"].to_pylist(), strict=True)).items()


OF_ONE_RUN = ("members", "trajectories")
"""Tables that a run writes once; `measures` and the like are written again, of runs that are stored."""


def _runs(name: str, part: pa.Table) -> set[str]:
    """What a file was written as, whatever it is called now."""
    of_one_run = part["run_id"].unique().to_pylist() if name.partition("/")[0] in OF_ONE_RUN else ()
    return {stem(name), written_as(part), *of_one_run}


def is_own_name(name: str) -> bool:
    """Whether a file of rows has a name that this program gives: a run's, a data set's or that of a split's key."""
    of_run = name.partition("/")[0] in ("members", *schema.OF_MEMBERS)
    return bool(re.fullmatch("[0-9a-f]{32}" if of_run else "[A-Za-z0-9_-]+", stem(name)))


def stem(name: str) -> str:
    """The last part of a file's name, without its ending."""
    return name.rpartition("/")[2].rpartition(".")[0]


def _neighbours_name(*values: str | int) -> str:
    return "neighbours/" + re.sub(r"[^A-Za-z0-9-]+", "-", "-".join(map(str, values))) + ".parquet"
