"""The command that doubts a row: trains one model again from its id and says whether it got the same numbers.

    python -m rdstudy.retrain RESULTS MEMBER [--save] [--study STUDY.py | --trust-code]

Exit status: 0 the same, to the bit; 1 other numbers, each column with its largest difference; 2 bad input, or a model
that cannot be trained again here. It writes nothing into RESULTS, unless `--save` asks for the model's weights: then
they are kept there if its numbers in training are the stored ones. On another kind of processor, or with other
versions, small differences are to be expected: they are told beside what differs.
"""

import argparse
import contextlib
import dataclasses
import math
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rdstudy.commandline import BAD_INPUT, Parser, run_command
from rdstudy.results.address import without_keys
from rdstudy.running.failures import PackError
from rdstudy.running.floors import check_floors
from rdstudy.study import Member, Resources
from rdstudy.study.checks import id_beginning
from rdstudy.study.settings import Measures
from rdstudy.study.studyfile import load_study

if TYPE_CHECKING:
    from rdstudy.results.snapshot import Snapshot
    from rdstudy.results.store import Store

_SAME, _OTHER = 0, 1
_VERSIONS = ("numerics_version", "code_version", "python_version", "torch_version", "numpy_version", "device")
_NOT_COMPARED = {
    *_VERSIONS,
    "run_id",
    "host",
    "finished_at",
    "wall_seconds",
    "measure_seconds",
    "peak_memory_bytes",
    "step_mode",
    "product_precision",
}


@dataclasses.dataclass(frozen=True)
class Difference:
    """A column in which rows that should agree do not, or a table that has more rows or fewer."""

    column: (
        str  # table.column; of another number of rows, as when training became non-finite at another step, the table
    )
    rows: int  # in which it differs
    largest: float  # relative difference of numbers; infinite for anything else
    counts: str = ""  # of rows that are more or fewer

    @property
    def table(self) -> str:
        """The name of the table."""
        return self.column.partition(".")[0]

    def __str__(self) -> str:
        if self.counts:
            return f"{self.column}: {self.counts}"
        size = "not a number, or not equal" if math.isinf(self.largest) else f"relative difference {self.largest:.2g}"
        return f"{self.column}: {self.rows} rows, at most: {size}"


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rdstudy.retrain") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _answer, arguments, storage_failed=BAD_INPUT)


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", metavar="RESULTS", help="results folder or bucket")
    parser.add_argument("member", metavar="MEMBER", help="a model's id, or its first digits")
    parser.add_argument("--save", action="store_true", help="keep its weights in RESULTS, if it gets the same numbers")
    parser.add_argument("--study", metavar="STUDY.py", help="the study file, for parts of its own")
    parser.add_argument("--trust-code", action="store_true", help="run the copies of such parts that RESULTS holds")
    return parser


def _answer(options: argparse.Namespace) -> int:
    if options.study is not None:
        load_study(options.study)  # its parts are known from now on
    uri = without_keys(options.results, tell=print)
    return _retrain(uri, options.member, save=options.save, trust_code=options.trust_code)


def compare(stored: Sequence[Mapping[str, Any]], again: Sequence[Mapping[str, Any]], *, table: str) -> list[Difference]:
    """The columns in which two lists of rows differ, row by row; NaN equals NaN.

    Args:
        stored: rows in a fixed order.
        again: the same, in the same order; where they are more or fewer, no row is held against another.
        table: their name.
    """
    if len(stored) != len(again):
        return [Difference(table, 0, math.inf, f"{len(stored)} rows stored, and now {len(again)}")]
    differences = []
    for column in [name for name in (stored[0] if stored else {}) if name not in _NOT_COMPARED]:
        pairs = ((before[column], after[column]) for before, after in zip(stored, again, strict=True))
        sizes = [size for before, after in pairs if (size := _distance(before, after)) > 0]
        if sizes:
            differences.append(Difference(f"{table}.{column}", len(sizes), max(sizes)))
    return differences


def _distance(before: Any, after: Any) -> float:
    """0 for equal values, the relative difference of numbers, infinity for anything else."""
    if before == after or (
        isinstance(before, float) and isinstance(after, float) and math.isnan(before) and math.isnan(after)
    ):
        return 0.0
    numbers = isinstance(before, int | float) and isinstance(after, int | float)
    if not numbers or not (math.isfinite(before) and math.isfinite(after)):
        return math.inf
    return float(abs(before - after) / max(abs(before), abs(after)))


def _retrain(uri: str, given: str, *, save: bool, trust_code: bool) -> int:
    from rdstudy.results.schema import OF_MEMBERS
    from rdstudy.results.store import Store
    from rdstudy.running.own_parts import know_parts

    check_floors(ray=False)
    store = Store.open(uri)
    snapshot = store.snapshot()
    member, measures = _find(store, snapshot, given)
    rows = _rows(snapshot, member.member_id, "members")
    if not rows:
        raise ValueError(f"model {member.member_id} is declared in {uri}, and not trained yet; allowed: one that is")
    know_parts(store, member, measures, trust_code=trust_code)
    before = rows[0]
    print(f"model {member.member_id}: {describe(member)}", flush=True)
    if before["outcome"] == "failed":
        raise ValueError(f"model {member.member_id} failed ({before['reason']}); run its study again with --member")
    if save and before["outcome"] != "ok":
        raise ValueError(f"model {member.member_id} is {before['outcome']} and has no weights; allowed: one that is ok")
    folder = tempfile.mkdtemp(prefix="rdstudy-retrain-")
    try:
        there, on_gpu = Store.create(folder), before["device"].startswith("cuda")
        fresh = _train(member, measures, store, there, on_gpu=on_gpu)
        differences: list[Difference] = []
        for table in ("members", *OF_MEMBERS):
            stored = _rows(snapshot, member.member_id, table, measures.measures_id)
            if stored or table in ("members", "trajectories"):
                again = _rows(fresh, member.member_id, table, measures.measures_id)
                differences += compare(stored, again, table=table)
                print(f"{table}: {len(stored)} rows compared", flush=True)
        now = _rows(fresh, member.member_id, "members")[0]
        status = _tell(differences, before, now)
        if save:
            trained = [each for each in differences if each.table in ("members", "trajectories")]
            _save(member, there, now["run_id"], store, before["run_id"], differs=bool(trained))
        return status
    finally:
        shutil.rmtree(folder)


