"""A small data set of random images, and members that train on it in a moment."""

import dataclasses
import importlib.util
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import Split
from rdstudy.planning.packs import Pack
from rdstudy.study import Evaluation, Member, Recipe, Resources
from rdstudy.training import Finished, Subsets, draws, make_subsets, stacked, train_pack

# `make test-heavy` installs Triton and names this file, so that pytest fails where it is left out there.
collect_ignore = [] if importlib.util.find_spec("triton") else ["test_dense_step.py"]

IMAGES, TRAIN, SIDE = 41, 23, 4
MEMBER = Member(
    dataset="toy",
    split="cv(23)",
    beta=0.7,
    seed=3,
    width=11,
    latent_dim=2,
    recipe=Recipe(steps=67, batch_size=5),  # a chunk of noise has 64
    evaluation=Evaluation(trajectory_points=7, trajectory_images=13),
)


class Slot:
    """A checkpoint slot in memory that remembers how often it was written."""

    def __init__(self) -> None:
        self.body: bytes | None = None
        self.saves = 0

    def load(self) -> bytes | None:
        return self.body

    def save(self, write: Callable[[Any], object]) -> None:
        file = io.BytesIO()
        write(file)
        self.body, self.saves = file.getvalue(), self.saves + 1

    def clear(self) -> None:
        self.body = None


def toy_dataset() -> Dataset:
    rng = np.random.default_rng(11)
    smooth = rng.random((IMAGES, 3, 2, 2)).repeat(2, axis=2).repeat(2, axis=3)
    return Dataset((255 * smooth).astype(np.uint8), None)


@pytest.fixture(scope="session")
def subsets() -> Subsets:
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)


@pytest.fixture
def short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise is drawn in chunks of 7 steps, so that few steps cross several of them."""
    for module in (draws, stacked):
        monkeypatch.setattr(module, "CHUNK_STEPS", 7)


@pytest.fixture
def train(subsets: Subsets) -> Callable[..., Finished]:
    """Train one member to its end and return its rows."""

    def run(slot: Slot | None = None, **settings: object) -> Finished:
        member = dataclasses.replace(MEMBER, **settings)  # type: ignore[arg-type]
        events = list(
            train_pack(
                Pack((member,)),
                subsets,
                device=torch.device("cpu"),
                checkpoint=slot or Slot(),
                resources=Resources(checkpoint_seconds=1e9),
            )
        )
        finished = events[-1]
        assert isinstance(finished, Finished)
        return finished

    return run


def finish(pack: Pack, images: Subsets, slot: Slot, stop_after: int | None = None) -> Finished | None:
    """Train a pack to its end, or close it early after an event and return None."""
    events = train_pack(
        pack, images, device=torch.device("cpu"), checkpoint=slot, resources=Resources(checkpoint_seconds=0.0)
    )
    for number, event in enumerate(events):
        if isinstance(event, Finished):
            return event
        if number == stop_after:
            events.close()
            return None
    raise AssertionError("a pack ends with Finished")
