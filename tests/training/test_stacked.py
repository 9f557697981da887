"""One meaning: the stacked path computes what the sequential path computes, member by member, in float64.

Sizes are distinct primes, so that a broadcast along the wrong axis cannot go unnoticed.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from rdstudy.datasets.splits import Split
from rdstudy.model import networks
from rdstudy.model.networks import VAE, NetworkShape
from rdstudy.model.priors import make_prior
from rdstudy.planning.packs import Pack, cost_of
from rdstudy.study import Evaluation, Member, Recipe
from rdstudy.training import Finished, Subsets, make_subsets, packs_on
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from tests.training.conftest import IMAGES, MEMBER, TRAIN, Slot, finish, toy_dataset

CPU = torch.device("cpu")
STEPS = 17  # crosses chunks of noise and epochs

# Seven members of three seeds in no particular order: a pack that lost some of its members to an earlier run.
PAIRS = ((0.7, 3), (0.0, 2), (3.0, 3), (0.1, 5), (0.01, 2), (1.0, 3), (0.3, 5))


pytestmark = pytest.mark.usefixtures("float64", "short_chunks")


@pytest.fixture
def images() -> Subsets:
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)


def members_of(architecture: str, depth: int, likelihood: str = "bernoulli") -> tuple[Member, ...]:
    width = 11 if architecture == "mlp" else 3
    base = dataclasses.replace(MEMBER, architecture=architecture, depth=depth, width=width, likelihood=likelihood)
    return tuple(dataclasses.replace(base, beta=beta, seed=seed) for beta, seed in PAIRS)


def sequential(member: Member, images: Subsets) -> SequentialTrainer:
    return SequentialTrainer(member, images.train, image_shape=images.image_shape, device=CPU)


def stacked(members: tuple[Member, ...], images: Subsets) -> StackedTrainer:
    return StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU)


def _nothing(*_: object) -> None:
    """What an optimizer that takes no step does."""


@pytest.mark.parametrize(
    ("architecture", "depth", "likelihood"),
    [
        ("mlp", 1, "bernoulli"),
        ("mlp", 3, "gaussian"),
        ("cnn", 1, "gaussian"),
        ("cnn", 2, "bernoulli"),
        ("linear", 1, "gaussian"),
    ],
)
def test_parameters_and_measures_equal_those_of_members_one_by_one(images, architecture, depth, likelihood):
    members = members_of(architecture, depth, likelihood)
    together = stacked(members, images)
    together.advance(0, STEPS)
    measured = together.measure(images.final["test"].blocks(), purpose="final test")
    for at, member in enumerate(members):
        alone = sequential(member, images)
        alone.advance(0, STEPS)
        weights = together.weights(at)
        for name, parameter in alone.vae.named_parameters():
            torch.testing.assert_close(weights[name], parameter.detach(), rtol=1e-9, atol=1e-11)
        values = alone.measure(images.final["test"].blocks(), purpose="final test")
        np.testing.assert_allclose(measured.distortion[at], values.distortion[0], rtol=1e-9)
        np.testing.assert_allclose(measured.rate[at], values.rate[0], rtol=1e-9)
        assert together.parameter_count == alone.parameter_count


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_measures_do_not_depend_on_how_many_members_fit_in_memory(images, architecture, at_once):
    members = members_of(architecture, 2)
    block = len(images.final["test"])
    pixels = images.train.shape[1]
    bound = 8 * block * (at_once * cost_of(members[0], images.image_shape).evaluation_numbers + pixels)
    all_at_once, bounded = (
        StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU, evaluation_bytes=given)
        for given in (1e12, bound)
    )
    assert [len(range(7)[group]) for group in bounded._groups(block)] == {1: [1] * 7, 2: [2, 2, 2, 1], 7: [7]}[at_once]
    whole, parts = (trainer.measure(images.final["test"].blocks(), purpose="p") for trainer in (all_at_once, bounded))
    np.testing.assert_allclose(whole.distortion, parts.distortion, rtol=1e-12)
    np.testing.assert_allclose(whole.rate, parts.rate, rtol=1e-12)
    assert len(set(whole.distortion)) == 3  # members of a seed start alike: a mixed-up order would show


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_gradients_equal_those_of_members_one_by_one(images, architecture, monkeypatch):
    """Adam forgets the scale of a gradient; gradients themselves do not."""
    members = members_of(architecture, 2)
    monkeypatch.setattr(torch.optim.Adam, "step", _nothing)
    monkeypatch.setattr(torch.optim.Adam, "zero_grad", _nothing)
    together = stacked(members, images)
    together.advance(0, 1)
    for at, member in enumerate(members):
        alone = sequential(member, images)
        alone.advance(0, 1)
        for name, parameter in alone.vae.named_parameters():
            gradient = together.parameters[name].grad
            assert gradient is not None
            assert parameter.grad is not None
            expected = parameter.grad.T if parameter.ndim == 2 else parameter.grad
            torch.testing.assert_close(gradient[at], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_gradients_are_handed_over_without_a_copy(images, architecture):
    """A gradient in another layout than its weights is copied at each step, and so would be their traffic."""
    together = stacked(members_of(architecture, 2), images)
    shapes = {tuple(parameter.shape) for parameter in together.parameters.values() if parameter.ndim == 3}
    with torch.profiler.profile(record_shapes=True) as profile:
        together.advance(0, 1)
    copied = {tuple(event.input_shapes[0]) for event in profile.events() if event.name == "aten::copy_"}
    assert shapes
    assert not shapes & copied


def test_members_differ_and_so_the_equality_above_means_something(images):
    together = stacked(members_of("mlp", 1), images)
    together.advance(0, STEPS)
    weights = together.parameters["encoder.0.weight"]
    for first in range(len(PAIRS)):
        for second in range(first):
            assert not torch.allclose(weights[first], weights[second], rtol=1e-6)


def test_a_members_numbers_do_not_depend_on_its_neighbours(images):
    members = members_of("mlp", 2)
    together, few = stacked(members, images), stacked(members[2:5], images)
    together.advance(0, STEPS)
    few.advance(0, STEPS)
    for name, parameter in few.parameters.items():
        torch.testing.assert_close(together.parameters[name][2:5], parameter, rtol=1e-9, atol=1e-11)


def test_steps_may_be_taken_in_any_slices(images):
    members = members_of("mlp", 1)
    whole, sliced = stacked(members, images), stacked(members, images)
    whole.advance(0, STEPS)
    for first, steps in ((0, 3), (3, 1), (4, 11), (15, 2)):
        sliced.advance(first, steps)
    for name, parameter in whole.parameters.items():
        assert torch.equal(sliced.parameters[name], parameter)


def test_one_member_going_to_nan_is_noted_with_its_step_and_leaves_the_others_untouched(images):
    members = members_of("mlp", 2)
    sick, well = stacked(members, images), stacked(members, images)
    for trainer in (sick, well):
        trainer.advance(0, 11)
    with torch.no_grad():
        sick.parameters["decoder.0.weight"][3] = torch.nan
    for trainer in (sick, well):
        trainer.advance(11, STEPS - 11)
    assert well.nonfinite_steps == (None,) * 7
    assert sick.nonfinite_steps == (None, None, None, 12, None, None, None)
    healthy = [at for at in range(7) if at != 3]
    for name, parameter in well.parameters.items():
        assert torch.equal(sick.parameters[name][healthy], parameter[healthy])
        assert not torch.isfinite(sick.parameters[name][3]).all()


def numbers(finished: Finished | None) -> list[tuple[str, float, float]]:
    assert finished is not None
    rows = sorted(
        finished.members + finished.trajectories, key=lambda row: (row["member_id"], row["subset"], row.get("step", 0))
    )
    return [(row["member_id"], row["distortion"], row["rate"]) for row in rows]


def test_rows_of_a_pack_are_those_of_its_members(images):
    pack = Pack(members_of("mlp", 2)[:3])
    together = numbers(finish(pack, images, Slot()))
    alone = [row for single in packs_on(pack, CPU) for row in numbers(finish(single, images, Slot()))]
    assert [row[0] for row in together] == [row[0] for row in sorted(alone, key=lambda row: row[0])]
    for packed, single in zip(together, sorted(alone, key=lambda row: row[0]), strict=True):
        np.testing.assert_allclose(packed[1:], single[1:], rtol=1e-8)


@pytest.mark.parametrize("stop_after", [0, 4])
def test_a_resumed_pack_equals_an_uninterrupted_one(images, stop_after):
    pack = Pack(members_of("mlp", 1)[:3])
    slot = Slot()
    assert finish(pack, images, slot, stop_after) is None
    assert slot.body is not None
    assert numbers(finish(pack, images, slot)) == numbers(finish(pack, images, Slot()))


def test_a_pack_in_which_one_member_explodes_keeps_the_rows_of_the_others(images, monkeypatch):
    members = members_of("mlp", 1)
    step = StackedTrainer._step

    def poisoned(self: StackedTrainer) -> None:
        if self._step_number == 13:
            with torch.no_grad():
                self.parameters["encoder.0.bias"][2] = torch.inf
        step(self)

    monkeypatch.setattr(StackedTrainer, "_step", poisoned)
    short = tuple(
        dataclasses.replace(member, recipe=Recipe(steps=STEPS, batch_size=5), evaluation=Evaluation(5, 13))
        for member in members
    )
    finished = finish(Pack(short), images, Slot())
    assert finished is not None
    outcomes = {(row["beta"], row["seed"]): row["outcome"] for row in finished.members}
    assert outcomes == {pair: "nonfinite" if pair == PAIRS[2] else "ok" for pair in PAIRS}
    bad = [row for row in finished.members if row["outcome"] == "nonfinite"]
    assert {row["nonfinite_step"] for row in bad} == {13}
    assert all("distortion" not in row for row in bad)
    assert all(np.isfinite(row["distortion"]) for row in finished.trajectories)
    last = [row["step"] for row in finished.trajectories if row["member_id"] == short[2].member_id]
    assert max(last) <= 13


def test_a_gpu_trains_a_pack_at_once_and_a_cpu_its_members_one_by_one():
    pack = Pack(members_of("mlp", 1))
    assert packs_on(pack, torch.device("cuda")) == (pack,)
    assert [single.members for single in packs_on(pack, CPU)] == [(member,) for member in pack.members]


class Norm(nn.Module):
    """A parameter and buffers of one member's own, one of which is in no file of weights."""

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(11)
        self.register_buffer("shift", torch.randn(11))
        self.register_buffer("scale", torch.rand(11), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.norm(x)
        return y * self.scale + self.shift


def test_layers_of_any_kind_are_stacked_with_their_buffers(images, monkeypatch):
    def modules_of(shape: NetworkShape) -> VAE:
        encoder = nn.Sequential(nn.Linear(shape.pixels, 11), Norm(), nn.Linear(11, 2 * shape.latent_dim))
        return VAE(encoder, nn.Linear(shape.latent_dim, shape.pixels), make_prior(shape))

    monkeypatch.setattr(networks, "modules_of", modules_of)
    members = tuple(dataclasses.replace(MEMBER, seed=seed) for seed in (3, 5))
    together = stacked(members, images)
    together.advance(0, 7)
    measured = together.measure([images.train], purpose="p")
    for at, member in enumerate(members):
        alone = sequential(member, images)
        alone.advance(0, 7)
        weights = together.weights(at)
        assert list(weights) == list(alone.weights(0))
        for name, value in alone.weights(0).items():
            torch.testing.assert_close(weights[name], value)
        (distortion,) = alone.measure([images.train], purpose="p").distortion
        assert measured.distortion[at] == pytest.approx(distortion, rel=1e-9)
