"""The command that doubts a row: trains one model again from its id and says whether it got the same numbers.

    python -m rdstudy.retrain RESULTS MEMBER

Exit status: 0 the same, to the bit; 1 other numbers, each column with its largest difference; 2 bad input, or a model
that cannot be trained again here. It writes nothing into RESULTS. On another kind of processor, or with other versions,
small differences are to be expected: they are told beside what differs.
"""

import dataclasses
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdstudy.commandline import BAD_INPUT, Parser, answer
from rdstudy.failures import UnitError
from rdstudy.settings import Measures
from rdstudy.study import Member, Resources

if TYPE_CHECKING:
    from rdstudy.results.store import Store

_SAME, _OTHER = 0, 1
_VERSIONS = ("numerics_version", "code_version", "python_version", "torch_version", "numpy_version", "device")
_NOT_COMPARED = {*_VERSIONS, "run_id", "host", "finished_at", "wall_seconds", "measure_seconds", "peak_memory_bytes"}


@dataclasses.dataclass(frozen=True)
class Difference:
    """A column in which rows that should agree do not."""

    column: str  # table.column
    rows: int  # in which it differs
    largest: float  # relative difference of numbers; infinite for anything else

    def __str__(self) -> str:
        size = "not a number, or not equal" if math.isinf(self.largest) else f"relative difference {self.largest:.2g}"
        return f"{self.column}: {self.rows} rows, at most: {size}"


@dataclasses.dataclass(frozen=True)
class OtherRows:
    """A table that has another number of rows, as when training became non-finite at another step."""

    table: str
    stored: int
    again: int
    largest = math.inf

    def __str__(self) -> str:
        return f"{self.table}: {self.stored} rows stored, and now {self.again}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = Parser(prog="python -m rdstudy.retrain", description=__doc__.partition("\n")[0])
    parser.add_argument("results", metavar="RESULTS", help="results folder or bucket")
    parser.add_argument("member", metavar="MEMBER", help="a model's id, or its first digits")
    options = parser.parse_args(arguments)
    return answer(lambda: _retrain(options.results, options.member), storage_failed=BAD_INPUT)


def compare(
    stored: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]], *, table: str
) -> list[Difference] | list[OtherRows]:
    """The columns in which two lists of rows differ, row by row; NaN equals NaN.

    Args:
        stored: rows in a fixed order.
        again: the same, in the same order; where they are more or fewer, no row is held against another.
        table: their name.
    """
    if len(stored) != len(again):
        return [OtherRows(table, len(stored), len(again))]
    found = []
    for column in [name for name in (stored[0] if stored else {}) if name not in _NOT_COMPARED]:
        pairs = ((one[column], other[column]) for one, other in zip(stored, again, strict=True))
        sizes = [size for one, other in pairs if (size := _distance(one, other)) > 0]
        if sizes:
            found.append(Difference(f"{table}.{column}", len(sizes), max(sizes)))
    return found


def _distance(one: Any, other: Any) -> float:
    """0 for equal values, the relative difference of numbers, infinity for anything else."""
    if one == other or (isinstance(one, float) and isinstance(other, float) and math.isnan(one) and math.isnan(other)):
        return 0.0
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if not numbers or not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return float(abs(one - other) / max(abs(one), abs(other)))


def _retrain(uri: str, given: str) -> int:
    from rdstudy.results.schema import OF_MEMBERS
    from rdstudy.results.store import Store

    store = Store.open(uri)
    member, measures = _find(store, given)
    rows = _rows(store, member.member_id, "members")
    if not rows:
        raise ValueError(f"model {member.member_id} is declared in {uri}, and not trained yet; allowed: one that is")
    before = rows[0]
    print(f"model {member.member_id}: {describe(member)}", flush=True)
    if before["outcome"] == "failed":
        raise ValueError(f"model {member.member_id} failed ({before['reason']}); run its study again with --member")
    folder = tempfile.mkdtemp(prefix="rdstudy-retrain-")
    try:
        on_gpu = before["device"].startswith("cuda")
        fresh = _train(member, measures, store, Store.create(folder), on_gpu=on_gpu)
        differences: list[Difference | OtherRows] = []
        for table in ("members", *OF_MEMBERS):
            stored = _rows(store, member.member_id, table, measures.measures_id)
            if stored or table in ("members", "trajectories"):
                again = _rows(fresh, member.member_id, table, measures.measures_id)
                differences += compare(stored, again, table=table)
                print(f"{table}: {len(stored)} rows compared", flush=True)
        return _tell(differences, before, _rows(fresh, member.member_id, "members")[0])
    finally:
        shutil.rmtree(folder)


