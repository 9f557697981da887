"""One pack from settings to stored rows: the same work in this process and inside a Ray trial.

Knows the store and the training, not who calls it. An exception in a member's training is raised once, for whoever
calls to try again elsewhere, and then becomes a `failed` row; members that are too many for the whole of a device's
memory are trained again in two halves.
"""

import functools
import gc
import logging
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from rdstudy.datasets import dataset_info
from rdstudy.datasets.cache import changed_files
from rdstudy.datasets.own import install_own
from rdstudy.datasets.splits import make_split, parse_rule
from rdstudy.measuring import MeasureRows, Measuring, measure_pack, measure_trained, neighbour_rows
from rdstudy.model.weights import WeightsError
from rdstudy.planning.packs import GIB, MeasuringPack, Pack, TrialPack
from rdstudy.planning.placement import memory_of
from rdstudy.results.checkpoints import Checkpoints, Sink
from rdstudy.results.rows import new_run_id
from rdstudy.results.snapshot import neighbours_key
from rdstudy.results.store import Store
from rdstudy.running import kept
from rdstudy.running.failures import PackError, ShareTooSmallError, traceback_text
from rdstudy.running.progress import PackProgress
from rdstudy.running.provenance import cpu_name, provenance_columns
from rdstudy.running.tracked import PackValues
from rdstudy.study import Evaluation, Measures, Member, Resources
from rdstudy.study.words import one_line_with_type
from rdstudy.training import Finished, Progress, Subsets, make_subsets, packs_on, train_pack
from rdstudy.training.loop import peak_memory_bytes
from rdstudy.training.process import is_out_of_memory, training_settings
from rdstudy.training.rows import settings_columns
from rdstudy.training.subsets import subset_names

PackEvents = Generator[PackProgress, None, None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Stored:
    """A pack has come to its end."""

    not_ok: int  # members with an outcome other than ok
    rows: Sequence[Mapping[str, Any]] = ()  # of members that were trained to their end


@dataclass(frozen=True)
class _TooLarge:
    """A pack of several members ran out of memory."""


_TrainingEvents = Generator[Progress | _Stored | _TooLarge, None, None]


@dataclass(frozen=True)
class _Call:
    """What `run_pack` was called with, beside the pack."""

    store: Store
    device: torch.device
    resources: Resources
    measures: Measures | None
    tried: Collection[str]
    can_grow: bool


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
    pack: TrialPack,
    store: Store,
    *,
    device: torch.device,
    resources: Resources,
    measures: Measures | None = None,
    tried: Collection[str] = (),
    can_grow: bool = False,
) -> PackEvents:
    """Train the members of a pack that the store lacks, measure them, and store them as they finish.

    What is trained at once is stored at once: all of a pack on a GPU, one member on a CPU. Members that are too many
    for a whole device's memory are begun again as two halves, one after the other, and so on down to single members:
    what they learn does not depend on their company.
    The members of a `MeasuringPack` are only measured, with the weights that its runs kept.
    When the generator is closed early, a checkpoint of what is in training is kept. Until it ends, the process has the
    settings of training, so whoever reads it closes it.

    Args:
        pack: members that can be stacked.
        store: where rows go.
        device: what trains.
        resources: of the study.
        measures: what is measured after training; None for nothing.
        tried: ids of packs that have raised an exception before: another one is stored as the outcome of their members.
        can_grow: whether the caller can give the pack a larger share of a device than it has.

    Raises:
        PackError: a pack that was not tried before raised an exception.
        ShareTooSmallError: out of memory, on a share that can grow.
        OSError: the store failed.
    """
    dataset = pack.members[0].dataset
    install_own(dataset, functools.partial(store.blobs.fetch_dataset_file, dataset))
    call = _Call(store, device, resources, measures, tried, can_grow)
    with training_settings():
        yield from _measure_pack(pack, call) if isinstance(pack, MeasuringPack) else _train_lacking(pack, call)


