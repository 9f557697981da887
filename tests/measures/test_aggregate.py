"""The exact aggregate posterior against plain Python, for needles of any width, and within its memory."""

import numpy as np
import pytest
import torch

from rdstudy.measures import aggregate
from rdstudy.measures.aggregate import aggregate_log_density, log_density, marginal_log_densities
from rdstudy.model.gaussian import Posterior
from tests.measures import naive
from tests.measures.naive import LargestTensor, random_noise, random_posterior

SAMPLES, IMAGES, LATENT = 7, 13, 3
AMPLE = 2.0**30


def _drawn(posterior: Posterior, samples: int = SAMPLES) -> torch.Tensor:
    own = Posterior(posterior.mean[:samples].double(), posterior.log_var[:samples].double())
    return own.sample(random_noise(len(own.mean), own.mean.shape[1], seed=5))


@pytest.mark.parametrize("log_var", [3.0, -1.0, -6.0, -20.0, -40.0, -80.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_are_those_of_plain_python_for_posteriors_of_any_width(dtype, log_var):
    posterior = random_posterior(IMAGES, LATENT, seed=1, log_var=log_var, dtype=dtype)
    z = _drawn(posterior)
    numbers = z.numpy(), posterior.mean.double().numpy(), posterior.log_var.double().numpy()
    joint = aggregate_log_density(z, posterior, memory_bytes=AMPLE)
    of_dimensions = marginal_log_densities(z, posterior, memory_bytes=AMPLE)
    assert joint.shape == (SAMPLES,)
    assert of_dimensions.shape == (SAMPLES, LATENT)
    np.testing.assert_allclose(joint, naive.aggregate(*numbers), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(of_dimensions, naive.marginals(*numbers), rtol=1e-12, atol=1e-12)


def test_a_z_far_from_all_images_has_a_density_too():
    posterior = random_posterior(IMAGES, LATENT, seed=1, log_var=-20.0)
    z = 100 + random_noise(SAMPLES, LATENT, seed=2)
    expected = naive.aggregate(z.numpy(), posterior.mean.numpy(), posterior.log_var.numpy())
    assert (expected < -1e9).all()
    np.testing.assert_allclose(aggregate_log_density(z, posterior, memory_bytes=AMPLE), expected, rtol=1e-12)


def test_one_image_is_its_own_aggregate():
    posterior = random_posterior(1, LATENT, seed=3)
    z = random_noise(SAMPLES, LATENT, seed=4)
    torch.testing.assert_close(
        aggregate_log_density(z, posterior, memory_bytes=AMPLE), log_density(z, posterior), rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize(("images", "latent"), [(1, 1), (1, 3), (13, 1), (13, 3)])
def test_what_is_given_is_not_overwritten(images, latent):
    posterior = random_posterior(images, latent, seed=3)
    z = random_noise(SAMPLES, latent, seed=4)
    before = [tensor.clone() for tensor in (posterior.mean, posterior.log_var, z)]
    marginal_log_densities(z, posterior, memory_bytes=1.0)
    assert all(map(torch.equal, before, (posterior.mean, posterior.log_var, z)))


def test_density_of_one_dimension_integrates_to_one():
    posterior = random_posterior(IMAGES, 1, seed=6, log_var=-3.0)
    z = torch.linspace(-12, 12, 20_011, dtype=torch.float64)
    q = aggregate_log_density(z[:, None], posterior, memory_bytes=AMPLE).exp()
    assert torch.trapezoid(q, z).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("memory_bytes", [1.0, 700.0, 2_000.0, 7_000.0, float("inf")])
@pytest.mark.parametrize("function", [aggregate_log_density, marginal_log_densities])
def test_memory_is_bounded_and_changes_nothing_but_rounding(function, memory_bytes):
    posterior = random_posterior(IMAGES, LATENT, seed=1, log_var=-4.0)
    z = _drawn(posterior, IMAGES).repeat(5, 1)
    with LargestTensor() as largest:
        actual = function(z, posterior, memory_bytes=memory_bytes)
    torch.testing.assert_close(actual, function(z, posterior, memory_bytes=AMPLE), rtol=1e-13, atol=1e-13)
    assert largest.elements <= max(memory_bytes / 16, z.numel())
    if memory_bytes == float("inf"):
        assert largest.elements >= len(z) * IMAGES


def test_memory_is_bounded_for_many_images_and_few_samples():
    posterior = random_posterior(503, LATENT, seed=1)
    z = _drawn(posterior, 2)
    with LargestTensor() as largest:
        aggregate_log_density(z, posterior, memory_bytes=4_000.0)
    assert 25 < largest.elements <= 4_000 / 16


def test_blocks_of_a_cpu_are_small_however_much_memory_there_is(monkeypatch):
    monkeypatch.setattr(aggregate, "_CPU_BLOCK_BYTES", 7_000)
    posterior = random_posterior(101, LATENT, seed=1)
    z = _drawn(posterior, 101)
    with LargestTensor() as largest:
        aggregate_log_density(z, posterior, memory_bytes=AMPLE)
    assert largest.elements <= 7_000 / 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_densities_have_the_type_of_z_and_no_gradient(dtype):
    posterior = random_posterior(IMAGES, LATENT, seed=1, dtype=torch.float32)
    posterior.mean.requires_grad_()
    z = random_noise(SAMPLES, LATENT, seed=2).to(dtype)
    for function in (aggregate_log_density, marginal_log_densities):
        actual = function(z, posterior, memory_bytes=AMPLE)
        assert actual.dtype == dtype
        assert not actual.requires_grad


def _bad(part: str, value: float) -> Posterior:
    posterior = random_posterior(IMAGES, LATENT, seed=1)
    getattr(posterior, part)[4, 1] = value
    return posterior


@pytest.mark.parametrize("function", [aggregate_log_density, marginal_log_densities])
@pytest.mark.parametrize(
    ("posterior", "z", "message"),
    [
        (Posterior(torch.zeros(0, 3), torch.zeros(0, 3)), torch.zeros(7, 3), r"\[0, 3\]"),
        (Posterior(torch.zeros(5, 0), torch.zeros(5, 0)), torch.zeros(7, 0), r"\[5, 0\]"),
        (Posterior(torch.zeros(5, 3), torch.zeros(5, 1)), torch.zeros(7, 3), r"log_var \[5, 1\]"),
        (Posterior(torch.zeros(3), torch.zeros(3)), torch.zeros(7, 3), r"mean \[3\]"),
        (_bad("mean", float("nan")), torch.zeros(7, 3), "mean of posterior"),
        (_bad("mean", float("inf")), torch.zeros(7, 3), "mean of posterior"),
        (_bad("log_var", float("-inf")), torch.zeros(7, 3), "log_var of posterior"),
        (_bad("log_var", float("nan")), torch.zeros(7, 3), "log_var of posterior"),
        (Posterior(torch.ones(5, 3), torch.full((5, 3), -2e3)), torch.zeros(7, 3), r"log q\(z\)"),
        (random_posterior(5, 3, seed=1), torch.full((7, 3), float("nan")), "z holds"),
        (random_posterior(5, 3, seed=1), torch.full((7, 3), 1e200, dtype=torch.float64), r"log q\(z\)"),
    ],
)
def test_nonsense_is_refused_with_the_value(function, posterior, z, message):
    with pytest.raises(ValueError, match=message):
        function(z, posterior, memory_bytes=AMPLE)


def test_a_z_of_other_dimensions_or_no_memory_is_refused():
    posterior = random_posterior(IMAGES, LATENT, seed=1)
    for shape in [(7, 1), (3,), (7, 4)]:
        with pytest.raises(ValueError, match="z has the shape"):
            aggregate_log_density(torch.zeros(shape), posterior, memory_bytes=AMPLE)
    for memory_bytes in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="memory_bytes"):
            aggregate_log_density(torch.zeros(7, 3), posterior, memory_bytes=memory_bytes)


def test_a_gpu_takes_all_images_in_few_blocks_that_fit():
    """On the meta device, which like a GPU has no cache to stay in."""
    images, samples, latent, memory_bytes = 81_920, 1_000, 10, 2**30
    posterior = Posterior(*torch.empty(2, images, latent, device="meta"))
    block = aggregate._Block.within(memory_bytes, samples=samples, posterior=posterior)
    assert block.images == images
    assert len(list(block.samples_of(samples))) == 2
    assert 16 * block.samples * block.images + 32 * latent * block.images <= memory_bytes
    small = aggregate._Block.within(1e6, samples=samples, posterior=posterior)
    assert 16 * small.samples * small.images + 32 * latent * small.images <= 1e6
    assert small.images < images
