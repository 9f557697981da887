"""The paper's estimate from a batch: plain Python, the exact answer at B = N, its direction, and its derivatives."""

import math

import numpy as np
import pytest
import torch

from rdstudy.measures.aggregate import log_density
from rdstudy.measures.batch_estimate import batch_log_density, batch_rate_parts
from rdstudy.measures.rate_parts import rate_parts
from rdstudy.model.gaussian import Posterior, rate
from tests.measures import naive
from tests.measures.naive import LargestTensor, random_noise, random_posterior

MEMBERS, BATCH, LATENT, IMAGES = 3, 5, 2, 17
AMPLE = 2.0**30


def _order(images: int, *, seed: int) -> torch.Tensor:
    return torch.randperm(images, generator=torch.Generator().manual_seed(seed))


def _batches(*, log_var: float, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, Posterior]:
    """z and code `[member, batch, latent]`."""
    flat = random_posterior(MEMBERS * BATCH, LATENT, seed=1, log_var=log_var, dtype=dtype)
    shape = (MEMBERS, BATCH, LATENT)
    code = Posterior(flat.mean.view(shape), flat.log_var.view(shape))
    return code.sample(random_noise(MEMBERS * BATCH, LATENT, seed=2).view(shape).to(dtype)), code


def _plain(z: torch.Tensor, code: Posterior, images: int) -> torch.Tensor:
    """The estimate in plain differentiable PyTorch, with all of `[..., batch, batch, latent]` in memory."""
    log_q = log_density(z[..., :, None, :], Posterior(code.mean[..., None, :, :], code.log_var[..., None, :, :]))
    batch = z.shape[-2]
    log_weights = torch.full((batch, batch), math.log((images - 1) / (images * (batch - 1))), dtype=z.dtype)
    return (log_q + log_weights.fill_diagonal_(-math.log(images))).logsumexp(dim=-1)


