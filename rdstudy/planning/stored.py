"""What a plan reads of a store."""

from collections.abc import Collection, Mapping

from rdstudy.planning.estimate import CALIBRATION_COLUMNS
from rdstudy.results import schema, standing
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.store import Store

_COLUMNS: Mapping[str, Collection[str]] = {
    "members": {*schema.REQUIRED["members"], "finished_at", *CALIBRATION_COLUMNS, *standing.COLUMNS},
    "measures": schema.REQUIRED["measures"],
}


def snapshot_for_plan(store: Store) -> Snapshot:
    """The columns from which a plan is made, and what is said of it: which run of a member counts, what remains, what
    is stale, how fast it was.

    All settings are among them, and ids are held against them, as a run does it: a member whose row a run would set
    aside is not planned as done.
    """
    return store.snapshot(tuple(_COLUMNS), columns=_COLUMNS)
