"""Pareto smoothing against weights whose tails are known, and what an estimate gains by it."""

import math

import pytest
import torch

from rdstudy.measures.importance import log_mean_exp
from rdstudy.measures.pareto import RELIABLE_KHAT, pareto_smoothed

IMAGES = 97


def pareto_log_weights(shape: float, samples: int, *, seed: int = 3) -> torch.Tensor:
    """Log weights `[sample, image]` with P(w > t) = t^(-1 / shape): their tail is generalized Pareto of that shape."""
    generator = torch.Generator().manual_seed(seed)
    return -shape * torch.rand(samples, IMAGES, generator=generator, dtype=torch.float64).log()


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_the_shape_of_a_tail_is_found(shape):
    found = pareto_smoothed(pareto_log_weights(shape, 10_007)).khat
    assert found.mean().item() == pytest.approx(shape, abs=0.04)
    assert found.std() < 0.12


def test_bounded_weights_have_a_shape_below_zero():
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(4_001, IMAGES, generator=generator, dtype=torch.float64)
    assert pareto_smoothed(weights.log()).khat.mean() < -0.3


def test_smoothing_takes_noise_away_where_a_few_weights_carry_the_mean():
    """The mean weight is 1 / (1 - shape): raw means scatter more than smoothed ones, and neither is far too high."""
    weights, truth = pareto_log_weights(0.6, 997), math.log(1 / 0.4)
    raw, smooth = log_mean_exp(weights) - truth, log_mean_exp(pareto_smoothed(weights).log_weights) - truth
    assert smooth.square().mean() < 0.8 * raw.square().mean()
    assert smooth.mean().abs() < 0.05


def test_weights_keep_their_scale_and_their_order_does_not_matter():
    weights = pareto_log_weights(0.5, 503)
    shuffled = weights[torch.randperm(503, generator=torch.Generator().manual_seed(2))] - 700.0
    one, other = pareto_smoothed(weights), pareto_smoothed(shuffled)
    torch.testing.assert_close(other.khat, one.khat, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other.log_weights, one.log_weights - 700.0, rtol=0, atol=1e-9)
    assert (one.log_weights <= weights.amax(dim=0)).all()


def test_equal_weights_are_left_alone_and_beyond_doubt():
    found = pareto_smoothed(torch.full((101, 3), -5.0, dtype=torch.float64))
    assert (found.khat < RELIABLE_KHAT).all()
    torch.testing.assert_close(found.log_weights, torch.full((101, 3), -5.0, dtype=torch.float64))


@pytest.mark.parametrize("samples", [1, 7, 20])
def test_too_few_weights_have_no_shape(samples):
    assert (pareto_smoothed(pareto_log_weights(0.2, samples)).khat == math.inf).all()


def test_a_single_dominant_weight_is_in_doubt():
    weights = torch.zeros(1_009, 2, dtype=torch.float64)
    weights[5] = torch.tensor([900.0, 30.0])
    assert (pareto_smoothed(weights).khat > RELIABLE_KHAT).all()


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (5,)])
def test_what_are_no_weights_is_said(shape):
    with pytest.raises(ValueError, match=r"allowed: \[sample, image\]"):
        pareto_smoothed(torch.zeros(shape))
