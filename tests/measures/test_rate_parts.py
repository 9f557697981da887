"""The parts of the rate: known answers, quadrature, plain Python, identities, and honest standard errors."""

import math

import numpy as np
import pytest
import torch

from rdstudy.measures.estimate import Estimate
from rdstudy.measures.rate_parts import RateParts, cross_rate, rate_parts
from rdstudy.model.gaussian import Posterior, rate
from tests.measures import naive
from tests.measures.naive import random_noise, random_posterior

SAMPLES, IMAGES, LATENT = 7, 13, 3
AMPLE = 2.0**30


def _chosen(images: int, samples: int, *, seed: int) -> torch.Tensor:
    return torch.randint(images, (samples,), generator=torch.Generator().manual_seed(seed))


def _parts(posterior: Posterior, samples: int, *, seed: int = 1, memory_bytes: float = AMPLE) -> RateParts:
    images, latent = posterior.mean.shape
    chosen, noise = _chosen(images, samples, seed=seed), random_noise(samples, latent, seed=seed + 1)
    return rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=memory_bytes)


def _dimension_kl(parts: RateParts) -> Estimate:
    assert parts.dimension_kl is not None
    return parts.dimension_kl


def _values(parts: RateParts) -> list[float]:
    return [
        estimate.value
        for estimate in (parts.mutual_information, parts.marginal_kl, parts.total_correlation, _dimension_kl(parts))
    ]


def _close(estimate: Estimate, expected: float, *, errors: float = 4.0) -> None:
    assert estimate.standard_error > 0
    assert abs(estimate.value - expected) < errors * estimate.standard_error


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_is_to_be_told_where_all_posteriors_are_the_prior(dtype):
    posterior = Posterior(*torch.zeros(2, IMAGES, LATENT, dtype=dtype))
    assert _values(_parts(posterior, SAMPLES)) == pytest.approx([0.0] * 4, abs=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_var", [-20.0, -40.0, -80.0])
def test_needles_tell_which_image_it_is(dtype, log_var):
    posterior = Posterior(random_posterior(101, LATENT, seed=2, dtype=dtype).mean, torch.full((101, LATENT), log_var))
    parts = _parts(posterior, 211)
    assert parts.images == 101
    assert parts.mutual_information.value == pytest.approx(math.log(101), abs=1e-12)
    assert parts.mutual_information.standard_error < 1e-12
    assert parts.marginal_kl.value == pytest.approx(rate(posterior).double().mean().item() - math.log(101), abs=1e-4)
    assert parts.total_correlation.value == pytest.approx((LATENT - 1) * math.log(101), abs=0.01)


def test_images_with_one_code_share_what_is_told():
    mean = random_posterior(11, LATENT, seed=2).mean.repeat(7, 1)
    parts = _parts(Posterior(mean, torch.full_like(mean, -20.0)), 211)
    assert parts.mutual_information.value == pytest.approx(math.log(11), abs=1e-12)


def test_two_overlapping_gaussians_agree_with_quadrature():
    mean, log_var = np.array([-0.9, 0.6]), np.array([-0.7, 0.3])
    x = np.linspace(-15, 15, 40_001)
    q_x = np.exp(-0.5 * ((x - mean[:, None]) ** 2 / np.exp(log_var)[:, None] + log_var[:, None] + np.log(2 * np.pi)))
    q, log_prior = q_x.mean(axis=0), -0.5 * (x**2 + np.log(2 * np.pi))
    marginal_kl = np.trapezoid(q * (np.log(q) - log_prior), x)
    information = np.trapezoid((q_x * (np.log(np.maximum(q_x, 1e-300)) - np.log(q))).mean(axis=0), x)
    posterior = Posterior(torch.from_numpy(mean)[:, None], torch.from_numpy(log_var)[:, None])
    parts = _parts(posterior, 20_011)
    _close(parts.mutual_information, information)
    _close(parts.marginal_kl, marginal_kl)
    _close(_dimension_kl(parts), marginal_kl)
    assert parts.mutual_information.standard_error < 0.005
    assert parts.total_correlation.value == pytest.approx(0, abs=1e-14)


def test_a_correlated_aggregate_has_the_total_correlation_of_its_gaussian():
    correlation, log_var, images = 0.8, math.log(0.19), 2003
    spread = random_noise(images, 2, seed=3)
    spread = (spread - spread.mean(0)) @ torch.linalg.cholesky(torch.linalg.inv(torch.cov(spread.T)))  # exactly white
    mixing = torch.linalg.cholesky(0.81 * torch.tensor([[1, correlation], [correlation, 1]], dtype=torch.float64))
    posterior = Posterior(spread @ mixing.T, torch.full((images, 2), log_var, dtype=torch.float64))
    parts = _parts(posterior, 4001)  # q(z) is N(0, [[1, r], [r, 1]]) with r = 0.81 * 0.8
    expected = -0.5 * math.log(1 - (0.81 * correlation) ** 2)
    assert parts.total_correlation.value == pytest.approx(expected, abs=0.03)
    assert parts.total_correlation.standard_error < 0.012
    assert _dimension_kl(parts).value == pytest.approx(0, abs=4 * _dimension_kl(parts).standard_error)
    assert parts.mutual_information.value == pytest.approx(
        expected_information(0.81 * correlation), abs=4 * parts.mutual_information.standard_error
    )


def expected_information(r: float) -> float:
    """Entropy of N(0, [[1, r], [r, 1]]) less that of a posterior of the variance 0.19."""
    return 0.5 * math.log(1 - r**2) - math.log(0.19)


@pytest.mark.parametrize("log_var", [-1.0, -5.0, -30.0])
def test_parts_are_those_of_plain_python(log_var):
    posterior = random_posterior(IMAGES, LATENT, seed=4, log_var=log_var)
    chosen, noise = _chosen(IMAGES, SAMPLES, seed=5), random_noise(SAMPLES, LATENT, seed=6)
    parts = rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE)
    mean, spread = posterior.mean.numpy(), posterior.log_var.numpy()
    z = mean[chosen] + np.exp(0.5 * spread[chosen]) * noise.numpy()
    own = naive.log_densities(z, mean, spread)[np.arange(SAMPLES), chosen]
    joint, product = naive.aggregate(z, mean, spread), naive.marginals(z, mean, spread).sum(axis=1)
    mean_rate = 0.5 * (mean**2 + np.exp(spread) - 1 - spread).sum(axis=1).mean()
    terms = [own - joint, joint - own, joint - product, product - own]
    at_zero = [0, mean_rate, 0, mean_rate]
    estimates = [parts.mutual_information, parts.marginal_kl, parts.total_correlation, _dimension_kl(parts)]
    for estimate, term, start in zip(estimates, terms, at_zero, strict=True):
        assert estimate.value == pytest.approx(start + term.mean(), abs=1e-9)
        assert estimate.standard_error == pytest.approx(term.std(ddof=1) / math.sqrt(SAMPLES), abs=1e-9)
        assert estimate.samples == SAMPLES


