"""Objectives with a part of the rate taken out: gradients by definition, both trainers alike, and what they do."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import NetworkShape, build
from rdstudy.model.objective import ForwardPass, accumulate_gradients, forward
from rdstudy.training import make_subsets
from rdstudy.training.objectives import objective as objective_of
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from tests.training.conftest import IMAGES, MEMBER, TRAIN, toy_dataset

pytestmark = pytest.mark.usefixtures("float64", "short_chunks")

CPU = torch.device("cpu")
BATCH, LATENT, PIXELS, N = 5, 2, 48, 23
OBJECTIVES = ("no_marginal_kl", "no_mutual_information")


def _normal_log_density(z, mean, log_var):
    return (-0.5 * ((z - mean) ** 2 / log_var.exp() + log_var + math.log(2 * math.pi))).sum(-1)


def removed_part(objective: str, outputs: ForwardPass) -> torch.Tensor:
    removed = objective_of(objective).removed
    assert removed is not None
    return removed(outputs, N)


def _removed(objective: str, code: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """By definition, image by image, with autograd alone."""
    mean, log_var = code.chunk(2, dim=-1)
    terms = []
    for i in range(BATCH):
        own = _normal_log_density(z[i], mean[i], log_var[i]).exp() / N
        densities = [_normal_log_density(z[i], mean[j], log_var[j]).exp() for j in range(BATCH) if j != i]
        log_q = (own + (N - 1) / (N * (BATCH - 1)) * sum(densities)).log()
        if objective == "no_marginal_kl":
            terms.append(log_q - _normal_log_density(z[i], torch.zeros(LATENT), torch.zeros(LATENT)))
        else:
            terms.append(_normal_log_density(z[i], mean[i], log_var[i]) - log_q)
    return torch.stack(terms)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_gradients_are_those_of_distortion_plus_beta_times_the_rest_of_the_rate(objective, beta):
    vae = build(NetworkShape("mlp", 1, 7, LATENT, (3, 4, 4)), seed=3).double()
    generator = torch.Generator().manual_seed(5)
    x = torch.rand(BATCH, PIXELS, generator=generator)
    noise = torch.randn(BATCH, LATENT, generator=generator)
    outputs = forward(vae.encoder, vae.decoder, x, noise)
    removed = removed_part(objective, outputs)
    accumulate_gradients(outputs, x, beta=beta, likelihood=likelihood("bernoulli"), removed=removed)
    actual = [parameter.grad for parameter in vae.parameters()]
    code = vae.encoder(x)
    z = Posterior.from_code(code).sample(noise)
    distortion = likelihood("bernoulli").distortion(vae.decoder(z), x)
    loss = (distortion + beta * (rate(Posterior.from_code(code)) - _removed(objective, code, z))).mean()
    torch.testing.assert_close(actual, list(torch.autograd.grad(loss, list(vae.parameters()))), rtol=1e-9, atol=1e-12)


def test_both_parts_together_are_the_rate():
    code = torch.randn(BATCH, 2 * LATENT, generator=torch.Generator().manual_seed(0))
    vae = build(NetworkShape("mlp", 1, 7, LATENT, (3, 4, 4)), seed=3).double()
    noise = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(1))
    outputs = forward(lambda _: code, vae.decoder, torch.zeros(BATCH, PIXELS), noise)
    no_kl, no_information = (removed_part(objective, outputs) for objective in OBJECTIVES)
    z = outputs.z
    posterior = Posterior.from_code(code)
    zero = torch.zeros(LATENT)
    expected = _normal_log_density(z, posterior.mean, posterior.log_var) - _normal_log_density(z, zero, zero)
    torch.testing.assert_close(no_kl + no_information, expected)
    assert objective_of("beta").removed is None


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stacked_equals_sequential(objective):
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    subsets = make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)
    members = tuple(
        dataclasses.replace(MEMBER, objective=objective, beta=beta, seed=seed)
        for beta, seed in ((0.7, 3), (3.0, 2), (0.1, 3))
    )
    together = StackedTrainer(members, subsets.train, image_shape=subsets.image_shape, device=CPU)
    together.advance(0, 17)
    for at, member in enumerate(members):
        alone = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
        alone.advance(0, 17)
        plain = SequentialTrainer(
            dataclasses.replace(member, objective="beta"), subsets.train, image_shape=subsets.image_shape, device=CPU
        )
        plain.advance(0, 17)
        weights = together.weights(at)
        for name, value in alone.weights(0).items():
            torch.testing.assert_close(weights[name], value, rtol=1e-8, atol=1e-10)
        name = "encoder.0.weight"
        assert not torch.allclose(plain.weights(0)[name], alone.weights(0)[name], rtol=1e-3)