def _save(member: Member, there: "Store", new_run: str, store: "Store", stored_run: str, *, differs: bool) -> None:
    """Keep the weights of a new training as those of the stored run, if it is the same model."""
    from rdstudy.model.weights import from_bytes
    from rdstudy.running.kept import keep

    if differs:
        print("its weights were not kept: they are not those of the stored numbers")
        return
    file = there.blobs.read_weights(new_run, member.member_id)
    kept = from_bytes(file.content, path=file.path)
    store.hold(store.identity())
    keep(kept.tensors, member, stored_run, store, image_shape=kept.header.image_shape)
    print(f"its weights are kept: {store.blobs.read_weights(stored_run, member.member_id).path}")


def describe(member: Member) -> str:
    """A model in words."""
    recipe = member.recipe
    return (
        f"{member.dataset}, {member.split}, {member.architecture} of depth {member.depth} and width {member.width}, "
        f"β = {member.beta:g}, seed {member.seed}, {recipe.steps:,} steps of {recipe.batch_size} images"
    )


def _find(store: "Store", snapshot: "Snapshot", given: str) -> tuple[Member, Measures]:
    """The member whose id begins so, and what a study that declares it measures: one that has measured it, if any.

    Of a member that is stored and no study asks for, nothing is measured.
    """
    declarations = [store.declarations.read(study) for study in store.declarations.names()]
    declared = [member_id for declaration in declarations for member_id in declaration.members]
    member_id = id_beginning(given, [*declared, *snapshot.outcomes()], where=f"in {store.uri}")
    pairs = [
        (declaration.member(member_id), declaration.settings(Measures))
        for declaration in declarations
        if member_id in declaration.members
    ] or [(_unasked(snapshot, member_id), Measures(names=()))]
    measured = [pair for pair in pairs if _rows(snapshot, member_id, "measures", pair[1].measures_id)]
    member, measures = (measured or pairs)[0]
    if member.member_id != member_id:
        raise ValueError(f"model {member_id} was trained by another version of the numerics; allowed: that version")
    return member, measures


def _unasked(snapshot: "Snapshot", member_id: str) -> Member:
    """A stored member that no study asks for, by its rows."""
    from rdstudy.results.tables import member_of

    try:
        return member_of(_rows(snapshot, member_id, "members")[0])
    except (TypeError, ValueError):
        raise ValueError(
            f"no study asks for model {member_id}, and its rows, of another version, do not say all settings; "
            "allowed: a model that a study asks for"
        ) from None


def _train(member: Member, measures: Measures, store: "Store", fresh: "Store", *, on_gpu: bool) -> "Snapshot":
    import torch

    from rdstudy.datasets.own import install_own
    from rdstudy.planning.packs import Pack
    from rdstudy.running.progress import ProgressLine
    from rdstudy.running.worker import find_device, run_pack

    install_own(member.dataset, lambda name, path: store.blobs.fetch_dataset_file(member.dataset, name, path))
    pack = Pack((member,))
    line = ProgressLine([pack])
    resources = Resources(checkpoint_seconds=1e9, keep_weights=True)  # and so with pictures, as they may be stored
    device = find_device(1.0 if on_gpu and torch.cuda.is_available() else 0.0)
    events = run_pack(pack, fresh, device=device, resources=resources, measures=measures)
    try:
        with contextlib.closing(events):
            for progress in events:
                line.update(pack.pack_id, progress)
    except PackError as error:
        raise _untrainable(member, error.reason) from error
    finally:
        line.close()
    again = fresh.snapshot()
    row = _rows(again, member.member_id, "members")[0]
    if row["outcome"] == "failed":  # out of memory, which no second try mends
        raise _untrainable(member, row["reason"])
    return again


def _untrainable(member: Member, reason: str) -> ValueError:
    return ValueError(f"model {member.member_id} cannot be trained again here: {reason}")


def _rows(snapshot: "Snapshot", member_id: str, table: str, measures_id: str = "") -> list[dict[str, Any]]:
    import pyarrow.compute as pc

    rows = snapshot.table(table)
    rows = rows.filter(pc.equal(rows["member_id"], member_id))
    if "measures_id" in rows.column_names:
        rows = rows.filter(pc.equal(rows["measures_id"], measures_id))
    matching: list[dict[str, Any]] = rows.to_pylist()
    return matching


def _tell(differences: Sequence[Difference], before: dict[str, Any], now: dict[str, Any]) -> int:
    """Say whether the numbers are the same, and what else is not."""
    changed = [f"{name} {before[name]}, now {now[name]}" for name in _VERSIONS if before[name] != now[name]]
    if not differences:
        print("the same numbers, to the bit" + (f"; although {'; '.join(changed)}" if changed else ""))
        return _SAME
    print("other numbers:")
    for difference in sorted(differences, key=lambda difference: -difference.largest):
        print(f"  {difference}")
    print("what differs otherwise: " + ("; ".join(changed) or "nothing that is known: this is a fault"))
    return _OTHER


if __name__ == "__main__":
    sys.exit(main())
