"""The likelihoods against plain NumPy and torch's own distributions, their bounds, derivatives and samples."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch.distributions import ContinuousBernoulli, Normal

from rdstudy.model.likelihoods import likelihood
from rdstudy.model.likelihoods.bernoulli import distortion as bernoulli_distortion
from rdstudy.model.likelihoods.bernoulli import floor as bernoulli_floor
from rdstudy.model.likelihoods.bernoulli import gradient as bernoulli_gradient
from rdstudy.study import parts

LIKELIHOODS = ("bernoulli", "continuous_bernoulli", "gaussian", "gaussian(sigma=0.2)", "gaussian(sigma=optimal)")
MEMBERS, BATCH, PIXELS = 3, 5, 7


def _random(seed: int, scale: float = 1.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(MEMBERS, BATCH, PIXELS, generator=generator, dtype=torch.float64)


_LOG_SIGMA = math.log1p(math.exp(6 - 1.5)) - 6


def _output(name: str, seed: int) -> torch.Tensor:
    """A decoder's output, with the numbers that stand behind the pixels."""
    if likelihood(name).parameters:
        return torch.cat([_random(seed), torch.full((MEMBERS, BATCH, 1), -1.5, dtype=torch.float64)], dim=-1)
    return _random(seed)


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


@pytest.mark.parametrize(("name", "sigma"), [("gaussian", 0.1), ("gaussian(sigma=0.2)", 0.2)])
def test_gaussian_distortion_is_the_negative_log_density_summed_over_pixels_only(name, sigma):
    mean, x = _random(7), torch.sigmoid(_random(8))
    actual = likelihood(name).distortion(mean, x)
    assert actual.shape == (MEMBERS, BATCH)
    torch.testing.assert_close(actual, -Normal(mean, sigma).log_prob(x).sum(dim=-1))
    floor = likelihood(name).floor(x)
    torch.testing.assert_close(floor, torch.full_like(floor, PIXELS / 2 * math.log(2 * math.pi * sigma**2)))
    torch.testing.assert_close(likelihood(name).distortion(x, x), floor)
    assert (likelihood(name).distortion(x + _random(10, 0.01), x) > floor).all()


def test_a_trained_sigma_is_best_where_its_square_is_the_mean_squared_error():
    """Rybkin et al. 2021, equation 7, and the floor of a perfect reconstruction lies below all."""
    gaussian, mean, x = likelihood("gaussian(sigma=optimal)"), _random(7, 0.3), torch.sigmoid(_random(8))
    best = (mean - x).square().mean().sqrt().log()
    values = []
    for log_sigma in best + torch.linspace(-1, 1, 201, dtype=torch.float64):
        raw = torch.log(torch.expm1(log_sigma + 6)) - 6  # whose softplus it is
        output = torch.cat([mean, raw.expand(MEMBERS, BATCH, 1)], dim=-1)
        values.append(gaussian.distortion(output, x).mean())
        torch.testing.assert_close(gaussian.distortion(output, x), -Normal(mean, log_sigma.exp()).log_prob(x).sum(-1))
    assert torch.stack(values).argmin() == 100
    assert gaussian.parameters == 1
    least = torch.cat([x, torch.full((MEMBERS, BATCH, 1), -60.0, dtype=torch.float64)], dim=-1)
    torch.testing.assert_close(gaussian.distortion(least, x), gaussian.floor(x))


def test_the_continuous_bernoulli_density_is_torchs_and_integrates_to_one():
    logits, x = _random(21, 4.0), torch.sigmoid(_random(22))
    expected = -ContinuousBernoulli(logits=logits, lims=(0.4999, 0.5001)).log_prob(x).sum(dim=-1)
    torch.testing.assert_close(likelihood("continuous_bernoulli").distortion(logits, x), expected, rtol=1e-6, atol=1e-7)
    line = torch.linspace(0, 1, 100_001, dtype=torch.float64)[:, None]
    for logit in (-29.0, -3.0, -0.0999, 0.0, 0.05, 0.1001, 7.0, 30.0):
        density = (-likelihood("continuous_bernoulli").distortion(torch.full_like(line, logit), line)).exp()
        assert torch.trapezoid(density, line[:, 0]).item() == pytest.approx(1, abs=1e-6)


