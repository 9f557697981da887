"""One pack from settings to stored rows: the same work in this process and inside a Ray trial.

Knows the store and the training, not who calls it. An exception in a member's training becomes a `failed` row; members
that are too many for the device's memory are trained again in two halves.
"""

import functools
import gc
import logging
from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from rdstudy.datasets import dataset_info
from rdstudy.packs import GIB, Pack
from rdstudy.progress import PackProgress
from rdstudy.provenance import cpu_name, provenance_columns
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.store import Store, new_run_id
from rdstudy.splits import make_split, parse_rule
from rdstudy.study import Evaluation, Resources
from rdstudy.training import Progress, Subsets, make_subsets, train_unit, units_of
from rdstudy.training.loop import peak_memory_bytes, settings_columns
from rdstudy.training.process import is_out_of_memory
from rdstudy.training.subsets import SUBSETS

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
    checkpoint_seconds: float,
    evaluation_bytes: float = Resources.evaluation_memory_gib * GIB,
) -> PackEvents:
    """Train the members of a pack that the store lacks, and store each unit as it finishes.

    A unit of several members that runs out of memory is begun again as two halves, one after the other, and so on
    down to single members: what they learn does not depend on their company.
    When the generator is closed early, a checkpoint of the unit in work is kept.
    """
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
                checkpoint_seconds=checkpoint_seconds,
                evaluation_bytes=evaluation_bytes,
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
    unit: Pack, store: Store, *, device: torch.device, checkpoint_seconds: float, evaluation_bytes: float
) -> _UnitEvents:
    """Train a unit and store its rows: its progress, then how it ended."""
    slot = Checkpoints(store, unit.pack_id)
    end: _Stored | _TooLarge = _Stored(0)
    try:
        subsets = load_subsets(unit)
        with closing(
            train_unit(
                unit,
                subsets,
                device=device,
                checkpoint=slot,
                checkpoint_seconds=checkpoint_seconds,
                evaluation_bytes=evaluation_bytes,
            )
        ) as events:
            for event in events:
                if isinstance(event, Progress):
                    yield event
                else:
                    store_rows(store, event.members, event.trajectories, device=device)
                    end = _Stored(len({row["member_id"] for row in event.members if row["outcome"] != "ok"}))
    except Exception as error:  # whatever it is, it is this unit's outcome and not the end of the study
        if _is_storage(error):
            raise
        if is_out_of_memory(error) and len(unit.members) > 1:
            sizes = " and ".join(str(len(half.members)) for half in unit.halves())
            logger.warning("unit of %d members ran out of memory: begun again as %s members", len(unit.members), sizes)
            slot.clear()
            end = _TooLarge()
        else:
            logger.exception("unit %s failed", unit.pack_id)
            reason = f"{type(error).__name__}: {error}"
            store_failed(store, unit, reason, device=device, peak_bytes=peak_memory_bytes(device))
            end = _Stored(len(unit.members))
    yield end


def _is_storage(error: Exception) -> bool:
    """Whether rows could not be written: then a row about it cannot be written either."""
    return isinstance(error, OSError)


def store_rows(
    store: Store, members: list[dict[str, Any]], trajectories: list[dict[str, Any]], *, device: torch.device
) -> None:
    """Add run id and provenance to a unit's rows and store them as one run."""
    run_id = new_run_id()
    provenance = provenance_columns(_describe(device))
    tables = {
        "members": [row | provenance | {"run_id": run_id} for row in members],
        "trajectories": [row | {"run_id": run_id} for row in trajectories],
    }
    store.write_run(run_id, tables)


def store_failed(store: Store, unit: Pack, reason: str, *, device: torch.device, peak_bytes: int | None = None) -> None:
    """Store a row with the outcome `failed` for every member of a unit."""
    outcome = {"outcome": "failed", "reason": " ".join(reason.split()), "peak_memory_bytes": peak_bytes}
    rows = [settings_columns(member) | outcome | {"subset": name} for member in unit.members for name in SUBSETS]
    store_rows(store, rows, [], device=device)


def load_subsets(unit: Pack) -> Subsets:
    """The images that a unit's members read; those of the last cell stay in memory."""
    member = unit.members[0]
    return _load_subsets(member.dataset, member.split, member.evaluation, member.study_seed)


@functools.lru_cache(maxsize=1)
def _load_subsets(dataset: str, split: str, evaluation: Evaluation, study_seed: int) -> Subsets:
    data = dataset_info(dataset).load()
    rule = parse_rule(split)
    indices = make_split(rule, dataset=dataset, images=len(data.images), factors=data.factors, study_seed=study_seed)
    return make_subsets(data, indices, evaluation, study_seed=study_seed)


@functools.cache
def _describe(device: torch.device) -> str:
    return f"cuda: {torch.cuda.get_device_name()}" if device.type == "cuda" else f"cpu: {cpu_name()}"
