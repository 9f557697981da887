"""The rate's parts and active units under other priors than N(0, I): quadrature, closed forms, plain Python, laws."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from rdstudy.measures.active_units import active_units
from rdstudy.measures.batch_estimate import BatchRateParts, batch_rate_parts
from rdstudy.measures.estimate import Estimate
from rdstudy.measures.prior import LogPrior
from rdstudy.measures.rate_parts import NO_DIMENSION_KL, RateParts, rate_parts
from rdstudy.model.gaussian import Posterior, rate
from tests.measures import naive
from tests.measures.mixture_model import Mixture, affine, mixture, standard_normal
from tests.measures.naive import random_noise, random_posterior

SAMPLES, IMAGES, LATENT, BATCH = 7, 17, 3, 5
AMPLE = 2.0**30


def _parts(
    posterior: Posterior, samples: int, *, log_prior: LogPrior | None, seed: int = 1, memory_bytes: float = AMPLE
) -> RateParts:
    images, latent = posterior.mean.shape
    chosen = torch.randint(images, (samples,), generator=torch.Generator().manual_seed(seed))
    noise = random_noise(samples, latent, seed=seed + 1)
    return rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=memory_bytes, log_prior=log_prior)


def _batches(posterior: Posterior, *, log_prior: LogPrior | None, memory_bytes: float = AMPLE) -> BatchRateParts:
    images, latent = posterior.mean.shape
    order = torch.randperm(images, generator=torch.Generator().manual_seed(6))
    noise = random_noise(images, latent, seed=7)
    return batch_rate_parts(
        posterior, order=order, noise=noise, batch_size=BATCH, memory_bytes=memory_bytes, log_prior=log_prior
    )


def _is_near(estimate: Estimate, expected: float) -> bool:
    assert estimate.standard_error > 0
    return abs(estimate.value - expected) < 4 * estimate.standard_error


def test_two_gaussians_under_a_mixture_agree_with_quadrature_and_not_under_the_wrong_prior():
    mean, log_var = np.array([-0.9, 0.6]), np.array([-0.7, 0.3])
    prior = mixture(latent=1)
    x = np.linspace(-15, 15, 40_001)
    q_x = np.exp(-0.5 * ((x - mean[:, None]) ** 2 / np.exp(log_var)[:, None] + log_var[:, None] + np.log(2 * np.pi)))
    q = q_x.mean(axis=0)
    log_p = prior(torch.from_numpy(x)[:, None]).numpy()
    assert np.trapezoid(np.exp(log_p), x) == pytest.approx(1)
    marginal_kl = np.trapezoid(q * (np.log(q) - log_p), x)
    mean_rate = np.trapezoid((q_x * (np.log(np.maximum(q_x, 1e-300)) - log_p)).mean(axis=0), x)
    posterior = Posterior(torch.from_numpy(mean)[:, None], torch.from_numpy(log_var)[:, None])
    own = _parts(posterior, 20_011, log_prior=prior)
    assert _is_near(own.rate, mean_rate)
    assert _is_near(own.marginal_kl, marginal_kl)
    assert _is_near(own.mutual_information, mean_rate - marginal_kl)
    wrong = _parts(posterior, 20_011, log_prior=None)
    assert not _is_near(wrong.marginal_kl, marginal_kl)


def test_the_rate_under_an_affine_prior_is_the_closed_form_of_gaussians():
    posterior, prior = random_posterior(IMAGES, LATENT, seed=2), affine()
    own = _parts(posterior, 20_011, log_prior=prior)
    truth = kl_divergence(
        MultivariateNormal(posterior.mean, torch.diag_embed(posterior.log_var.exp())),
        MultivariateNormal(prior.mean[0], prior.covariance[0]),
    ).mean()
    assert _is_near(own.rate, truth.item())
    assert not _is_near(own.rate, rate(posterior).mean().item())


@pytest.mark.parametrize("log_var", [-1.0, -30.0])
@pytest.mark.parametrize("prior", [mixture(), affine()], ids=["mixture", "affine"])
def test_parts_are_those_of_plain_python(prior, log_var):
    posterior = random_posterior(IMAGES, LATENT, seed=4, log_var=log_var)
    parts = _parts(posterior, SAMPLES, log_prior=prior, seed=5)
    chosen = torch.randint(IMAGES, (SAMPLES,), generator=torch.Generator().manual_seed(5))
    mean, spread = posterior.mean.numpy(), posterior.log_var.numpy()
    z = mean[chosen] + np.exp(0.5 * spread[chosen]) * random_noise(SAMPLES, LATENT, seed=6).numpy()
    own = naive.log_densities(z, mean, spread)[np.arange(SAMPLES), chosen]
    joint, product = naive.aggregate(z, mean, spread), naive.marginals(z, mean, spread).sum(axis=1)
    log_p = _plain_log_density(prior, z)
    expected = [own - log_p, own - joint, joint - log_p, joint - product]
    estimates = [parts.rate, parts.mutual_information, parts.marginal_kl, parts.total_correlation]
    for estimate, terms in zip(estimates, expected, strict=True):
        assert estimate.value == pytest.approx(terms.mean(), abs=1e-9)
        assert estimate.standard_error == pytest.approx(terms.std(ddof=1) / math.sqrt(SAMPLES), abs=1e-9)
        assert estimate.samples == SAMPLES
    assert parts.dimension_kl is None
    assert "product over latent dimensions" in NO_DIMENSION_KL


def _plain_log_density(prior: Mixture, z: np.ndarray) -> np.ndarray:
    values = []
    for point in z:
        terms = []
        for weight, mean, covariance in zip(prior.weight, prior.mean.numpy(), prior.covariance.numpy(), strict=True):
            away = point - mean
            volume = math.log(np.linalg.det(2 * math.pi * covariance))
            terms.append(math.log(weight) - 0.5 * (away @ np.linalg.solve(covariance, away) + volume))
        values.append(naive.log_sum_exp(terms))
    return np.array(values)


@pytest.mark.parametrize("log_var", [1.0, -1.0, -20.0])
def test_the_prior_changes_the_rate_and_not_what_z_says_of_the_image(log_var):
    posterior = random_posterior(IMAGES, LATENT, seed=7, log_var=log_var, dtype=torch.float32)
    own, standard = (_parts(posterior, 211, log_prior=prior) for prior in (mixture(), None))
    assert own.mutual_information == standard.mutual_information
    assert own.total_correlation == standard.total_correlation
    for parts in (own, standard):
        assert parts.mutual_information.value + parts.marginal_kl.value == pytest.approx(parts.rate.value, rel=1e-12)
    assert abs(own.rate.value - standard.rate.value) > 0.1


def test_the_exact_rate_stands_in_the_record_without_an_error():
    posterior = random_posterior(IMAGES, LATENT, seed=7)
    exact = rate(posterior).mean().item()
    for parts in (_parts(posterior, SAMPLES, log_prior=None), _batches(posterior, log_prior=None)):
        assert parts.rate.value == pytest.approx(exact, rel=1e-13)
        assert (parts.rate.standard_error, parts.rate.samples) == (0.0, IMAGES)


def test_the_standard_normal_as_a_function_differs_by_sampling_alone():
    posterior = random_posterior(IMAGES, LATENT, seed=8)
    sampled = _parts(posterior, 20_011, log_prior=standard_normal())
    assert _is_near(sampled.rate, rate(posterior).mean().item())
    standard = _parts(posterior, 20_011, log_prior=None)
    assert sampled.mutual_information == standard.mutual_information
    error = math.hypot(sampled.marginal_kl.standard_error, standard.marginal_kl.standard_error)
    assert abs(sampled.marginal_kl.value - standard.marginal_kl.value) < 4 * error


def test_all_posteriors_that_are_the_prior_say_nothing():
    diagonal = torch.tensor([[0.3, 2.0, 5.0]], dtype=torch.float64)
    prior = Mixture(torch.ones(1).double(), torch.tensor([[1.0, -2.0, 3.0]]).double(), torch.diag_embed(diagonal))
    posterior = Posterior(prior.mean.expand(IMAGES, -1), diagonal.log().expand(IMAGES, -1))
    for parts in (_parts(posterior, SAMPLES, log_prior=prior), _batches(posterior, log_prior=prior)):
        for estimate in (parts.rate, parts.mutual_information, parts.marginal_kl):
            assert estimate.value == pytest.approx(0, abs=1e-13)


@pytest.mark.parametrize("memory_bytes", [1.0, 3_000.0])
def test_memory_changes_nothing(memory_bytes):
    posterior = random_posterior(IMAGES, LATENT, seed=10)
    small, ample = (_parts(posterior, SAMPLES, log_prior=mixture(), memory_bytes=m) for m in (memory_bytes, AMPLE))
    assert small.rate.value == pytest.approx(ample.rate.value, abs=1e-12)
    assert small.marginal_kl.value == pytest.approx(ample.marginal_kl.value, abs=1e-12)
    few, all_at_once = (_batches(posterior, log_prior=mixture(), memory_bytes=m) for m in (memory_bytes, AMPLE))
    assert few.rate.value == pytest.approx(all_at_once.rate.value, abs=1e-12)
    assert few.marginal_kl.value == pytest.approx(all_at_once.marginal_kl.value, abs=1e-12)


def test_a_prior_works_in_the_dtype_of_the_posterior():
    dtypes = set()

    def noted(z: Tensor) -> Tensor:
        dtypes.add(z.dtype)
        result: Tensor = mixture()(z)
        return result

    single = random_posterior(IMAGES, LATENT, seed=10, dtype=torch.float32)
    double = Posterior(single.mean.double(), single.log_var.double())
    parts, exact = _parts(single, SAMPLES, log_prior=noted), _parts(double, SAMPLES, log_prior=mixture())
    assert parts.rate.value == pytest.approx(exact.rate.value, abs=1e-5)
    assert _batches(single, log_prior=noted).rate.value == pytest.approx(
        _batches(double, log_prior=mixture()).rate.value, abs=1e-5
    )
    assert dtypes == {torch.float32}


def test_a_prior_without_density_at_a_z_is_refused():
    posterior = random_posterior(IMAGES, LATENT, seed=10)

    def half(z: Tensor) -> Tensor:
        return torch.where(z[:, 0] > 0, mixture()(z), -math.inf)

    with pytest.raises(ValueError, match="of 211 samples are not finite"):
        _parts(posterior, 211, log_prior=half)
    with pytest.raises(ValueError, match="of 3 samples are not finite"):
        _batches(posterior, log_prior=half)


# --- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("log_var", [-1.0, -20.0])
def test_batches_give_the_parts_of_plain_python(log_var):
    posterior, prior = random_posterior(IMAGES, LATENT, seed=5, log_var=log_var), mixture()
    own, standard = (_batches(posterior, log_prior=log_prior) for log_prior in (prior, None))
    order = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(6))
    noise = random_noise(IMAGES, LATENT, seed=7)
    rates, kls = [], []
    for start in (0, 5, 10):  # and two images are left over
        batch = order[start : start + BATCH]
        mean, spread = posterior.mean[batch].numpy(), posterior.log_var[batch].numpy()
        z = mean + np.exp(0.5 * spread) * noise[start : start + BATCH].numpy()
        log_p, log_q = _plain_log_density(prior, z), naive.batch_estimate(z, mean, spread, images=IMAGES)
        rates.append((naive.log_densities(z, mean, spread).diagonal() - log_p).mean())
        kls.append((log_q - log_p).mean())
    for estimate, terms in ((own.rate, rates), (own.marginal_kl, kls)):
        assert estimate.value == pytest.approx(np.mean(terms), abs=1e-9)
        assert estimate.standard_error == pytest.approx(np.std(terms, ddof=1) / math.sqrt(3), abs=1e-9)
        assert estimate.samples == own.batches == 3
    assert own.mutual_information == standard.mutual_information
    assert own.mutual_information.value + own.marginal_kl.value == pytest.approx(own.rate.value, rel=1e-12)
    assert abs(own.marginal_kl.value - standard.marginal_kl.value) > 0.1


# --- active units -----------------------------------------------------------------------------------------------------


def test_a_dimension_is_active_if_its_means_vary_beside_the_prior_in_it():
    column = torch.linspace(-1, 1, 101, dtype=torch.float64)
    column = (column - column.mean()) / column.std(correction=1)
    mean = column[:, None] * torch.tensor([0.009, 0.011, 0.09, 0.11, 3.0], dtype=torch.float64).sqrt()
    variance = torch.tensor([0.5, 1.0, 10.0, 10.0, 400.0], dtype=torch.float64)
    assert active_units(mean) == 4
    assert active_units(mean, prior_variance=torch.ones(5)) == 4
    assert active_units(mean, prior_variance=variance) == 3  # the first, the second and the fourth
    assert active_units(mean, prior_variance=variance, threshold=0.005) == 5


@pytest.mark.parametrize(
    ("variance", "message"),
    [
        (torch.ones(2), r"shape \[2\]; allowed: \[3\]"),
        (torch.ones(1, 3), r"shape \[1, 3\]; allowed: \[3\]"),
        (torch.tensor([1.0, 0.0, 2.0]), r"prior_variance is \[1.0, 0.0, 2.0\]; allowed: more than 0"),
        (torch.tensor([1.0, math.nan, 2.0]), "prior_variance holds values that are not finite"),
    ],
)
def test_variances_that_no_prior_has_are_refused(variance, message):
    with pytest.raises(ValueError, match=message):
        active_units(torch.zeros(7, 3), prior_variance=variance)