def test_no_logit_gets_below_the_continuous_bernoulli_floor():
    x = torch.tensor([0.0, 0.003, 0.2, 0.5, 0.9, 1.0], dtype=torch.float64)
    floor = likelihood("continuous_bernoulli").floor(x[:, None])
    logits = torch.linspace(-40, 40, 80_001, dtype=torch.float64)
    each = likelihood("continuous_bernoulli").distortion(logits[:, None, None].expand(-1, len(x), -1), x[:, None])
    torch.testing.assert_close(each.amin(dim=0), floor, rtol=0, atol=1e-5)
    assert (each >= floor - 1e-12).all()


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_gradient_of_every_likelihood_is_the_derivative_of_its_distortion(name):
    known = likelihood(name)
    output, x = _output(name, 11).requires_grad_(), torch.sigmoid(_random(12))
    assert torch.autograd.gradcheck(known.distortion, (output, x))
    (expected,) = torch.autograd.grad(known.distortion(output, x).sum(), output)
    before = output.detach().clone(), x.clone()
    torch.testing.assert_close(known.derivative(output.detach(), x), expected)
    by_autograd = dataclasses.replace(known, gradient=None).derivative(output.detach(), x)
    torch.testing.assert_close(by_autograd, expected)
    assert torch.equal(output, before[0])
    assert torch.equal(x, before[1]), "an argument was changed"


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_simulated_pixels_have_the_mean_of_the_likelihood_and_its_distortion(name):
    """-E log p(x|z) over x ~ p(x|z) is the entropy: of a Bernoulli pixel, and of N(., σ²)."""
    known, output = likelihood(name), _output(name, 13)
    mean = known.mean(output)
    many = known.simulate(output.expand(40_009, -1, -1, -1), torch.Generator().manual_seed(14))
    assert many.dtype == output.dtype
    spread = 5 * many.std(dim=0).max().item() / 40_009**0.5
    torch.testing.assert_close(many.mean(dim=0), mean, atol=spread, rtol=0)
    if name == "continuous_bernoulli":  # whose entropy the density gives: -∫ p log p
        line = torch.linspace(0, 1, 10_001, dtype=torch.float64)
        of_pixel = lambda logit, x: known.distortion(logit[:, None], x[:, None])  # noqa: E731
        entropy = torch.stack([_entropy(of_pixel, logit, line) for logit in output.flatten()]).view_as(output).sum(-1)
    else:
        sigma = {"gaussian": 0.1, "gaussian(sigma=0.2)": 0.2}.get(name, math.exp(_LOG_SIGMA))
        gaussian = torch.full_like(mean[..., 0], PIXELS / 2 * (1 + math.log(2 * math.pi * sigma**2)))
        entropy = bernoulli_floor(mean) if name == "bernoulli" else gaussian
    distortion = known.distortion(output, many)
    spread = 5 * distortion.std(dim=0).max().item() / 40_009**0.5
    torch.testing.assert_close(distortion.mean(dim=0), entropy, atol=spread, rtol=0)


def _entropy(distortion, logit, line):
    of_line = distortion(logit.expand(len(line)), line)
    return torch.trapezoid(of_line * (-of_line).exp(), line)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_simulation_depends_on_the_generator_alone(name):
    draw = lambda seed: likelihood(name).simulate(_output(name, 15), torch.Generator().manual_seed(seed))  # noqa: E731
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_all_likelihoods_are_tested_and_no_other_is_taken():
    assert {parts.parse(name).name for name in LIKELIHOODS} == set(parts.names("likelihood"))
    with pytest.raises(
        ValueError,
        match=r"^likelihood is 'gauss' \(did you mean gaussian\?\); allowed: bernoulli, continuous_bernoulli, ",
    ):
        likelihood("gauss")
