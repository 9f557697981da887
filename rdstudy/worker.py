"""One pack from settings to stored rows: the same work in this process and inside a Ray trial.

Knows the store and the training, not who calls it. An exception in a member's training is raised once, for whoever
calls to try again elsewhere, and then becomes a `failed` row; members that are too many for the whole of a device's
memory are trained again in two halves.
"""

import functools
import gc
import io
import logging
from collections import deque
from collections.abc import Collection, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from rdstudy.checks import one_line_with_type
from rdstudy.datasets import dataset_info
from rdstudy.datasets.own import install_own
from rdstudy.failures import ShareTooSmallError, UnitError
from rdstudy.packs import GIB, Pack
from rdstudy.progress import PackProgress
from rdstudy.provenance import cpu_name, provenance_columns
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.store import Store, new_run_id
from rdstudy.splits import make_split, parse_rule
from rdstudy.study import Evaluation, Measures, Member, Resources
from rdstudy.training import Finished, MeasureRows, Measuring, Progress, Subsets, make_subsets, train_unit, units_of
from rdstudy.training.loop import peak_memory_bytes
from rdstudy.training.measuring import measure_trained, neighbour_rows
from rdstudy.training.process import is_out_of_memory, training_settings
from rdstudy.training.rows import settings_columns
from rdstudy.training.subsets import subset_names