def _train_lacking(pack: TrialPack, call: _Call) -> PackEvents:
    """Train the members of a pack that the store lacks."""
    lacking, device = _lacking(pack.members, call.store), call.device
    waiting = deque(packs_on(Pack(lacking), device) if lacking else ())
    done = len(pack.members) - len(lacking)
    not_ok, share, values = 0, 0.0, PackValues()
    while waiting:
        _release(device)  # of the pack before, in this call or an earlier one of this process
        training = waiting.popleft()
        with closing(_attempt_pack(training, call)) as events:
            for event in events:
                within = 0.0
                if isinstance(event, Progress):
                    within = event.steps / event.total_steps * len(training.members)
                    values.measured(training.members, event.latest)
                elif isinstance(event, _Stored):
                    done, not_ok = done + len(training.members), not_ok + event.not_ok
                    values.finished(event.rows)
                else:
                    waiting.extendleft(reversed(training.halves()))
                share = max(share, (done + within) / len(pack.members))  # what halves do again was counted before
                yield PackProgress(done, not_ok, share, values.means())


def _measure_pack(pack: MeasuringPack, call: _Call) -> PackEvents:
    """Measure members that were trained, one after the other, and store each as it is done."""
    not_ok = 0
    for at, (member, run) in enumerate(zip(pack.members, pack.runs, strict=True)):
        try:
            for _ in _measure_member(member, run, call):
                yield PackProgress(at, not_ok, at / len(pack.members))
        except kept.OtherNumbersError as error:
            logger.warning("%s: it has no weights, and is not measured", error)
            not_ok += 1
        except Exception as error:
            if _is_storage(error):
                raise
            if member.member_id not in call.tried:
                raise PackError(member.member_id, one_line_with_type(error), traceback_text(error)) from error
            logger.exception("member %s could not be measured", member.member_id)
            not_ok += 1
        yield PackProgress(at + 1, not_ok, (at + 1) / len(pack.members))


def _measure_member(member: Member, run: str, call: _Call) -> Generator[None, None, None]:
    store, device, resources = call.store, call.device, call.resources
    subsets = load_subsets(member)
    measuring = _measuring(member, subsets, call)
    assert measuring is not None, "a pack that is only measured comes from a study that measures"
    file = store.blobs.read_weights(run, member.member_id)
    is_whole = True
    try:
        weights = kept.believed(file, member, run, store, subsets)
    except WeightsError as error:
        is_whole = False
        logger.warning("%s: set aside as NAME.damaged, and member %s trained again for it", error, member.member_id)
        slot = _Guarded(store, Pack((member,)).pack_id)
        weights = yield from kept.train_again(
            file, member, run, store, subsets, device=device, resources=resources, slot=slot
        )
    rows = MeasureRows()
    for _ in measure_trained(weights, member, subsets, measuring, device=device, resources=resources, rows=rows):
        yield
    _check_images()
    if not is_whole:
        kept.replace(file, weights, member, run, store, image_shape=subsets.image_shape)
    store.rows.write_measured(_measured_tables(rows, {member.member_id: run}, provenance_columns(_describe(device))))


def _lacking(members: tuple[Member, ...], store: Store) -> tuple[Member, ...]:
    """Members of a pack that no earlier attempt stored."""
    if len(members) == 1:  # asked for because it is not stored: nothing to look up
        return members
    cells = dict.fromkeys(member.cell_id for member in members)  # a run is named by the cell of its first member
    stored = {member: outcome for cell in cells for member, outcome in store.rows.outcomes(cell).items()}
    return tuple(member for member in members if stored.get(member.member_id) in (None, "failed"))


def _release(device: torch.device) -> None:
    """Give back the memory of a pack that has come to its end, on a GPU to whoever shares it."""
    if device.type == "cuda":
        gc.collect()  # an exception's frames hold tensors in cycles
        torch.cuda.empty_cache()