@pytest.mark.parametrize("log_var", [2.0, -1.0, -20.0, -40.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
def test_each_members_batch_has_the_estimate_of_plain_python(dtype, tolerance, log_var):
    z, code = _batches(log_var=log_var, dtype=dtype)
    actual = batch_log_density(z, code, images=IMAGES)
    assert actual.dtype == dtype
    for member in range(MEMBERS):
        numbers = [tensor[member].double().numpy() for tensor in (z, code.mean, code.log_var)]
        expected = naive.batch_estimate(numbers[0], numbers[1], numbers[2], images=IMAGES)
        np.testing.assert_allclose(actual[member].double().numpy(), expected, rtol=tolerance, atol=1e-6 * tolerance)
    alone = batch_log_density(z[1], Posterior(code.mean[1], code.log_var[1]), images=IMAGES)
    torch.testing.assert_close(actual[1], alone)


def test_needles_are_alone_in_their_batch():
    z, code = _batches(log_var=-20.0, dtype=torch.float32)
    information = log_density(z, code) - batch_log_density(z, code, images=IMAGES)
    torch.testing.assert_close(information, torch.full((MEMBERS, BATCH), math.log(IMAGES)), atol=2e-5, rtol=0)


def test_derivatives_are_those_of_finite_differences():
    z, code = _batches(log_var=-1.0)
    leaves = [tensor.clone().requires_grad_() for tensor in (z, code.mean, code.log_var)]
    assert torch.autograd.gradcheck(
        lambda z, mean, log_var: batch_log_density(z, Posterior(mean, log_var), images=IMAGES), leaves
    )


@pytest.mark.parametrize("log_var", [-1.0, -20.0])
def test_derivatives_through_a_drawn_z_are_those_of_autograd(log_var):
    _, code = _batches(log_var=log_var)
    noise = random_noise(MEMBERS * BATCH, LATENT, seed=3).view(MEMBERS, BATCH, LATENT)
    weights = random_noise(MEMBERS, BATCH, seed=4)
    gradients = []
    for estimate in (batch_log_density, lambda z, code, *, images: _plain(z, code, images)):
        leaves = [code.mean.clone().requires_grad_(), code.log_var.clone().requires_grad_()]
        drawn = Posterior(*leaves)
        loss = (estimate(drawn.sample(noise), drawn, images=IMAGES) * weights).sum()
        gradients.append(torch.autograd.grad(loss, leaves))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("log_var", [-20.0, -40.0, -80.0, -120.0])
def test_derivatives_of_needles_are_finite_in_float32(log_var):
    z, code = _batches(log_var=log_var, dtype=torch.float32)
    leaves = [code.mean.requires_grad_(), code.log_var.requires_grad_()]
    gradients = torch.autograd.grad(batch_log_density(z, code, images=IMAGES).sum(), leaves)
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_no_array_has_batch_and_batch_and_latent_and_one_is_kept_between_the_passes():
    latent, kept = 11, []
    flat = random_posterior(MEMBERS * BATCH, latent, seed=1)
    code = Posterior(*(part.view(MEMBERS, BATCH, latent).requires_grad_() for part in (flat.mean, flat.log_var)))

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with LargestTensor() as largest:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            log_q = batch_log_density(code.mean.detach(), code, images=IMAGES)
        log_q.sum().backward()
    most = MEMBERS * BATCH * max(BATCH, latent)
    assert largest.elements == most
    assert sum(kept) == MEMBERS * BATCH * (BATCH + 3 * latent)


def test_a_batch_of_all_images_gives_the_exact_parts():
    posterior = random_posterior(IMAGES, LATENT, seed=5, log_var=-2.0)
    order, noise = _order(IMAGES, seed=6), random_noise(IMAGES, LATENT, seed=7)
    batch = batch_rate_parts(posterior, order=order, noise=noise, batch_size=IMAGES, memory_bytes=AMPLE)
    exact = rate_parts(posterior, chosen=order, noise=noise, memory_bytes=AMPLE)
    assert batch.batches == batch.mutual_information.samples == 1
    assert batch.mutual_information.value == pytest.approx(exact.mutual_information.value, abs=1e-13)
    assert batch.marginal_kl.value == pytest.approx(exact.marginal_kl.value, abs=1e-13)
    assert math.isnan(batch.mutual_information.standard_error)
    assert math.isnan(batch.marginal_kl.standard_error)


@pytest.mark.parametrize("memory_bytes", [1.0, 1_700.0, AMPLE])
@pytest.mark.parametrize("log_var", [-1.0, -20.0])
def test_parts_are_means_over_whole_batches(log_var, memory_bytes):
    posterior = random_posterior(IMAGES, LATENT, seed=5, log_var=log_var)
    order, noise = _order(IMAGES, seed=6), random_noise(IMAGES, LATENT, seed=7)
    actual = batch_rate_parts(posterior, order=order, noise=noise, batch_size=BATCH, memory_bytes=memory_bytes)
    of_batch = []
    for start in (0, 5, 10):  # and two images are left over
        batch = order[start : start + BATCH]
        code = Posterior(posterior.mean[batch], posterior.log_var[batch])
        z = code.sample(noise[start : start + BATCH])
        log_q = naive.batch_estimate(z.numpy(), code.mean.numpy(), code.log_var.numpy(), images=IMAGES)
        of_batch.append((log_density(z, code).numpy() - log_q).mean())
    assert actual.batches == actual.mutual_information.samples == 3
    assert actual.mutual_information.value == pytest.approx(np.mean(of_batch), abs=1e-12)
    error = np.std(of_batch, ddof=1) / math.sqrt(3)
    assert actual.mutual_information.standard_error == pytest.approx(error, abs=1e-12)
    assert actual.marginal_kl.standard_error == actual.mutual_information.standard_error
    total = rate(posterior).mean().item()
    assert actual.marginal_kl.value == pytest.approx(total - actual.mutual_information.value, abs=1e-12)


def test_nothing_is_to_be_told_where_all_posteriors_are_the_prior():
    posterior = Posterior(torch.zeros(IMAGES, LATENT), torch.zeros(IMAGES, LATENT))
    noise = random_noise(IMAGES, LATENT, seed=7)
    parts = batch_rate_parts(posterior, order=torch.arange(IMAGES), noise=noise, batch_size=5, memory_bytes=AMPLE)
    assert parts.mutual_information.value == pytest.approx(0, abs=1e-14)
    assert parts.marginal_kl.value == pytest.approx(0, abs=1e-14)


def test_density_is_unbiased_and_information_too_high():
    """Over random batches the mean of exp(log q) is q(z_i), of an image and a z that stay the same."""
    posterior = random_posterior(IMAGES, LATENT, seed=8, log_var=-2.0)
    z = posterior.mean[:1] + 0.1
    exact = naive.aggregate(z.numpy(), posterior.mean.numpy(), posterior.log_var.numpy())[0]
    estimates = []
    for seed in range(2000):
        batch = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + _order(IMAGES - 1, seed=seed)[: BATCH - 1]])
        code = Posterior(posterior.mean[batch], posterior.log_var[batch])
        estimates.append(batch_log_density(torch.cat([z, code.mean[1:]]), code, images=IMAGES)[0].item())
    densities = np.exp(estimates)
    error = densities.std(ddof=1) / math.sqrt(len(densities))
    assert abs(densities.mean() - math.exp(exact)) < 4 * error
    assert exact - np.mean(estimates) > 5 * np.std(estimates, ddof=1) / math.sqrt(len(estimates))


