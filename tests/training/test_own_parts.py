"""A module of one's own is trained by both trainers to the same numbers, member by member, in float64.

Sizes are distinct primes: members 7 of 3 seeds, batch 5, latent 2, units 13, in 1 group, pixels 48, a table of 3 rows.
"""

import dataclasses

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.study import Recipe
from rdstudy.study.sources import Source, keep_source
from rdstudy.training import make_subsets
from rdstudy.training.contract import check_own_parts
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from tests.training.conftest import IMAGES, MEMBER, TRAIN, toy_dataset

pytestmark = pytest.mark.usefixtures("float64", "short_chunks")

CPU = torch.device("cpu")
STEPS = 13
PAIRS = ((0.7, 3), (0.0, 2), (3.0, 3), (0.1, 5), (0.01, 2), (1.0, 3), (0.3, 5))
SOURCE = """
import torch
from torch import nn
from rdstudy.model.likelihoods import Likelihood
from rdstudy.model.priors import Prior
from rdstudy.training.objectives import Objective

class Block(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.layers = nn.Sequential(nn.LayerNorm(units), nn.SiLU(), nn.Linear(units, units))
        self.norm = nn.GroupNorm(1, units)

    def forward(self, x):
        return self.norm((x + self.layers(x)).unsqueeze(-1)).squeeze(-1)

class Brightness(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.table = nn.Embedding(3, units)

    def forward(self, x):
        level = (x.mean(dim=-1).sigmoid() * 3).long().clamp(max=2)
        return torch.cat([x, self.table(level)], dim=-1)

def net(shape, *, units: int = 13):
    def path(inputs, outputs):
        layers = (Brightness(5), nn.Linear(inputs + 5, units), Block(units), Block(units), nn.Linear(units, outputs))
        return nn.Sequential(*layers)

    return path(shape.pixels, 2 * shape.latent_dim), path(shape.latent_dim, shape.pixels)

class Laplace(Prior):
    def __init__(self, shape):
        super().__init__()
        self.latent = shape.latent_dim
        self.log_scale = nn.Parameter(0.1 * torch.randn(shape.latent_dim))

    def log_density(self, z, encode):
        return (-z.abs() * torch.exp(-self.log_scale) - self.log_scale - 0.6931471805599453).sum(dim=-1)

    def sample(self, count, generator, encode):
        u = torch.rand(count, self.latent, generator=generator) - 0.5
        return -torch.exp(self.log_scale) * u.sign() * torch.log1p(-2 * u.abs())

def laplace(*, scale: float = 0.1):
    return Likelihood(
        distortion=lambda output, x: ((output - x).abs() / scale).sum(dim=-1),
        mean=lambda output: output,
        floor=lambda x: torch.zeros_like(x[..., 0]),
        simulate=lambda output, generator: output + scale * torch.randn(output.shape, generator=generator),
    )

def free(*, nats: float = 0.01):
    return Objective(loss=lambda terms: terms.distortion + terms.beta * terms.rate.clamp(min=nats))

def nadam(groups, capturable):
    return torch.optim.NAdam(groups)

def falling():
    return lambda step, steps: 1 - step / steps
"""


@pytest.fixture
def levels() -> dict[str, str]:
    digest = keep_source(Source("mine.py", SOURCE.encode())).digest
    names = {"architecture": "net", "prior": "Laplace", "likelihood": "laplace(scale=0.2)", "objective": "free"}
    names |= {"optimizer": "nadam", "schedule": "falling"}
    return {kind: f"{name}@{digest}" for kind, name in names.items()}


@pytest.mark.parametrize(
    "kinds",
    [
        ("architecture",),
        ("prior",),
        ("likelihood",),
        ("objective",),
        ("optimizer", "schedule"),
        ("architecture", "prior", "likelihood", "objective", "optimizer", "schedule"),
    ],
    ids=lambda kinds: " ".join(kinds) if len(kinds) < 3 else "all",
)
def test_parts_of_ones_own_are_trained_alike_stacked_and_one_by_one(levels, kinds):
    chosen = {kind: levels[kind] for kind in kinds}
    recipe = Recipe(steps=STEPS, batch_size=5, **{k: chosen.pop(k) for k in ("optimizer", "schedule") if k in chosen})
    base = dataclasses.replace(MEMBER, recipe=recipe, **chosen)  # type: ignore[arg-type]
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    images = make_subsets(toy_dataset(), split, base.evaluation, study_seed=0, likelihood=base.likelihood)
    check_own_parts(base.cell, images.image_shape)
    members = tuple(dataclasses.replace(base, beta=beta, seed=seed) for beta, seed in PAIRS)
    together = StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU)
    together.advance(0, STEPS)
    measured = together.measure(images.final["test"].blocks(), purpose="final test")
    ends = []
    for at, member in enumerate(members):
        alone = SequentialTrainer(member, images.train, image_shape=images.image_shape, device=CPU)
        alone.advance(0, STEPS)
        assert alone.nonfinite_steps == (None,)
        weights = together.weights(at)
        assert list(weights) == list(alone.weights(0))
        for name, value in alone.weights(0).items():
            torch.testing.assert_close(weights[name], value, rtol=1e-8, atol=1e-10)
        values = alone.measure(images.final["test"].blocks(), purpose="final test")
        np.testing.assert_allclose(measured.distortion[at], values.distortion[0], rtol=1e-8)
        np.testing.assert_allclose(measured.rate[at], values.rate[0], rtol=1e-8)
        ends.append(values.distortion[0])
    assert len(set(ends)) == len(ends)  # members differ, and so the equality above means something