@pytest.mark.parametrize("log_var", [1.0, -1.0, -5.0, -20.0])
def test_parts_add_up_to_the_rate_and_information_stays_below_log_n(log_var):
    posterior = random_posterior(IMAGES, LATENT, seed=7, log_var=log_var, dtype=torch.float32)
    mean_rate = rate(Posterior(posterior.mean.double(), posterior.log_var.double())).mean().item()
    information, marginal_kl, correlation, dimension_kl = _values(_parts(posterior, 211))
    assert information + marginal_kl == pytest.approx(mean_rate, rel=1e-13)
    assert correlation + dimension_kl == pytest.approx(marginal_kl, abs=1e-12)
    for seed in range(20):
        one = _parts(posterior, 1, seed=seed).mutual_information
        assert one.value <= math.log(IMAGES) + 1e-12
        assert math.isnan(one.standard_error)


def test_one_image_tells_nothing_and_one_dimension_has_no_correlation():
    one = _parts(random_posterior(1, LATENT, seed=8), SAMPLES)
    assert one.mutual_information.value == pytest.approx(0, abs=1e-13)
    assert one.total_correlation.value == pytest.approx(0, abs=1e-13)
    assert one.marginal_kl.value == pytest.approx(rate(random_posterior(1, LATENT, seed=8)).item(), rel=1e-13)
    assert _parts(random_posterior(IMAGES, 1, seed=9), SAMPLES).total_correlation.value == 0


@pytest.mark.parametrize("memory_bytes", [1.0, 3_000.0])
def test_parts_do_not_depend_on_memory(memory_bytes):
    posterior = random_posterior(IMAGES, LATENT, seed=10)
    small, ample = _parts(posterior, SAMPLES, memory_bytes=memory_bytes), _parts(posterior, SAMPLES)
    assert _values(small) == pytest.approx(_values(ample), abs=1e-12)


def test_standard_errors_are_the_spread_of_repetitions():
    posterior = random_posterior(IMAGES, LATENT, seed=11, log_var=-2.0)
    repeated = [_parts(posterior, 53, seed=2 * seed) for seed in range(300)]
    for name in ("mutual_information", "marginal_kl", "total_correlation", "dimension_kl"):
        estimates = [getattr(parts, name) for parts in repeated]
        spread = np.std([estimate.value for estimate in estimates], ddof=1)
        told = np.sqrt(np.mean([estimate.standard_error**2 for estimate in estimates]))
        assert told == pytest.approx(spread, rel=0.15), name


