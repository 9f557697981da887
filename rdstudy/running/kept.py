"""Weights that a store keeps: written, read back only if they are their member's, and trained again where they are not.

A file that says its member and run, and has its bytes, is believed. One of an earlier version does not say whose it is:
it is believed where its checksums hold, it fits the member's network, and the rate and distortion of the final training
images, measured again with the same noise, are those of the stored row.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import Any

import torch
from torch import Tensor

from rdstudy.model.weights import Header, WeightsError, from_bytes, from_old_bytes, network_for, to_bytes
from rdstudy.planning.packs import Pack
from rdstudy.results.blobs import StoredWeights
from rdstudy.results.store import Store
from rdstudy.running.provenance import code_version
from rdstudy.study import Member, Resources
from rdstudy.training import Finished, Subsets, train_pack
from rdstudy.training.loop import CheckpointSlot
from rdstudy.training.process import training_settings
from rdstudy.training.sequential import SequentialTrainer

_TOLERANCE = 1e-4  # relative: of one model on two devices, which round differently; two models are farther apart
_VALUES = ("outcome", "distortion", "rate")


class OtherNumbersError(Exception):
    """A member that is trained again here does not become the one that is stored."""


def keep(
    tensors: Mapping[str, Tensor], member: Member, run_id: str, store: Store, *, image_shape: tuple[int, int, int]
) -> None:
    """Keep the weights of a run's member."""
    header = Header.of(member, run_id=run_id, image_shape=image_shape, code_version=code_version())
    store.blobs.write_weights(run_id, member.member_id, to_bytes(tensors, header))


def believed(file: StoredWeights, member: Member, run_id: str, store: Store, subsets: Subsets) -> Mapping[str, Tensor]:
    """The weights in a file, if they are those of a run's member.

    Raises:
        WeightsError: they are not.
    """
    if not file.is_old:
        kept = from_bytes(file.content, path=file.path)
        kept.check_whose(member_id=member.member_id, run_id=run_id, path=file.path)
        network_for(member, subsets.image_shape, kept.tensors, path=file.path)
        return kept.tensors
    weights = from_old_bytes(file.content, path=file.path)
    network_for(member, subsets.image_shape, weights, path=file.path)
    stored = [row for row in store.rows.of_run(run_id, member.member_id) if row["subset"] == "train"]
    if not stored or not _reproduces(weights, member, subsets, stored[0]):
        raise WeightsError(f"{file.path} gives other numbers than the row of member {member.member_id}")
    return weights


def _reproduces(weights: Mapping[str, Tensor], member: Member, subsets: Subsets, row: Mapping[str, Any]) -> bool:
    """Whether weights give the rate and distortion of a member's row of the training subset."""
    cpu = torch.device("cpu")
    with training_settings():
        trainer = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=cpu)
        trainer.vae.load_state_dict(dict(weights))
        measured = trainer.measure(subsets.final["train"].blocks(), purpose="final train")
    pairs = ((measured.distortion[0], row["distortion"]), (measured.rate[0], row["rate"]))
    return all(before is not None and abs(now - before) <= _TOLERANCE * abs(before) for now, before in pairs)


def train_again(
    file: StoredWeights,
    member: Member,
    run_id: str,
    store: Store,
    subsets: Subsets,
    *,
    device: torch.device,
    resources: Resources,
    slot: CheckpointSlot,
) -> Generator[None, None, Mapping[str, Tensor]]:
    """Train a member that is stored once more, since its file of weights is not to be believed; signs of life.

    The file stays where it is until `replace` puts another in its place: a run that is killed before is done again.

    Returns:
        The weights.

    Raises:
        OtherNumbersError: its numbers are not those that are stored; the file is set aside, and it has no weights then.
    """
    trained: Finished | None = None
    pack = Pack((member,))
    with closing(train_pack(pack, subsets, device=device, checkpoint=slot, resources=resources)) as events:
        for event in events:
            if isinstance(event, Finished):
                trained = event  # and to the end, where the checkpoint is deleted
            yield
    assert trained is not None, "training ends with what it made"
    if _values(trained.members) != _values(store.rows.of_run(run_id, member.member_id)):
        store.blobs.set_aside_weights(file)
        raise OtherNumbersError(f"member {member.member_id} gets other numbers here than in run {run_id}")
    return trained.weights[member.member_id]


def replace(
    file: StoredWeights,
    tensors: Mapping[str, Tensor],
    member: Member,
    run_id: str,
    store: Store,
    *,
    image_shape: tuple[int, int, int],
) -> None:
    """Keep weights in the place of a file that is not to be believed, of which a copy is set aside."""
    store.blobs.copy_aside_weights(file)
    keep(tensors, member, run_id, store, image_shape=image_shape)
    if file.is_old:
        store.blobs.delete_weights(file)


def _values(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {row["subset"]: [row[name] for name in _VALUES] for row in rows}
