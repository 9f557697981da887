"""The optimal decoder against plain NumPy, at its limits, and as the minimum that it is."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from rdstudy.measures.optimal_decoder import (
    LEAST_PROBABILITY,
    bernoulli_distortion_of_mean,
    optimal_distortion,
    optimal_reconstructions,
)
from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods.bernoulli import floor as bernoulli_floor

SAMPLES, IMAGES, LATENT, PIXELS = 5, 101, 2, 7
ENOUGH = 1e8


def _bytes(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def _normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape)).to(dtype)


def _posterior(seed: int, log_var: float, images: int = IMAGES, dtype: torch.dtype = torch.float64) -> Posterior:
    mean = _normal(seed, images, LATENT, dtype=dtype)
    return Posterior(mean, log_var + 0.1 * _normal(seed + 1000, images, LATENT, dtype=dtype))


def _reference(z: torch.Tensor, posterior: Posterior, images: torch.Tensor) -> np.ndarray:
    """One code at a time, in float64."""
    mean, log_var = posterior.mean.double().numpy(), posterior.log_var.double().numpy()
    result = []
    for code in z.double().numpy():
        log_q = -0.5 * ((code - mean) ** 2 * np.exp(-log_var) + log_var + math.log(2 * math.pi)).sum(axis=1)
        weight = np.exp(log_q - log_q.max())
        result.append(weight @ images.numpy() / 255 / weight.sum())
    return np.array(result)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_var", [1.0, -3.0, -8.0, -20.0, -40.0])
def test_equals_the_weighted_mean_of_training_images(log_var, dtype):
    posterior, images = _posterior(1, log_var, dtype=dtype), _bytes(2, IMAGES, PIXELS)
    z = torch.cat([posterior.sample(_normal(3, IMAGES, LATENT, dtype=dtype)), _normal(4, SAMPLES, LATENT, dtype=dtype)])
    actual = optimal_reconstructions(z, posterior, images, memory_bytes=ENOUGH)
    assert actual.dtype == dtype
    tolerance = 1e-12 if dtype == torch.float64 else 2e-6
    np.testing.assert_allclose(actual, _reference(z, posterior, images), rtol=tolerance, atol=0)


@pytest.mark.parametrize("memory_bytes", [1, 5_000, 50_000])
@pytest.mark.parametrize("log_var", [1.0, -8.0])
def test_memory_bounds_change_nothing_but_rounding(memory_bytes, log_var):
    posterior, images = _posterior(5, log_var), _bytes(6, IMAGES, PIXELS)
    z = _normal(7, 13, LATENT)
    expected = optimal_reconstructions(z, posterior, images, memory_bytes=ENOUGH)
    actual = optimal_reconstructions(z, posterior, images, memory_bytes=memory_bytes)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)
    own = _bytes(8, 13, PIXELS)
    measure = partial(optimal_distortion, z, images=own, train_posterior=posterior, train_images=images)
    assert measure(memory_bytes=memory_bytes).value == pytest.approx(measure(memory_bytes=ENOUGH).value, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("log_var", [-20.0, -100.0, -700.0])
def test_needles_give_back_their_training_images_bit_for_bit(log_var, dtype):
    """Means 1e3 from the origin: squares of them would drown the differences."""
    mean = 1e3 + torch.arange(2 * IMAGES, dtype=dtype).reshape(IMAGES, LATENT)
    posterior, images = Posterior(mean, torch.full_like(mean, log_var)), _bytes(9, IMAGES, PIXELS)
    z = posterior.sample(_normal(10, IMAGES, LATENT, dtype=dtype))
    for memory_bytes in (20_000, ENOUGH):
        actual = optimal_reconstructions(z, posterior, images, memory_bytes=memory_bytes)
        assert torch.equal(actual, images.to(dtype) / 255)


def test_posteriors_that_say_nothing_give_the_mean_image():
    images = _bytes(11, IMAGES, PIXELS)
    prior = Posterior(torch.zeros(IMAGES, LATENT), torch.zeros(IMAGES, LATENT))
    actual = optimal_reconstructions(_normal(12, SAMPLES, LATENT), prior, images, memory_bytes=ENOUGH)
    torch.testing.assert_close(actual, (images.double() / 255).mean(dim=0).expand(SAMPLES, -1), rtol=1e-12, atol=0)


def test_needles_on_training_images_reach_the_entropy_floor():
    images = _bytes(13, IMAGES, PIXELS)
    images[:, 0], images[:, 1] = 0, 255  # black and white cost nothing
    images[:50, 2:4] = torch.tensor([1, 254], dtype=torch.uint8)
    posterior = _posterior(14, -60.0)
    z = posterior.sample(_normal(15, IMAGES, LATENT))
    result = optimal_distortion(z, images=images, train_posterior=posterior, train_images=images, memory_bytes=ENOUGH)
    floor = bernoulli_floor(images.double() / 255)
    assert result.samples == IMAGES
    assert result.value == pytest.approx(floor.mean().item(), rel=1e-12)
    assert result.standard_error == pytest.approx(floor.std().item() / IMAGES**0.5, rel=1e-12)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_no_other_decoder_has_a_smaller_distortion_on_the_training_set(likelihood):
    """The integral over z of Σ_n q(z|x_n) D(x_n, f(z)) / N, on a grid: smallest for f = x*."""

    def gaussian(mean: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * (mean - x).square().sum(dim=-1)

    distortion = bernoulli_distortion_of_mean if likelihood == "bernoulli" else gaussian
    images = _bytes(16, 11, PIXELS)
    x = images.double() / 255
    mean, log_var = _normal(17, 11, 1), -1.5 + 0.5 * _normal(18, 11, 1)
    z = torch.linspace(-8, 8, 2003, dtype=torch.float64)[:, None]
    density = torch.exp(-0.5 * ((z - mean.T) ** 2 / log_var.T.exp() + log_var.T)) / (2 * math.pi) ** 0.5  # [z, image]

    def mean_distortion(reconstruction: torch.Tensor) -> float:
        each = distortion(reconstruction[:, None].expand(-1, 11, -1), x.expand(len(z), -1, -1))
        return float((density * each).sum(dim=1).mean() * 16 / 11)

    optimal = optimal_reconstructions(z, Posterior(mean, log_var), images, memory_bytes=ENOUGH)
    least = mean_distortion(optimal)
    nearest = x[(z - mean.T).abs().argmin(dim=1)]
    sharper = optimal_reconstructions(z, Posterior(mean, log_var - 0.2), images, memory_bytes=ENOUGH)
    softer = optimal_reconstructions(z, Posterior(mean, log_var + 0.2), images, memory_bytes=ENOUGH)
    flat = x.mean(dim=0).expand(len(z), -1)
    for other in (nearest, sharper, softer, flat, 0.99 * optimal, 0.99 * optimal + 0.01):
        assert mean_distortion(other) > least + 1e-6


def test_the_distortion_is_the_mean_over_draws_from_the_posteriors():
    """Monte Carlo against the same number by NumPy, and above the floor where posteriors overlap."""
    images, posterior = _bytes(19, IMAGES, PIXELS), _posterior(20, 0.0)
    z = posterior.sample(_normal(21, IMAGES, LATENT))
    result = optimal_distortion(z, images=images, train_posterior=posterior, train_images=images, memory_bytes=ENOUGH)
    mean, x = _reference(z, posterior, images), images.numpy() / 255
    each = -(x * np.log(mean) + (1 - x) * np.log(1 - mean)).sum(axis=1)
    assert result.value == pytest.approx(each.mean(), rel=1e-12)
    assert result.value > bernoulli_floor(images.double() / 255).mean().item() + 0.1


def test_floats_and_bytes_are_the_same_images_and_the_likelihood_is_an_argument():
    images, posterior = _bytes(22, IMAGES, PIXELS), _posterior(23, 0.0)
    z = posterior.sample(_normal(24, IMAGES, LATENT))
    measure = partial(optimal_distortion, z, train_posterior=posterior, train_images=images, memory_bytes=ENOUGH)
    assert measure(images=images.double() / 255) == measure(images=images)
    absolute = measure(images=images, distortion_of_mean=lambda mean, x: (mean - x).abs().sum(dim=-1))
    expected = np.abs(_reference(z, posterior, images) - images.numpy() / 255).sum(axis=1).mean()
    assert absolute.value == pytest.approx(expected, rel=1e-12)


def test_a_pixel_that_no_training_image_has_costs_half_a_grey_level():
    for white in (0.0, 1.0):
        mean, x = torch.full((1, 1), white), torch.full((1, 1), 1 - white)
        assert bernoulli_distortion_of_mean(mean, x).item() == pytest.approx(math.log(510))
        assert bernoulli_distortion_of_mean(mean, mean).item() == 0
        narrow = bernoulli_distortion_of_mean(mean, x, least_probability=1e-6)
        assert narrow.item() == pytest.approx(-math.log(1e-6))


def test_the_floor_of_probabilities_never_raises_a_distortion_and_lowers_its_mean_by_little():
    """At every m: the loss under x of mean m is at most ε/e a pixel, as the docstring says."""
    m = torch.logspace(-6, -1e-3, 1009, dtype=torch.float64)[:, None]
    for mean, value in ((m, 1.0), (1 - m, 0.0)):
        x = torch.full_like(m, value)
        exact = -torch.log(m[:, 0])
        floored = bernoulli_distortion_of_mean(mean, x)
        assert (floored <= exact + 1e-12).all()
        assert 0.9 < (m[:, 0] * (exact - floored)).max().item() / (LEAST_PROBABILITY / math.e) < 1.0001


@pytest.mark.parametrize("log_var", [-20.0, -60.0])
def test_a_code_far_from_all_needles_gives_the_nearest_one(log_var):
    mean = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    posterior, images = Posterior(mean, torch.full_like(mean, log_var)), _bytes(25, 3, PIXELS)
    z = torch.tensor([[0.4, 0.0], [0.6, 0.0], [30.0, 40.0]])
    actual = optimal_reconstructions(z, posterior, images, memory_bytes=ENOUGH)
    assert torch.equal(actual, images[[0, 1, 2]] / 255)


def test_what_does_not_fit_or_is_not_finite_is_refused():
    posterior, images, z = _posterior(26, 0.0, images=11), _bytes(27, 11, PIXELS), _normal(28, SAMPLES, LATENT)
    narrow = Posterior(posterior.mean, posterior.log_var - 1500)
    lost = Posterior(posterior.mean, posterior.log_var - 1300)
    bad = posterior.mean.clone()
    bad[3, 1] = float("nan")
    for code, q, x, said in (
        (z[:0], posterior, images, "codes z of shape"),
        (z, posterior, images[:0], "training images of shape"),
        (z, posterior, images[:5], "mean of shape"),
        (z[:, :1], posterior, images, "mean of shape"),
        (z, Posterior(posterior.mean, posterior.log_var[:5]), images, "log_var of shape"),
        (z, posterior, images / 255, "training images of torch.float32"),
        (z, Posterior(bad, posterior.log_var), images, "1 values of mean are not finite"),
        (z, Posterior(posterior.mean, bad), images, "1 values of log_var are not finite"),
        (z / 0, posterior, images, "values of z are not finite"),
        (z, narrow, images, "log_var -1500"),
        (z, lost, images, "density 0"),
    ):
        with pytest.raises(ValueError, match=said):
            optimal_reconstructions(code, q, x, memory_bytes=ENOUGH)


def test_a_distortion_needs_one_image_a_code_and_a_finite_value():
    posterior, images, z = _posterior(29, 0.0, images=11), _bytes(30, 11, PIXELS), _normal(31, SAMPLES, LATENT)
    measure = partial(optimal_distortion, z, train_posterior=posterior, train_images=images, memory_bytes=ENOUGH)
    with pytest.raises(ValueError, match="3 images and 5 codes"):
        measure(images=images[:3])
    with pytest.raises(ValueError, match="5 pixels; allowed: 7"):
        measure(images=images[:5, :5])
    with pytest.raises(ValueError, match="5 of 5 samples are not finite"):
        measure(images=images[:5], distortion_of_mean=lambda mean, x: (mean - x).sum(dim=-1) / 0)