PackEvents = Generator[PackProgress, None, None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """A unit has come to its end."""

    not_ok: int  # members with an outcome other than ok


@dataclass(frozen=True)
class _TooLarge:
    """A unit of several members ran out of memory."""


_UnitEvents = Generator[Progress | _Stored | _TooLarge, None, None]


def find_device(gpus: float | str) -> torch.device:
    """The device that a trial with this share of a GPU trains on; "auto" is all of it, for one process alone.

    Raises:
        ValueError: a GPU is asked for and PyTorch sees none.
    """
    if gpus and not torch.cuda.is_available():
        raise ValueError(f"resources.gpus is {gpus}, and PyTorch sees no GPU; allowed here: 0")
    if not isinstance(gpus, str) and gpus:  # Ray counts shares, and holds nobody to them
        torch.cuda.set_per_process_memory_fraction(gpus)
    return torch.device("cuda" if gpus else "cpu")


def run_pack(
    pack: Pack,
    store: Store,
    *,
    device: torch.device,
    resources: Resources,
    measures: Measures | None = None,
    tried: Collection[str] = (),
    can_grow: bool = False,
) -> PackEvents:
    """Train the members of a pack that the store lacks, measure them, and store each unit as it finishes.

    A pack with runs is trained: its members are only measured, with the weights that those runs kept.

    A unit of several members that runs out of a whole device's memory is begun again as two halves, one after the
    other, and so on down to single members: what they learn does not depend on their company.
    When the generator is closed early, a checkpoint of the unit in work is kept.

    Args:
        pack: members of one cell.
        store: where rows go.
        device: what trains.
        resources: of the study.
        measures: what is measured after training; None for nothing.
        tried: units that have raised an exception before: another one is stored as the outcome of their members.
        can_grow: whether the caller can give the pack a larger share of a device than it has.

    Raises:
        UnitError: a unit that was not tried before raised an exception.
        ShareTooSmallError: out of memory, on a share that can grow.
        OSError: the store failed.
    """
    dataset = pack.members[0].dataset
    install_own(dataset, functools.partial(store.fetch_dataset_file, dataset))
    if pack.runs:
        yield from _measure_pack(pack, store, device=device, resources=resources, measures=measures, tried=tried)
        return
    lacking = _lacking(pack, store)
    units = deque(units_of(lacking, device) if lacking.members else ())
    done = len(pack.members) - sum(len(unit.members) for unit in units)
    not_ok, share = 0, 0.0
    while units:
        unit = units.popleft()
        with closing(
            _run_unit(
                unit,
                store,
                device=device,
                resources=resources,
                measures=measures,
                tried=tried,
                can_grow=can_grow,
            )
        ) as events:
            for event in events:
                within = 0.0
                if isinstance(event, Progress):
                    within = event.steps / event.total_steps * len(unit.members)
                elif isinstance(event, _Stored):
                    done, not_ok = done + len(unit.members), not_ok + event.not_ok
                else:
                    units.extendleft(reversed(unit.halves()))
                share = max(share, (done + within) / len(pack.members))  # what halves do again was counted before
                yield PackProgress(done, not_ok, share)
        if units:
            _release(device)


def _measure_pack(
    pack: Pack,
    store: Store,
    *,
    device: torch.device,
    resources: Resources,
    measures: Measures | None,
    tried: Collection[str],
) -> PackEvents:
    """Measure members that were trained, one after the other, and store each as it is done."""
    not_ok = 0
    for at, (member, run) in enumerate(zip(pack.members, pack.runs, strict=True)):
        try:
            for _ in _measure_member(member, run, store, device=device, resources=resources, measures=measures):
                yield PackProgress(at, not_ok, at / len(pack.members))
        except Exception as error:
            if _is_storage(error):
                raise
            if member.member_id not in tried:
                raise UnitError(member.member_id, one_line_with_type(error)) from error
            logger.exception("member %s could not be measured", member.member_id)
            not_ok += 1
        yield PackProgress(at + 1, not_ok, (at + 1) / len(pack.members))


def _measure_member(
    member: Member, run: str, store: Store, *, device: torch.device, resources: Resources, measures: Measures | None
) -> Generator[None, None, None]:
    unit = Pack((member,))
    subsets = load_subsets(unit)
    measuring = _measuring(unit, store, subsets, measures, device=device, resources=resources)
    assert measuring is not None, "a pack that is only measured comes from a study that measures"
    weights = torch.load(io.BytesIO(store.read_weights(run, member.member_id)), weights_only=True)
    rows = MeasureRows()
    for _ in measure_trained(weights, member, subsets, measuring, device=device, resources=resources, rows=rows):
        yield
    store.write_measured(_measured_tables(rows, {member.member_id: run}, provenance_columns(_describe(device))))


def _lacking(pack: Pack, store: Store) -> Pack:
    """A pack without the members that an earlier attempt stored."""
    if len(pack.members) == 1:  # asked for because it is not stored: nothing to look up
        return pack
    stored = store.outcomes()
    return Pack(tuple(member for member in pack.members if stored.get(member.member_id) in (None, "failed")))


def _release(device: torch.device) -> None:
    """Give back the memory of a unit that has come to its end, on a GPU to whoever shares it."""
    if device.type == "cuda":
        gc.collect()  # an exception's frames hold tensors in cycles
        torch.cuda.empty_cache()


def _run_unit(
    unit: Pack,
    store: Store,
    *,
    device: torch.device,
    resources: Resources,
    measures: Measures | None,
    tried: Collection[str],
    can_grow: bool,
) -> _UnitEvents:
    """Train a unit and store its rows: its progress, then how it ended."""
    try:
        yield from _train_unit(unit, store, device=device, resources=resources, measures=measures)
    except Exception as error:  # whatever it is, it is this unit's outcome and not the end of the study
        if _is_storage(error):
            raise
        reason = one_line_with_type(error)
        if is_out_of_memory(error) and can_grow:
            raise ShareTooSmallError(reason) from error
        if not is_out_of_memory(error) and unit.pack_id not in tried:
            raise UnitError(unit.pack_id, reason) from error
        Checkpoints(store, unit.pack_id).clear()
        if is_out_of_memory(error) and len(unit.members) > 1:
            sizes = " and ".join(str(len(half.members)) for half in unit.halves())
            logger.warning("unit of %d members ran out of memory: begun again as %s members", len(unit.members), sizes)
            yield _TooLarge()
            return
        logger.exception("unit %s failed", unit.pack_id)
        store_failed(store, unit, reason, device=device, peak_bytes=peak_memory_bytes(device))
        yield _Stored(len(unit.members))


def _train_unit(
    unit: Pack, store: Store, *, device: torch.device, resources: Resources, measures: Measures | None
) -> _UnitEvents:
    subsets = load_subsets(unit)
    measuring = _measuring(unit, store, subsets, measures, device=device, resources=resources)
    slot = Checkpoints(store, unit.pack_id)
    not_ok = 0
    with closing(
        train_unit(unit, subsets, device=device, checkpoint=slot, resources=resources, measuring=measuring)
    ) as events:
        for event in events:
            if isinstance(event, Progress):
                yield event
            else:
                store_finished(store, event, device=device)
                not_ok = len({row["member_id"] for row in event.members if row["outcome"] != "ok"})
    yield _Stored(not_ok)


def _is_storage(error: Exception) -> bool:
    """Whether rows could not be written: then a row about it cannot be written either."""
    return isinstance(error, OSError)


def store_finished(store: Store, finished: Finished, *, device: torch.device) -> None:
    """Add run id and provenance to a unit's rows and store them as one run, weights first."""
    run_id = new_run_id()
    for member_id, weights in finished.weights.items():
        store.write_weights(run_id, member_id, weights)
    provenance = provenance_columns(_describe(device))
    tables = {
        "members": [row | provenance | {"run_id": run_id} for row in finished.members],
        "trajectories": [row | {"run_id": run_id} for row in finished.trajectories],
        **_measured_tables(finished.measured, dict.fromkeys(_ids(finished.members), run_id), provenance),
    }
    store.write_run(run_id, tables)


def _ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["member_id"] for row in rows]