@pytest.mark.parametrize("samples", [5, IMAGES])
def test_standard_errors_without_replacement_are_too_large_by_the_finite_choice(samples):
    """Needles, of which eight share a place: all spread is between images, and none is left when all are chosen."""
    mean = random_posterior(IMAGES, LATENT, seed=12).mean
    mean[5:] = mean[5]
    posterior = Posterior(mean, torch.full_like(mean, -20.0))
    estimates = []
    for seed in range(500):
        chosen = torch.randperm(IMAGES, generator=torch.Generator().manual_seed(seed))[:samples]
        noise = random_noise(samples, LATENT, seed=seed)
        parts = rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE)
        estimates.append(parts.mutual_information)
    variance = np.var([estimate.value for estimate in estimates], ddof=1)
    told = np.mean([estimate.standard_error**2 for estimate in estimates])
    assert told > 0.01
    assert variance == pytest.approx(told * (1 - samples / IMAGES), rel=0.15, abs=1e-12)


def test_cross_rate_is_information_on_the_same_images_and_the_rate_under_the_prior():
    posterior = random_posterior(IMAGES, LATENT, seed=13)
    chosen, noise = _chosen(IMAGES, 4001, seed=14), random_noise(4001, LATENT, seed=15)
    same = cross_rate(posterior, train_posterior=posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE)
    assert same == rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE).mutual_information
    prior = Posterior(torch.zeros(5, LATENT), torch.zeros(5, LATENT))
    under_prior = cross_rate(posterior, train_posterior=prior, chosen=chosen, noise=noise, memory_bytes=AMPLE)
    _close(under_prior, rate(posterior).mean().item())


def test_cross_rate_is_that_of_plain_python():
    test, train = random_posterior(IMAGES, LATENT, seed=16), random_posterior(17, LATENT, seed=17, log_var=-4.0)
    chosen, noise = _chosen(IMAGES, SAMPLES, seed=18), random_noise(SAMPLES, LATENT, seed=19)
    actual = cross_rate(test, train_posterior=train, chosen=chosen, noise=noise, memory_bytes=AMPLE)
    z = test.mean[chosen] + torch.exp(0.5 * test.log_var[chosen]) * noise
    own = naive.log_densities(z.numpy(), test.mean.numpy(), test.log_var.numpy())[np.arange(SAMPLES), chosen]
    expected = own - naive.aggregate(z.numpy(), train.mean.numpy(), train.log_var.numpy())
    assert actual.value == pytest.approx(expected.mean(), rel=1e-12)
    assert actual.standard_error == pytest.approx(expected.std(ddof=1) / math.sqrt(SAMPLES), rel=1e-12)


@pytest.mark.parametrize(
    ("chosen", "noise", "message"),
    [
        (torch.zeros(0, dtype=torch.int64), torch.zeros(0, LATENT), "1 or more"),
        (torch.zeros(SAMPLES, dtype=torch.int32), torch.zeros(SAMPLES, LATENT), "torch.int32"),
        (torch.zeros(SAMPLES, 1, dtype=torch.int64), torch.zeros(SAMPLES, LATENT), r"\[7, 1\]"),
        (torch.full((SAMPLES,), IMAGES), torch.zeros(SAMPLES, LATENT), "0 to 12"),
        (torch.full((SAMPLES,), -1), torch.zeros(SAMPLES, LATENT), "0 to 12"),
        (torch.zeros(SAMPLES, dtype=torch.int64), torch.zeros(SAMPLES, 1), r"noise has the shape \[7, 1\]"),
        (torch.zeros(SAMPLES, dtype=torch.int64), torch.zeros(1, LATENT), r"noise has the shape \[1, 3\]"),
        (torch.zeros(SAMPLES, dtype=torch.int64), torch.full((SAMPLES, LATENT), math.nan), "noise holds"),
    ],
)
def test_nonsense_is_refused_with_the_value(chosen, noise, message):
    posterior = random_posterior(IMAGES, LATENT, seed=1)
    with pytest.raises(ValueError, match=message):
        rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE)
    with pytest.raises(ValueError, match=message):
        cross_rate(posterior, train_posterior=posterior, chosen=chosen, noise=noise, memory_bytes=AMPLE)


def test_a_posterior_without_images_or_not_finite_is_refused_by_its_name():
    good, chosen, noise = random_posterior(IMAGES, LATENT, seed=1), torch.zeros(1, dtype=torch.int64), torch.zeros(1, 3)
    none = Posterior(torch.zeros(0, LATENT), torch.zeros(0, LATENT))
    broken = Posterior(good.mean, good.log_var * math.nan)
    for bad in (none, broken):
        with pytest.raises(ValueError, match="posterior"):
            rate_parts(bad, chosen=chosen, noise=noise, memory_bytes=AMPLE)
        with pytest.raises(ValueError, match="train_posterior"):
            cross_rate(good, train_posterior=bad, chosen=chosen, noise=noise, memory_bytes=AMPLE)
