"""What packs are estimated to take, held against real networks and against the tensors that are alive."""

import dataclasses
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rdstudy.planning.packs import BLOCK_IMAGES, cost_of, members_at_once, pack_memory
from rdstudy.study import Member, Recipe
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer

CPU = torch.device("cpu")
SHAPE = (3, 16, 24)
TRAIN, BATCH = 1_103, 61
STATED = 1.6  # the factor that `pack_memory` names


class Alive(TorchDispatchMode):
    """Counts the bytes of tensors made while it is active, until each is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())
        return out

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata in self._seen:
            return
        self._seen.add(storage._cdata)
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, storage._cdata, storage.nbytes())

    def _drop(self, key: int, count: int) -> None:
        self._seen.discard(key)
        self.now -= count

    def peak_of(self, work: Callable[[], object]) -> int:
        self.peak = self.now
        work()
        return self.peak


def member(architecture: str, depth: int, width: int) -> Member:
    recipe = Recipe(batch_size=BATCH)
    return Member("a", "b", 0.1, 0, architecture=architecture, depth=depth, width=width, recipe=recipe)


@pytest.mark.parametrize(
    ("architecture", "depth", "width", "seeds"),
    [
        ("mlp", 1, 512, 3),
        ("mlp", 3, 128, 1),
        ("cnn", 1, 23, 1),
        ("cnn", 1, 23, 3),
        ("cnn", 3, 64, 1),
        ("linear", 1, 1, 1),
        ("linear", 1, 1, 3),
    ],
)
def test_a_pack_takes_about_what_is_estimated(architecture, depth, width, seeds):
    first = member(architecture, depth, width)
    members = [dataclasses.replace(first, beta=beta, seed=seed) for beta in (0.1, 1.0) for seed in range(seeds)]
    train = torch.zeros(TRAIN, 3 * 16 * 24, dtype=torch.uint8)
    estimate = pack_memory(
        first, members=len(members), seeds=seeds, image_shape=SHAPE, train_images=TRAIN, evaluation_bytes=1e12
    )
    network = (
        4 * cost_of(first, SHAPE).parameters
    )  # from which the stack was made: on a GPU machine it is not on the GPU
    with Alive() as alive:
        trainer = StackedTrainer(members, train, image_shape=SHAPE, device=CPU, evaluation_bytes=1e12)
        trainer.advance(0, 1)
        step = alive.peak_of(lambda: trainer.advance(1, 1)) + train.nbytes - network
        held = alive.now
        evaluation = alive.peak_of(lambda: trainer.measure([train[:BLOCK_IMAGES]], purpose="p")) - held
    assert held - network < estimate.parameters + estimate.shared
    assert 1 / STATED < (estimate.parameters + estimate.shared + estimate.step) / step < STATED
    assert 1 / STATED < estimate.evaluation / evaluation < STATED


@pytest.mark.parametrize(
    ("architecture", "depth", "width"), [("mlp", 2, 31), ("cnn", 1, 23), ("cnn", 3, 64), ("linear", 1, 1)]
)
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_a_measurement_stays_within_its_bound(architecture, depth, width, at_once):
    first = member(architecture, depth, width)
    members = [dataclasses.replace(first, beta=float(beta)) for beta in range(7)]
    images = torch.zeros(509, 3 * 16 * 24, dtype=torch.uint8)
    bound = 4 * 509 * (at_once * cost_of(first, SHAPE).evaluation_numbers + 3 * 16 * 24)
    assert members_at_once(cost_of(first, SHAPE), 509, bytes_bound=bound) == at_once
    trainer = StackedTrainer(members, images, image_shape=SHAPE, device=CPU, evaluation_bytes=bound)
    with Alive() as alive:
        assert bound / 2 < alive.peak_of(lambda: trainer.measure([images], purpose="p")) <= 1.05 * bound


@pytest.mark.parametrize(("architecture", "gib"), [("mlp", 0.1), ("cnn", 0.2)])
def test_a_member_alone_is_measured_in_what_the_documentation_says(architecture, gib):
    first = member(architecture, 3, {"mlp": 512, "cnn": 64}[architecture])
    images = torch.zeros(BLOCK_IMAGES, 3 * 32 * 32, dtype=torch.uint8)
    trainer = SequentialTrainer(first, images, image_shape=(3, 32, 32), device=CPU)
    with Alive() as alive:
        assert alive.peak_of(lambda: trainer.measure([images], purpose="p")) < gib * 2**30