def describe(member: Member) -> str:
    """A model in words."""
    recipe = member.recipe
    return (
        f"{member.dataset}, {member.split}, {member.architecture} of depth {member.depth} and width {member.width}, "
        f"β = {member.beta:g}, seed {member.seed}, {recipe.steps:,} steps of {recipe.batch_size} images"
    )


def _find(store: "Store", given: str) -> tuple[Member, Measures]:
    """The member whose id begins so, and what a study that declares it measures: one that has measured it, if any."""
    found: dict[str, list[tuple[Member, Measures]]] = {}
    for study in store.studies():
        declaration = store.declaration(study)
        for member_id, settings in declaration["members"].items():
            if member_id.startswith(given):
                told = {name: value for name, value in declaration["measures"].items() if name != "measures_id"}
                found.setdefault(member_id, []).append((Member.from_dict(settings), Measures(**told)))
    if len(found) != 1:
        what = "no model" if not found else f"{len(found)} models"
        raise ValueError(f"{what} in {store.uri} with an id that begins with {given!r}; allowed: the id of one")
    ((member_id, declared),) = found.items()
    measured = [one for one in declared if _rows(store, member_id, "measures", one[1].measures_id)]
    member, measures = (measured or declared)[0]
    if member.member_id != member_id:
        raise ValueError(f"model {member_id} was trained by another version of the numerics; allowed: that version")
    return member, measures


def _train(member: Member, measures: Measures, store: "Store", fresh: "Store", *, on_gpu: bool) -> "Store":
    import torch

    from rdstudy.datasets.own import install_own
    from rdstudy.packs import Pack
    from rdstudy.progress import ProgressLine
    from rdstudy.worker import find_device, run_pack

    install_own(member.dataset, lambda name, path: store.fetch_dataset_file(member.dataset, name, path))
    pack = Pack((member,))
    line = ProgressLine([pack])
    resources = Resources(checkpoint_seconds=1e9)
    device = find_device(1.0 if on_gpu and torch.cuda.is_available() else 0.0)
    events = run_pack(pack, fresh, device=device, resources=resources, measures=measures)
    try:
        for progress in events:
            line.update(pack.pack_id, progress)
    except UnitError as error:
        raise _untrainable(member, error.reason) from error
    finally:
        line.close()
    row = _rows(fresh, member.member_id, "members")[0]
    if row["outcome"] == "failed":  # out of memory, which no second try mends
        raise _untrainable(member, row["reason"])
    return fresh


def _untrainable(member: Member, reason: str) -> ValueError:
    return ValueError(f"model {member.member_id} cannot be trained again here: {reason}")


def _rows(store: "Store", member_id: str, table: str, measures_id: str = "") -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    rows = store.read(table)
    rows = rows.filter(pc.equal(rows["member_id"], member_id))
    if "measures_id" in rows.column_names:
        rows = rows.filter(pc.equal(rows["measures_id"], measures_id))
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def _tell(differences: Sequence[Difference | OtherRows], before: dict[str, Any], now: dict[str, Any]) -> int:
    """Say whether the numbers are the same, and what else is not."""
    changed = [f"{name} {before[name]}, now {now[name]}" for name in _VERSIONS if before[name] != now[name]]
    if not differences:
        print("the same numbers, to the bit" + (f"; although {'; '.join(changed)}" if changed else ""))
        return _SAME
    print("other numbers:")
    for one in sorted(differences, key=lambda one: -one.largest):
        print(f"  {one}")
    print("what differs otherwise: " + ("; ".join(changed) or "nothing that is known: this is a fault"))
    return _OTHER


if __name__ == "__main__":
    sys.exit(main())
