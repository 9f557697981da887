"""Learning rates: closed forms, and both paths take the same steps under each schedule and from each start."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.study import Recipe
from rdstudy.training import make_subsets
from rdstudy.training.schedules import schedule
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import StepMode
from tests.training.conftest import IMAGES, MEMBER, TRAIN, toy_dataset

CPU = torch.device("cpu")
COSINE = Recipe(steps=43, batch_size=5, learning_rate=3e-3, schedule="cosine", initialization="he")


def learning_rate(recipe: Recipe, step: int) -> float:
    return recipe.learning_rate * schedule(recipe.schedule)(step, recipe.steps)


def test_a_cosine_begins_at_the_rate_halves_in_the_middle_and_ends_near_none():
    recipe = Recipe(steps=1_000, learning_rate=2e-3, schedule="cosine")
    rates = [learning_rate(recipe, step) for step in range(recipe.steps)]
    assert rates[0] == 2e-3
    assert rates[500] == pytest.approx(1e-3)
    assert rates[250] == pytest.approx(2e-3 * math.cos(math.pi / 8) ** 2)
    assert 0 < rates[-1] < 1e-8
    assert rates == sorted(rates, reverse=True)


def test_a_constant_rate_is_the_recipes_to_the_bit():
    assert {learning_rate(Recipe(learning_rate=0.1), step) for step in (0, 7, 256_999)} == {0.1}


@pytest.mark.usefixtures("float64", "short_chunks")
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_both_paths_follow_the_schedule_from_the_same_start_and_go_on_alike(architecture):
    subsets = make_subsets(
        toy_dataset(), Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES)), MEMBER.evaluation, study_seed=0
    )
    base = dataclasses.replace(MEMBER, architecture=architecture, depth=2, width=3, recipe=COSINE)
    members = tuple(dataclasses.replace(base, beta=beta, seed=seed) for beta, seed in ((0.7, 3), (0.1, 5), (3.0, 3)))
    together = StackedTrainer(members, subsets.train, image_shape=subsets.image_shape, device=CPU)
    together.advance(0, 9)
    again = StackedTrainer(members, subsets.train, image_shape=subsets.image_shape, device=CPU)
    again.load_state(together.state())
    again.advance(9, 14)
    for at, member in enumerate(members):
        alone = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
        alone.advance(0, 23)
        constant = dataclasses.replace(member, recipe=dataclasses.replace(COSINE, schedule="constant"))
        other = SequentialTrainer(constant, subsets.train, image_shape=subsets.image_shape, device=CPU)
        other.advance(0, 23)
        weights, expected = again.weights(at), dict(other.vae.named_parameters())
        for name, parameter in alone.vae.named_parameters():
            torch.testing.assert_close(weights[name], parameter.detach(), rtol=1e-9, atol=1e-11)
        assert any(not torch.equal(value, expected[name]) for name, value in alone.vae.named_parameters())


@pytest.mark.usefixtures("float64")
def test_a_step_that_is_replayed_reads_its_rate_from_a_buffer():
    """What a captured step reads must be filled inside it: a rate set on the host would stay that of the capture."""
    subsets = make_subsets(
        toy_dataset(), Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES)), MEMBER.evaluation, study_seed=0
    )
    members = tuple(dataclasses.replace(MEMBER, seed=seed, recipe=COSINE) for seed in (3, 5))
    trainer = StackedTrainer(
        members, subsets.train, image_shape=subsets.image_shape, device=CPU, modes=[StepMode("plain", None, None)]
    )
    for step in (0, 13, 40):
        trainer.advance(step, 1)
        rate = trainer._optimizer._optimizer.param_groups[0]["lr"]
        assert rate.data_ptr() == trainer._optimizer._rates[0].data_ptr()
        assert rate.item() == pytest.approx(learning_rate(COSINE, step))