def _check_free(pack: Pack, device: torch.device, resources: Resources) -> None:
    """Find out before a pack starts that a GPU has no room for it: others may hold what the plan counted on.

    Raises:
        torch.cuda.OutOfMemoryError: what is free is less than the estimate of several members.
    """
    if device.type != "cuda" or len(pack.members) == 1:
        return
    free, whole = torch.cuda.mem_get_info(device)
    needed = memory_of(pack, resources).peak
    if needed > free:
        raise torch.cuda.OutOfMemoryError(
            f"out of memory before the start: {len(pack.members)} members need about {needed / GIB:.1f} GiB, and "
            f"{free / GIB:.1f} of the GPU's {whole / GIB:.1f} GiB are free"
        )


def _attempt_pack(pack: Pack, call: _Call) -> _TrainingEvents:
    """Train a pack and store its rows: its progress, then how it ended."""
    store, device = call.store, call.device
    try:
        _check_free(pack, device, call.resources)
        yield from _train_pack(pack, call)
    except Exception as error:  # whatever it is, it is this pack's outcome and not the end of the study
        if _is_storage(error):
            raise
        reason = one_line_with_type(error)
        if is_out_of_memory(error) and call.can_grow:
            raise ShareTooSmallError(reason) from error
        if not is_out_of_memory(error) and pack.pack_id not in call.tried:
            raise PackError(pack.pack_id, reason, traceback_text(error)) from error
        Checkpoints(store, pack.pack_id).clear()
        if is_out_of_memory(error) and len(pack.members) > 1:
            sizes = " and ".join(str(len(half.members)) for half in pack.halves())
            logger.warning("pack of %d members ran out of memory: begun again as %s members", len(pack.members), sizes)
            yield _TooLarge()
            return
        logger.exception("pack %s failed", pack.pack_id)
        where = traceback_text(error)
        store_failed(store, pack, reason, traceback=where, device=device, peak_bytes=peak_memory_bytes(device))
        yield _Stored(len(pack.members))


@dataclass
class _Guarded(Checkpoints):
    """Checkpoints of a pack; none is kept of one whose images changed on the disk while it was trained."""

    changed: list[Path] = field(default_factory=list)

    def images_hold(self) -> bool:
        """Whether all image files are still what they were when they were mapped."""
        self.changed += changed_files()
        if self.changed:
            _load_subsets.cache_clear()
        return not self.changed

    def save(self, write: Callable[[Sink], object]) -> None:
        if self.images_hold():
            super().save(write)
        else:
            self.clear()


class ImagesChangedError(Exception):
    """A file of images was changed while it was in use: what was measured of them is worth nothing."""


def _check_images() -> None:
    for path in changed_files():
        _load_subsets.cache_clear()
        raise ImagesChangedError(f"{path} was changed while its images were in use")


def _train_pack(pack: Pack, call: _Call) -> _TrainingEvents:
    store, device, resources = call.store, call.device, call.resources
    subsets = load_subsets(pack.members[0])
    measuring = _measuring(pack.members[0], subsets, call)
    slot = _Guarded(store, pack.pack_id)
    not_ok, progress, rows = 0, Progress(0, 1), []
    with closing(train_pack(pack, subsets, device=device, checkpoint=slot, resources=resources)) as events:
        for event in events:
            if isinstance(event, Progress):
                progress = event
                yield event
                continue
            measured = MeasureRows()
            if measuring is not None:
                trained = [member for member in pack.members if member.member_id in event.weights]
                for _ in measure_pack(
                    event.weights, trained, subsets, measuring, device=device, resources=resources, rows=measured
                ):
                    yield progress
            if not slot.images_hold():
                slot.clear()
                raise ImagesChangedError(f"{slot.changed[0]} was changed while its images were in use")
            peak = {"peak_memory_bytes": peak_memory_bytes(device)}
            weights = event.weights if resources.keep_weights else {}
            finished = Finished([row | peak for row in event.members], event.trajectories, weights)
            _store_finished(store, pack, finished, device=device, measured=measured, image_shape=subsets.image_shape)
            rows = event.members
            not_ok = len({row["member_id"] for row in rows if row["outcome"] != "ok"})
    yield _Stored(not_ok, rows)


