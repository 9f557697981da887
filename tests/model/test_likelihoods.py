"""The Bernoulli likelihood against plain NumPy, its bound, and its derivative."""

import numpy as np
import torch

from rdstudy.model.likelihoods import bernoulli_distortion, bernoulli_floor, bernoulli_gradient

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
