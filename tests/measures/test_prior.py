"""The log density of a prior and its derivatives: closed forms, bounded memory, N(0, I) with and without a function."""

import math

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from rdstudy.measures.prior import Prior
from tests.measures.mixture_model import Mixture, affine, mixture, standard_normal

SHAPE = (5, 7, 3)  # sample, image, latent


def _z(*, seed: int = 1) -> torch.Tensor:
    return 2 * torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _prior(function, *, dtype: torch.dtype = torch.float64, memory_bytes: float = 1e9) -> Prior:
    return Prior(function, dtype, memory_bytes)


@pytest.mark.parametrize("function", [mixture(), affine()])
def test_values_are_those_of_pytorchs_distributions(function: Mixture):
    components = MultivariateNormal(function.mean, function.covariance)
    expected = MixtureSameFamily(Categorical(function.weight), components).log_prob(_z())
    prior = _prior(function)
    torch.testing.assert_close(prior.log_density(_z()), expected)
    energy = -expected - 1.5 * math.log(2 * math.pi)
    for actual in (prior.energy(_z()), prior.with_gradient(_z()).energy, prior.with_curvature(_z()).energy):
        torch.testing.assert_close(actual, energy)


def test_derivatives_of_a_gaussian_are_its_precision():
    function = affine()
    precision = torch.linalg.inv(function.covariance[0])
    at = _prior(function).with_curvature(_z())
    torch.testing.assert_close(at.gradient, (_z() - function.mean[0]) @ precision)
    torch.testing.assert_close(at.curvature, precision.expand(*SHAPE, 3))
    torch.testing.assert_close(_prior(function).with_gradient(_z()).gradient, at.gradient)


def test_derivatives_of_a_mixture_are_those_of_differences_and_not_convex_between_its_modes():
    prior, z, step = _prior(mixture(apart=3.0)), _z(), 1e-5
    at = prior.with_curvature(z)
    for j, move in enumerate(step * torch.eye(3, dtype=torch.float64)):
        slope = (prior.energy(z + move) - prior.energy(z - move)) / (2 * step)
        torch.testing.assert_close(at.gradient[..., j], slope, rtol=1e-5, atol=1e-5)
        bend = (prior.with_gradient(z + move).gradient - prior.with_gradient(z - move).gradient) / (2 * step)
        torch.testing.assert_close(at.curvature[..., j], bend, rtol=1e-5, atol=1e-5)
    assert torch.linalg.eigvalsh(at.curvature).min() < -0.1


@pytest.mark.parametrize("function", [None, standard_normal()])
def test_the_standard_normal_needs_no_function(function):
    prior, z = _prior(function), _z()
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(prior.log_density(z), expected)
    at = prior.with_curvature(z)
    torch.testing.assert_close(at.energy, 0.5 * z.square().sum(dim=-1), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(at.gradient, z)
    torch.testing.assert_close(at.curvature, torch.eye(3, dtype=torch.float64).expand(*SHAPE, 3))
    torch.testing.assert_close(prior.with_gradient(z).energy, at.energy)
    torch.testing.assert_close(prior.with_gradient(z).gradient, z)


def test_memory_bounds_the_rows_at_once_and_changes_nothing():
    calls = []

    def counted(z: torch.Tensor) -> torch.Tensor:
        calls.append(len(z))
        result: torch.Tensor = mixture()(z)
        return result

    rows = math.prod(SHAPE[:2])
    for memory_bytes, most in ((1.0, 1), (11.5 * 2**16, 11), (1e9, rows)):
        calls.clear()
        small, ample = _prior(counted, memory_bytes=memory_bytes), _prior(mixture())
        torch.testing.assert_close(small.log_density(_z()), ample.log_density(_z()))
        torch.testing.assert_close(small.with_gradient(_z()).gradient, ample.with_gradient(_z()).gradient)
        assert max(calls) == most
        assert sum(calls) == 2 * rows
        calls.clear()
        torch.testing.assert_close(small.with_curvature(_z()).curvature, ample.with_curvature(_z()).curvature)
        assert max(calls) == max(1, most // 4) if most < rows else rows


def test_a_function_is_called_in_its_own_dtype_and_answers_come_in_float64():
    dtypes = set()

    def noted(z: torch.Tensor) -> torch.Tensor:
        dtypes.add(z.dtype)
        result: torch.Tensor = mixture()(z)
        return result

    single, double = _prior(noted, dtype=torch.float32), _prior(mixture())
    at, exact = single.with_curvature(_z()), double.with_curvature(_z())
    for name in ("energy", "gradient", "curvature"):
        assert getattr(at, name).dtype == torch.float64
        torch.testing.assert_close(getattr(at, name), getattr(exact, name), rtol=1e-4, atol=1e-4)
    assert single.log_density(_z()).dtype == single.with_gradient(_z()).gradient.dtype == torch.float64
    assert dtypes == {torch.float32}
    assert _prior(None, dtype=torch.float32).log_density(_z().float()).dtype == torch.float64


def test_the_parameters_of_a_prior_get_no_gradient():
    mean = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    prior = _prior(lambda z: -0.5 * ((z - mean).square() + math.log(2 * math.pi)).sum(dim=-1))
    at = prior.with_curvature(_z())
    tensors = [prior.log_density(_z()), prior.with_gradient(_z()).gradient, at.energy, at.gradient, at.curvature]
    assert mean.grad is None
    assert not any(tensor.requires_grad for tensor in tensors)


@pytest.mark.parametrize("method", ["log_density", "energy", "with_gradient", "with_curvature"])
def test_a_function_that_does_not_sum_over_dimensions_is_refused(method):
    prior = _prior(lambda z: -0.5 * z.square())
    with pytest.raises(ValueError, match=r"log p\(z\) of shape \(35, 3\); allowed: \[row\], here \(35,\)"):
        getattr(prior, method)(_z())