def _measured_tables(
    measured: MeasureRows, runs: Mapping[str, str], provenance: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of measures with the run of each member; no table that has no rows."""
    produced = {name: provenance[name] for name in ("finished_at", "code_version", "device")}
    tables = {
        "measures": [row | produced for row in measured.measures],
        "probes": measured.probes,
        "reconstructions": measured.reconstructions,
    }
    return {name: [row | {"run_id": runs[row["member_id"]]} for row in rows] for name, rows in tables.items() if rows}


def store_failed(store: Store, unit: Pack, reason: str, *, device: torch.device, peak_bytes: int | None = None) -> None:
    """Store a row with the outcome `failed` for every member of a unit."""
    outcome = {"outcome": "failed", "reason": " ".join(reason.split()), "peak_memory_bytes": peak_bytes}
    rows = [
        settings_columns(member) | outcome | {"subset": name}
        for member in unit.members
        for name in subset_names(member.evaluation)
    ]
    store_finished(store, Finished(rows, [], MeasureRows(), {}), device=device)


def _measuring(
    unit: Pack,
    store: Store,
    subsets: Subsets,
    measures: Measures | None,
    *,
    device: torch.device,
    resources: Resources,
) -> Measuring | None:
    """What to measure of a unit; the neighbours of its split are found and stored by whoever needs them first."""
    if measures is None or not (measures.names or measures.annealing):
        return None
    member = unit.members[0]
    split = (member.dataset, member.split, member.study_seed)
    hard = store.hard_image(*split)
    if hard is None:
        with training_settings():
            rows = neighbour_rows(
                subsets, member, measures, device=device, memory_bytes=resources.evaluation_memory_gib * GIB
            )
        store.write_neighbours(*split, rows)
        hard = store.hard_image(*split)
    return Measuring(measures, hard)


def load_subsets(unit: Pack) -> Subsets:
    """The images that a unit's members read; those of the last cell stay in memory."""
    member = unit.members[0]
    return _load_subsets(member.dataset, member.split, member.evaluation, member.study_seed, member.likelihood)


@functools.lru_cache(maxsize=1)
def _load_subsets(dataset: str, split: str, evaluation: Evaluation, study_seed: int, likelihood: str) -> Subsets:
    data = dataset_info(dataset).load()
    rule = parse_rule(split)
    indices = make_split(rule, dataset=dataset, images=len(data.images), factors=data.factors, study_seed=study_seed)
    return make_subsets(data, indices, evaluation, study_seed=study_seed, likelihood=likelihood)


@functools.cache
def _describe(device: torch.device) -> str:
    return f"cuda: {torch.cuda.get_device_name()}" if device.type == "cuda" else f"cpu: {cpu_name()}"
