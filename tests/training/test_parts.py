"""Every part on both paths: stacked is one by one, resumed is uninterrupted, with a learning rate for each member."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rdstudy.datasets.splits import Split
from rdstudy.study import FACTORS, Member, Recipe, parts
from rdstudy.training import make_subsets
from rdstudy.training.objectives import Objective, Terms
from rdstudy.training.objectives import _objective as objective_module
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.stacked_optimizer import side_by_side
from rdstudy.training.subsets import Subsets
from tests.training.conftest import IMAGES, MEMBER, TRAIN, toy_dataset

pytestmark = pytest.mark.usefixtures("float64", "short_chunks")

CPU = torch.device("cpu")
STEPS = 13
LEVELS = {
    "prior": ("normal", "mixture(k=3)", "vamp(k=5)", "flow(layers=3)"),
    "likelihood": ("bernoulli", "continuous_bernoulli", "gaussian(sigma=0.2)", "gaussian(sigma=optimal)"),
    "objective": (
        *("beta", "no_marginal_kl", "no_mutual_information"),
        *("warmup(steps=5)", "cyclic(period=7)"),
    ),
    "optimizer": ("adam", "adamw", "sgd", "sgd(momentum=0.5)"),
    "schedule": ("constant", "cosine", "cosine(warmup=5)", "step_decay(every=7, factor=0.5)"),
    "initialization": ("default", "he"),
}
MIXED = (
    {"prior": "vamp(k=5)", "likelihood": "gaussian(sigma=optimal)", "schedule": "cosine(warmup=5)"},
    {"prior": "flow(layers=2)", "objective": "no_marginal_kl", "optimizer": "sgd"},
    {"prior": "mixture(k=3)", "objective": "cyclic(period=7)", "architecture": "cnn", "width": 3},
)
CASES = [*({factor: level} for factor, levels in LEVELS.items() for level in levels), *MIXED]


def member_of(levels: dict[str, Any], **others: Any) -> Member:
    """A member with these levels, of the recipe and of itself."""
    settings = {"width": 11, **levels, **others}
    of_recipe = {name: settings.pop(name) for name in list(settings) if FACTORS[name].holder == "recipe"}
    recipe = dataclasses.replace(Recipe(steps=STEPS, batch_size=5, learning_rate=3e-3), **of_recipe)
    return dataclasses.replace(MEMBER, recipe=recipe, **settings)


def members_of(levels: dict[str, Any]) -> tuple[Member, ...]:
    """Members that differ in all that enters a step as a tensor."""
    varied = ((0.7, 3, 3e-3, 0.0), (0.1, 2, 3e-3, 0.0), (3.0, 3, 1e-3, 0.01), (0.7, 5, 3e-3, 0.01))
    return tuple(
        member_of(levels, beta=beta, seed=seed, learning_rate=rate, weight_decay=decay)
        for beta, seed, rate, decay in varied
    )


@pytest.fixture(scope="module")
def images() -> Subsets:
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)


def alone(member: Member, images: Subsets) -> SequentialTrainer:
    return SequentialTrainer(member, images.train, image_shape=images.image_shape, device=CPU)


def together(members: tuple[Member, ...], images: Subsets) -> StackedTrainer:
    return StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU)


def assert_close(actual: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(actual[name], value, rtol=1e-7, atol=1e-9)


def test_every_built_in_part_is_tried():
    for factor, levels in LEVELS.items():
        if factor != "initialization":
            assert {parts.parse(level).name for level in levels} == set(parts.names(factor)), factor


@pytest.mark.parametrize("levels", CASES, ids=lambda levels: " ".join(map(str, levels.values())))
def test_stacked_equals_one_by_one_and_resumed_uninterrupted(levels, images):
    members = members_of(levels)
    stack = together(members, images)
    stack.advance(0, 8)
    resumed = together(members, images)
    resumed.load_state(stack.state())
    resumed.advance(8, STEPS - 8)
    measured = resumed.measure(images.trajectory["test"].blocks(), purpose="test")
    for at, member in enumerate(members):
        whole = alone(member, images)
        whole.advance(0, STEPS)
        assert_close(resumed.weights(at), whole.weights(0))
        values = whole.measure(images.trajectory["test"].blocks(), purpose="test")
        np.testing.assert_allclose(measured.distortion[at], values.distortion[0], rtol=1e-8)
        np.testing.assert_allclose(measured.rate[at], values.rate[0], rtol=1e-8)
    first, again = alone(members[-1], images), alone(members[-1], images)
    first.advance(0, 5)
    again.load_state(first.state())
    again.advance(5, STEPS - 5)
    assert all(torch.equal(again.weights(0)[name], value) for name, value in whole.weights(0).items())


@pytest.mark.parametrize("factor", LEVELS)
def test_levels_of_a_factor_train_to_other_weights(factor, images):
    """The control of the test above: a level that nothing reads would pass it."""
    trained = []
    for level in LEVELS[factor]:
        trainer = alone(member_of({factor: level}, beta=0.7, seed=3, weight_decay=0.01), images)
        trainer.advance(0, STEPS)
        trained.append(trainer.weights(0)["encoder.0.weight"])
    for one_level, other_level in itertools.combinations(trained, 2):
        assert not torch.allclose(one_level, other_level, rtol=1e-5, atol=1e-7)


def test_members_of_other_learning_rates_are_what_they_are_alone_and_differ(images):
    members = members_of({})
    stack = together(members, images)
    stack.advance(0, 7)
    first, fourth = (stack.weights(at)["decoder.0.weight"] for at in (0, 3))
    assert not torch.allclose(first, fourth)
    assert [member.stack for member in members] == [members[0].stack] * len(members)
    assert len({member.cell for member in members}) == 3


def test_groups_stand_side_by_side():
    assert side_by_side([1, 1, 2, 1]) == [slice(0, 2), slice(2, 3), slice(3, 4)]
    assert side_by_side([(1, 2)]) == [slice(0, 1)]


def test_an_objective_of_ones_own_equals_the_built_in_one_that_it_repeats(images, monkeypatch):
    """D + β R by autograd alone trains as by the closed forms."""

    def loss(terms: Terms) -> Tensor:
        assert terms.step.shape == ()
        return terms.distortion + terms.beta * terms.rate

    assert objective_module.Objective is Objective
    for levels in ({}, {"prior": "mixture(k=3)"}):
        members = members_of(levels)
        plain = together(members, images)
        plain.advance(0, 13)
        own, single = together(members, images), alone(members[2], images)
        monkeypatch.setattr(own, "_objective", Objective(loss=loss))
        monkeypatch.setattr(single, "_objective", Objective(loss=loss))
        own.advance(0, 13)
        single.advance(0, 13)
        for at in range(len(members)):
            assert_close(own.weights(at), plain.weights(at))
        assert_close(single.weights(0), plain.weights(2))


def test_a_loss_of_another_shape_is_refused(images, monkeypatch):
    trainer = alone(member_of({}, beta=1.0, seed=1), images)
    monkeypatch.setattr(trainer, "_objective", Objective(loss=lambda terms: terms.distortion.mean()))
    with pytest.raises(ValueError, match=r"an objective's loss is \[\]; allowed: one number an image, \[5\]"):
        trainer.advance(0, 1)