def _is_storage(error: Exception) -> bool:
    """Whether rows could not be written: then a row about it cannot be written either."""
    return isinstance(error, OSError)


def _store_finished(
    store: Store,
    pack: Pack,
    finished: Finished,
    *,
    device: torch.device,
    measured: MeasureRows | None = None,
    image_shape: tuple[int, int, int] | None = None,
) -> None:
    """Store a pack's rows as one run, with its id and provenance, and before them the weights that are kept."""
    run_id = new_run_id(pack.members[0].cell_id)
    for member in pack.members:
        if member.member_id in finished.weights:
            assert image_shape is not None, "weights say which images they are for"
            kept.keep(finished.weights[member.member_id], member, run_id, store, image_shape=image_shape)
    provenance = provenance_columns(_describe(device))
    runs = {member.member_id: run_id for member in pack.members}
    tables = {
        "members": [row | provenance | {"run_id": run_id} for row in finished.members],
        "trajectories": [row | {"run_id": run_id} for row in finished.trajectories],
        **_measured_tables(measured or MeasureRows(), runs, provenance),
    }
    store.rows.write_run(run_id, tables)


def _measured_tables(
    measured: MeasureRows, runs: Mapping[str, str], provenance: Mapping[str, Any]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of measures with the run of each member; no table that has no rows."""
    produced = {name: provenance[name] for name in ("finished_at", "code_version", "device")}
    tables: dict[str, list[dict[str, Any]]] = vars(measured) | {
        "measures": [row | produced for row in measured.measures],
        "own_measures": [row | produced for row in measured.own_measures],
    }
    return {name: [row | {"run_id": runs[row["member_id"]]} for row in rows] for name, rows in tables.items() if rows}


def store_failed(
    store: Store,
    pack: Pack,
    reason: str,
    *,
    traceback: str = "",
    device: torch.device,
    peak_bytes: int | None = None,
) -> None:
    """Store a row with the outcome `failed` for every member of a pack."""
    outcome = {
        "outcome": "failed",
        "reason": " ".join(reason.split()),
        "traceback": traceback or None,
        "peak_memory_bytes": peak_bytes,
    }
    rows = [
        settings_columns(member) | outcome | {"subset": name}
        for member in pack.members
        for name in subset_names(member.evaluation)
    ]
    _store_finished(store, pack, Finished(rows, [], {}), device=device)


def _measuring(member: Member, subsets: Subsets, call: _Call) -> Measuring | None:
    """What to measure of members like this one; the neighbours of a split are stored by whoever needs them first."""
    store, measures = call.store, call.measures
    if measures is None or not (measures.names or measures.annealing):
        return None
    key = neighbours_key(member, measures)
    hard = store.rows.hard_image(key)
    if hard is None:
        store_neighbours(store, member, measures, subsets=subsets, device=call.device, resources=call.resources)
        hard = store.rows.hard_image(key)
    return Measuring(measures, hard)


def store_neighbours(
    store: Store,
    member: Member,
    measures: Measures,
    *,
    resources: Resources,
    subsets: Subsets | None = None,
    device: torch.device | None = None,
) -> None:
    """Find and store the neighbours of a member's split, on the CPU unless a device is given."""
    subsets = subsets or load_subsets(member)
    with training_settings():
        rows = neighbour_rows(
            subsets,
            member,
            measures,
            device=device or torch.device("cpu"),
            memory_bytes=resources.evaluation_memory_gib * GIB,
        )
    _check_images()
    store.rows.write_neighbours(neighbours_key(member, measures), rows)


def load_subsets(member: Member) -> Subsets:
    """The images that the members of a cell read; those of the last cell stay in memory."""
    if changed_files():
        _load_subsets.cache_clear()
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
