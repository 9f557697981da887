"""The rows that count for a reader of a store's tables: of some members, of one measuring each, settings joined.

`rdstudy.load` gives them as data frames, and the report's `--tables` as files.
"""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

from rdstudy.results import schema
from rdstudy.results.snapshot import Snapshot

TABLES = ("members", "measures", "trajectories")
"""The tables that are read so."""


class ChosenRows:
    """The rows of some members.

    Of several trainings of one member the best is read, of equal ones the earliest, as everywhere.

    Args:
        snapshot: of `TABLES`.
        members: ids of the members that count; None for all.
        measures_id: of the measures that count; empty for the newest of each member.
    """

    def __init__(self, snapshot: Snapshot, members: Collection[str] | None = None, measures_id: str = "") -> None:
        self._snapshot, self._members, self._measures_id = snapshot, members, measures_id

    def members(self) -> pa.Table:
        """One row per member and subset, `schema.MEMBERS`."""
        return self._rows("members")

    def measures(self) -> pa.Table:
        """One row per member and subset, `schema.MEASURES`, and the member's settings.

        Of a member that was measured several times it is the measuring of the newest `measures_version`, of equal ones
        that which finished last; both subsets from one.
        """
        rows = self._rows("measures")
        if self._measures_id:
            rows = rows.filter(pc.equal(rows["measures_id"], self._measures_id))
        return self._with_settings(rows.filter(_is_newest(rows)))

    def trajectories(self) -> pa.Table:
        """One row per member, subset and step, `schema.TRAJECTORIES`, and the member's settings."""
        return self._with_settings(self._rows("trajectories"))

    def _rows(self, table: str) -> pa.Table:
        rows = self._snapshot.table(table)
        if self._members is None:
            return rows
        return rows.filter(pc.is_in(rows["member_id"], value_set=pa.array(sorted(self._members), pa.string())))

    def _with_settings(self, rows: pa.Table) -> pa.Table:
        """The rows in their order, with the settings of their members; null where `members` does not have one."""
        members = self.members()
        at = pc.index_in(rows["member_id"], value_set=members["member_id"].combine_chunks())
        for name in schema.SETTINGS:
            rows = rows.append_column(name, members[name].take(at))
        return rows


def _is_newest(rows: pa.Table) -> pa.Array:
    """Which rows of measures are of the measuring that is read of their member."""
    versions = pc.fill_null(rows["measures_version"], 0).to_pylist()
    keys = zip(versions, rows["finished_at"].cast(pa.int64()).to_pylist(), rows["measures_id"].to_pylist(), strict=True)
    ids = rows["member_id"].to_pylist()
    orders = [(version, at is not None, at or 0, measures_id) for version, at, measures_id in keys]
    newest: dict[str, tuple[int, bool, int, str]] = {}
    for member_id, order in zip(ids, orders, strict=True):
        newest[member_id] = max(order, newest.get(member_id, order))
    return pa.array([newest[key][-1] == order[-1] for key, order in zip(ids, orders, strict=True)], pa.bool_())