def test_standard_error_is_the_spread_of_repetitions_over_batches():
    posterior = random_posterior(1009, LATENT, seed=9, log_var=-2.0)
    estimates = [
        batch_rate_parts(
            posterior,
            order=_order(1009, seed=seed)[:77],
            noise=random_noise(77, LATENT, seed=seed),
            batch_size=7,
            memory_bytes=AMPLE,
        ).mutual_information
        for seed in range(300)
    ]
    spread = np.std([estimate.value for estimate in estimates], ddof=1)
    told = np.sqrt(np.mean([estimate.standard_error**2 for estimate in estimates]))
    assert told == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize(
    ("order", "noise", "batch_size", "message"),
    [
        (torch.arange(IMAGES), torch.zeros(IMAGES, LATENT), 512, "batch_size is 512 with 17 images"),
        (torch.arange(3), torch.zeros(3, LATENT), 5, "3 of them in order"),
        (torch.arange(IMAGES), torch.zeros(IMAGES, LATENT), 1, "batch_size is 1"),
        (torch.arange(IMAGES), torch.zeros(IMAGES, LATENT), 0, "batch_size is 0"),
        (torch.arange(IMAGES) // 2, torch.zeros(IMAGES, LATENT), 5, "8 images again"),
        (torch.arange(IMAGES) + 5, torch.zeros(IMAGES, LATENT), 5, "0 to 16"),
        (torch.arange(IMAGES), torch.zeros(15, LATENT), 5, "noise for 15 images"),
        (torch.arange(IMAGES), torch.zeros(IMAGES, 1), 5, "noise has the shape"),
        (torch.arange(IMAGES), torch.full((IMAGES, LATENT), math.inf), 5, "noise holds"),
    ],
)
def test_nonsense_is_refused_with_the_value(order, noise, batch_size, message):
    posterior = random_posterior(IMAGES, LATENT, seed=1)
    with pytest.raises(ValueError, match=message):
        batch_rate_parts(posterior, order=order, noise=noise, batch_size=batch_size, memory_bytes=AMPLE)


@pytest.mark.parametrize(
    ("z", "code", "images", "message"),
    [
        (torch.zeros(1, 2), torch.zeros(1, 2), 7, "a batch has 1 images of 7"),
        (torch.zeros(5, 2), torch.zeros(5, 2), 4, "a batch has 5 images of 4"),
        (torch.zeros(5, 2), torch.zeros(3, 5, 2), 7, r"z \[5, 2\]"),
        (torch.zeros(5), torch.zeros(5), 7, r"z \[5\]"),
    ],
)
def test_a_batch_that_has_no_estimate_is_refused(z, code, images, message):
    with pytest.raises(ValueError, match=message):
        batch_log_density(z, Posterior(code, code), images=images)


def test_a_posterior_that_is_not_finite_is_refused():
    posterior = random_posterior(IMAGES, LATENT, seed=1)
    posterior.log_var[3, 1] = math.nan
    with pytest.raises(ValueError, match="log_var of posterior"):
        batch_rate_parts(
            posterior, order=_order(IMAGES, seed=1), noise=torch.zeros(IMAGES, 2), batch_size=5, memory_bytes=AMPLE
        )
