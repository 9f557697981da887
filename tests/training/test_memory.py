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

from rdstudy import packs
from rdstudy.model.networks import NetworkShape, build
from rdstudy.packs import evaluation_numbers, members_at_once, pack_memory, parameter_count
from rdstudy.study import Member, Recipe
from rdstudy.training.sequential import SequentialLearner
from rdstudy.training.stacked import StackedLearner
from rdstudy.training.streams import CHUNK_STEPS
from rdstudy.training.subsets import BLOCK_IMAGES

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


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("architecture", ["mlp", "cnn", "linear"])
@pytest.mark.parametrize("latent", [1, 7])
def test_parameters_are_those_of_the_networks(architecture, depth, latent):
    one = dataclasses.replace(member(architecture, depth, 13), latent_dim=latent)
    vae = build(NetworkShape(architecture, depth, 13, latent, SHAPE), seed=0)
    assert parameter_count(one, SHAPE) == sum(parameter.numel() for parameter in vae.parameters())


@pytest.mark.parametrize(
    ("architecture", "depth", "width"),
    [("mlp", 1, 512), ("mlp", 3, 128), ("cnn", 1, 23), ("cnn", 3, 64), ("linear", 1, 1)],
)
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_pack_takes_about_what_is_estimated(architecture, depth, width, seeds):
    one = member(architecture, depth, width)
    members = [dataclasses.replace(one, beta=beta, seed=seed) for beta in (0.1, 1.0) for seed in range(seeds)]
    train = torch.zeros(TRAIN, 3 * 16 * 24, dtype=torch.uint8)
    estimate = pack_memory(
        one, members=len(members), seeds=seeds, image_shape=SHAPE, train_images=TRAIN, evaluation_bytes=1e12
    )
    network = 4 * parameter_count(one, SHAPE)  # from which the stack was made: on a GPU machine it is not on the GPU
    with Alive() as alive:
        learner = StackedLearner(members, train, image_shape=SHAPE, device=CPU, evaluation_bytes=1e12)
        learner.advance(0, 2)
        step = alive.peak_of(lambda: learner.advance(2, 2)) + train.nbytes - network
        held = alive.now
        evaluation = alive.peak_of(lambda: learner.measure([train[:BLOCK_IMAGES]], purpose="p")) - held
    assert held - network < estimate.parameters + estimate.shared
    assert 1 / STATED < (estimate.parameters + estimate.shared + estimate.step) / step < STATED
    assert 1 / STATED < estimate.evaluation / evaluation < STATED


@pytest.mark.parametrize(
    ("architecture", "depth", "width"), [("mlp", 2, 31), ("cnn", 1, 23), ("cnn", 3, 64), ("linear", 1, 1)]
)
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_a_measurement_stays_within_its_bound(architecture, depth, width, at_once):
    one = member(architecture, depth, width)
    members = [dataclasses.replace(one, beta=float(beta)) for beta in range(7)]
    images = torch.zeros(509, 3 * 16 * 24, dtype=torch.uint8)
    bound = 4 * 509 * (at_once * evaluation_numbers(one, SHAPE) + 3 * 16 * 24)
    assert members_at_once(one, SHAPE, 509, bytes_bound=bound) == at_once
    learner = StackedLearner(members, images, image_shape=SHAPE, device=CPU, evaluation_bytes=bound)
    with Alive() as alive:
        assert bound / 2 < alive.peak_of(lambda: learner.measure([images], purpose="p")) <= 1.05 * bound


@pytest.mark.parametrize(("architecture", "gib"), [("mlp", 0.1), ("cnn", 0.2)])
def test_a_member_alone_is_measured_in_what_the_documentation_says(architecture, gib):
    one = member(architecture, 3, {"mlp": 512, "cnn": 64}[architecture])
    images = torch.zeros(BLOCK_IMAGES, 3 * 32 * 32, dtype=torch.uint8)
    learner = SequentialLearner(one, images, image_shape=(3, 32, 32), device=CPU)
    with Alive() as alive:
        assert alive.peak_of(lambda: learner.measure([images], purpose="p")) < gib * 2**30


def test_constants_that_are_named_in_two_places_are_equal():
    assert packs.EVALUATION_BLOCK_IMAGES == BLOCK_IMAGES
    assert packs._CHUNK_STEPS == CHUNK_STEPS
