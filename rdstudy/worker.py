"""One pack from settings to stored rows: the same work in this process and inside a Ray trial.

Knows the store and the training, not who calls it. An exception in a member's training becomes a `failed` row.
"""

import functools
import logging
from collections.abc import Generator
from contextlib import closing
from typing import Any

import torch

from rdstudy.datasets import dataset_info
from rdstudy.packs import Pack
from rdstudy.progress import PackProgress
from rdstudy.provenance import cpu_name, provenance_columns
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.store import Store, new_run_id
from rdstudy.splits import make_split, parse_rule
from rdstudy.study import Evaluation
from rdstudy.training import Progress, Subsets, make_subsets, train_unit, units_of
from rdstudy.training.loop import settings_columns
from rdstudy.training.subsets import SUBSETS

PackEvents = Generator[PackProgress, None, None]
_UnitEvents = Generator[Progress | int, None, None]

logger = logging.getLogger(__name__)


def find_device(gpus: float) -> torch.device:
    """The device that a trial with this share of a GPU trains on.

    Raises:
        ValueError: a GPU is asked for and PyTorch sees none.
    """
    if gpus and not torch.cuda.is_available():
        raise ValueError(f"resources.gpus is {gpus}, and PyTorch sees no GPU; allowed here: 0")
    if 0 < gpus < 1:  # Ray counts shares, and holds nobody to them
        torch.cuda.set_per_process_memory_fraction(gpus)
    return torch.device("cuda" if gpus else "cpu")


def run_pack(pack: Pack, store: Store, *, device: torch.device, checkpoint_seconds: float) -> PackEvents:
    """Train the members of a pack that the store lacks, and store each unit as it finishes.

    When the generator is closed early, a checkpoint of the unit in work is kept.
    """
    done = not_ok = 0
    for unit in units_of(pack, device):
        with closing(_run_unit(unit, store, device=device, checkpoint_seconds=checkpoint_seconds)) as events:
            for event in events:
                within = 0.0
                if isinstance(event, Progress):
                    within = event.steps / event.total_steps * len(unit.members)
                else:
                    done, not_ok = done + len(unit.members), not_ok + event
                yield PackProgress(done, not_ok, (done + within) / len(pack.members))


def _run_unit(unit: Pack, store: Store, *, device: torch.device, checkpoint_seconds: float) -> _UnitEvents:
    """Train a unit and store its rows: its progress, then the number of its members whose outcome is not ok."""
    slot = Checkpoints(store, unit.pack_id)
    not_ok = 0
    try:
        subsets = load_subsets(unit)
        with closing(
            train_unit(unit, subsets, device=device, checkpoint=slot, checkpoint_seconds=checkpoint_seconds)
        ) as events:
            for event in events:
                if isinstance(event, Progress):
                    yield event
                else:
                    store_rows(store, event.members, event.trajectories, device=device)
                    not_ok = len({row["member_id"] for row in event.members if row["outcome"] != "ok"})
    except Exception as error:  # whatever it is, it is this unit's outcome and not the end of the study
        if _is_storage(error):
            raise
        logger.exception("unit %s failed", unit.pack_id)
        store_failed(store, unit, f"{type(error).__name__}: {error}", device=device)
        not_ok = len(unit.members)
    yield not_ok


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


def store_failed(store: Store, unit: Pack, reason: str, *, device: torch.device) -> None:
    """Store a row with the outcome `failed` for every member of a unit."""
    outcome = {"outcome": "failed", "reason": " ".join(reason.split())}
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
