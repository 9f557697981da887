"""The likelihoods against plain NumPy and torch's own distributions, their bounds, derivatives and samples."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from rdstudy.model.likelihoods import (
    GAUSSIAN_SIGMA,
    bernoulli_distortion,
    bernoulli_floor,
    bernoulli_gradient,
    gaussian_distortion,
    gaussian_floor,
    likelihood,
)
from rdstudy.study import LIKELIHOODS

MEMBERS, BATCH, PIXELS = 3, 5, 7


def _random(seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(MEMBERS, BATCH, PIXELS, generator=generator, dtype=torch.float64)


def test_distortion_is_the_negative_log_likelihood_summed_over_pixels_only():
    logits, x = _random(1), torch.sigmoid(_random(2))
    p = 1 / (1 + np.exp(-logits.numpy()))
    expected = -(x.numpy() * np.log(p) + (1 - x.numpy()) * np.log(1 - p)).sum(axis=-1)
    actual = bernoulli_distortion(logits, x)
    assert actual.shape == (MEMBERS, BATCH)
    np.testing.assert_allclose(actual, expected, rtol=1e-12)


def test_gradient_is_the_derivative_of_the_distortion():
    logits, x = _random(3).requires_grad_(), torch.sigmoid(_random(4))
    (expected,) = torch.autograd.grad(bernoulli_distortion(logits, x).sum(), logits)
    torch.testing.assert_close(bernoulli_gradient(logits.detach(), x), expected)


def test_no_logits_get_below_the_floor_and_the_pixels_own_logits_reach_it():
    x = torch.sigmoid(_random(5))
    floor = bernoulli_floor(x)
    torch.testing.assert_close(bernoulli_distortion(torch.logit(x), x), floor)
    assert (bernoulli_distortion(torch.logit(x) + _random(6, 0.1), x) > floor).all()


def test_black_and_white_pixels_have_no_entropy_and_large_logits_stay_finite():
    x = torch.tensor([[0.0, 1.0, 1.0]])
    assert bernoulli_floor(x).item() == 0.0
    assert bernoulli_distortion(torch.tensor([[-1e4, 1e4, -1e4]]), x).item() == 1e4


def test_gaussian_distortion_is_the_negative_log_density_summed_over_pixels_only():
    mean, x = _random(7), torch.sigmoid(_random(8))
    actual = gaussian_distortion(mean, x)
    assert actual.shape == (MEMBERS, BATCH)
    torch.testing.assert_close(actual, -Normal(mean, GAUSSIAN_SIGMA).log_prob(x).sum(dim=-1))


def test_no_mean_gets_below_the_gaussian_floor_and_the_image_itself_reaches_it():
    x = torch.sigmoid(_random(9))
    floor = gaussian_floor(x)
    assert floor.shape == (MEMBERS, BATCH)
    torch.testing.assert_close(floor, torch.full_like(floor, PIXELS / 2 * math.log(2 * math.pi * 0.01)))
    torch.testing.assert_close(gaussian_distortion(x, x), floor)
    assert (gaussian_distortion(x + _random(10, 0.01), x) > floor).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_of_every_likelihood_is_the_derivative_of_its_distortion(name):
    found = likelihood(name)
    output, x = _random(11).requires_grad_(), torch.sigmoid(_random(12))
    assert torch.autograd.gradcheck(found.distortion, (output, x))
    (expected,) = torch.autograd.grad(found.distortion(output, x).sum(), output)
    before = output.detach().clone(), x.clone()
    torch.testing.assert_close(found.gradient(output.detach(), x), expected)
    assert torch.equal(output, before[0])
    assert torch.equal(x, before[1]), "an argument was changed"


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_simulated_pixels_have_the_mean_of_the_likelihood_and_its_distortion(name):
    """-E log p(x|z) over x ~ p(x|z) is the entropy: of a Bernoulli pixel, and of N(., σ²)."""
    found, output = likelihood(name), _random(13)
    mean = found.mean(output)
    many = found.simulate(output.expand(40_009, -1, -1, -1), torch.Generator().manual_seed(14))
    assert many.dtype == output.dtype
    torch.testing.assert_close(many.mean(dim=0), mean, atol=0.015, rtol=0)
    gaussian = torch.full((MEMBERS, BATCH), PIXELS / 2 * (1 + math.log(2 * math.pi * 0.01)), dtype=torch.float64)
    entropy = bernoulli_floor(mean) if name == "bernoulli" else gaussian
    torch.testing.assert_close(found.distortion(output, many).mean(dim=0), entropy, atol=0.06, rtol=0)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_simulation_depends_on_the_generator_alone(name):
    draw = lambda seed: likelihood(name).simulate(_random(15), torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_every_level_of_a_study_has_a_likelihood_of_its_name_and_no_other_has():
    assert [likelihood(name).name for name in LIKELIHOODS] == list(LIKELIHOODS)
    with pytest.raises(ValueError, match=r"^likelihood is 'gauss'; allowed: bernoulli, gaussian$"):
        likelihood("gauss")
