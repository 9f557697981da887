"""Importance-weighted log p(x) against closed forms of a linear model and a slow loop."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

from rdstudy.measures.estimate import estimate_mean
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods.bernoulli import distortion as bernoulli_distortion
from rdstudy.model.networks import VAE, NetworkShape, build
from tests.measures.encoder_proposal import LogMarginal, importance_sampled, log_marginal, summarize
from tests.measures.linear_model import LATENT, linear_model

IMAGES, SAMPLES = 11, 13
EXACT, GENERAL = linear_model(orthogonal=True), linear_model(orthogonal=False)


def _generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _estimate(model, encode, x, *, samples: int, seed: int = 5, memory_bytes: float = 1e6) -> LogMarginal:
    return log_marginal(
        encode,
        model.decode,
        x,
        distortion=model.distortion,
        samples=samples,
        generator=_generator(seed),
        memory_bytes=memory_bytes,
    )


def _bernoulli_setting() -> tuple[VAE, torch.Tensor]:
    vae = build(NetworkShape("mlp", 1, 5, LATENT, (1, 2, 3)), seed=1).double()
    return vae, torch.rand(IMAGES, 6, generator=_generator(2), dtype=torch.float64)


@pytest.mark.parametrize("samples", [1, 2, 101])
def test_with_the_exact_posterior_one_sample_is_enough(samples):
    _, x = EXACT.draw(IMAGES, seed=2)
    actual = _estimate(EXACT, EXACT.encode, x, samples=samples)
    expected = EXACT.log_marginal(x)
    torch.testing.assert_close(actual.log_marginal, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(actual.elbo, expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(actual.effective_samples, torch.full_like(expected, samples), rtol=1e-11, atol=0)
    torch.testing.assert_close(actual.inference_gap, torch.zeros_like(expected), rtol=0, atol=1e-11)


def test_a_worse_posterior_gives_a_lower_bound_that_rises_with_samples_to_the_truth():
    images, counts = 997, (1, 3, 11, 41, 2003)
    _, x = GENERAL.draw(images, seed=3)
    truth = GENERAL.log_marginal(x)
    encode = functools.partial(GENERAL.encode, widen=1.0, shift=0.7)
    short = [truth - _estimate(GENERAL, encode, x, samples=samples, seed=samples).log_marginal for samples in counts]
    for few, more in itertools.pairwise(short):
        fall = estimate_mean(few - more)
        assert fall.value > 3 * fall.standard_error
    assert estimate_mean(short[0]).value > 0.5
    last = estimate_mean(short[-1])
    assert -4 * last.standard_error < last.value < 0.01


def test_the_mean_weight_is_the_marginal_without_bias():
    _, x = GENERAL.draw(1, seed=4)
    truth = GENERAL.log_marginal(x)
    encode = functools.partial(GENERAL.encode, widen=0.5, shift=0.3)
    singles = _estimate(GENERAL, encode, x.expand(20_011, -1), samples=1)
    ratio = estimate_mean(torch.exp(singles.log_marginal - truth))
    assert ratio.standard_error < 0.02
    assert abs(ratio.value - 1) < 4 * ratio.standard_error


def test_effective_samples_lie_between_one_and_all_and_the_gap_is_never_negative():
    _, x = GENERAL.draw(IMAGES, seed=5)
    good = _estimate(GENERAL, functools.partial(GENERAL.encode, widen=0.2), x, samples=SAMPLES)
    bad = _estimate(GENERAL, functools.partial(GENERAL.encode, widen=-9.0, shift=6.0), x, samples=SAMPLES)
    for actual in (good, bad):
        assert (actual.effective_samples > 1).all()
        assert (actual.effective_samples < SAMPLES).all()
        assert (actual.inference_gap >= 0).all()
    assert (bad.effective_samples < good.effective_samples).all()


def test_summary_of_weights_written_down_by_hand():
    weights = torch.tensor([[1.0, 2.0], [1.0, 0.0], [4.0, 0.0]], dtype=torch.float64) * math.exp(-700) + 1e-320
    actual = summarize(weights.log() - 600)
    expected = torch.tensor([2.0, 2 / 3], dtype=torch.float64).log() - 1300
    torch.testing.assert_close(actual.log_marginal, expected, rtol=1e-9, atol=0)
    torch.testing.assert_close(actual.effective_samples, torch.tensor([2.0, 1.0], dtype=torch.float64))


def test_equals_a_loop_over_images_and_samples():
    vae, x = _bernoulli_setting()
    actual = log_marginal(
        vae.encoder,
        vae.decoder,
        x,
        distortion=bernoulli_distortion,
        samples=SAMPLES,
        generator=_generator(),
        memory_bytes=1e3,
    )
    assert actual.log_marginal.dtype == actual.elbo.dtype == actual.effective_samples.dtype == torch.float64
    generator = _generator()
    for image in range(IMAGES):
        noise = torch.randn(SAMPLES, LATENT, generator=generator, dtype=torch.float64).numpy()
        weights = [_weight(vae, x[image], epsilon) for epsilon in noise]
        assert actual.log_marginal[image].item() == pytest.approx(math.log(np.mean(weights)), rel=1e-12)
        assert actual.elbo[image].item() == pytest.approx(np.mean(np.log(weights)), rel=1e-12)
        effective = np.sum(weights) ** 2 / np.sum(np.square(weights))
        assert actual.effective_samples[image].item() == pytest.approx(effective, rel=1e-10)


def _weight(vae: VAE, x: torch.Tensor, epsilon: np.ndarray) -> float:
    """p(x|z) p(z) / q(z|x) as products of densities."""
    with torch.no_grad():
        mean, log_var = np.split(vae.encoder(x[None])[0].numpy(), 2)
        z = mean + np.exp(log_var / 2) * epsilon
        logits = vae.decoder(torch.from_numpy(z)[None])[0].numpy()
    ones = 1 / (1 + np.exp(-logits))
    likelihood = np.prod(ones ** x.numpy() * (1 - ones) ** (1 - x.numpy()))
    prior = np.prod(np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))
    proposal = np.prod(np.exp(-((z - mean) ** 2) / 2 / np.exp(log_var)) / np.sqrt(2 * math.pi * np.exp(log_var)))
    return float(likelihood * prior / proposal)


@pytest.mark.parametrize("rows", [0.5, 3, 17, 10_000])
def test_memory_bounds_the_rows_decoded_at_once_and_changes_nothing(rows):
    _, x = GENERAL.draw(IMAGES, seed=6)
    encode = functools.partial(GENERAL.encode, widen=0.3)
    seen: list[int] = []

    def decode(z):
        seen.append(len(z))
        return GENERAL.decode(z)

    actual = log_marginal(
        encode,
        decode,
        x,
        distortion=GENERAL.distortion,
        samples=SAMPLES,
        generator=_generator(),
        memory_bytes=rows * 4 * x.shape[1] * 8,
    )
    assert max(seen) <= max(1, rows)
    assert max(seen) > rows / 3 or rows > IMAGES * SAMPLES
    assert sum(seen) == IMAGES * SAMPLES
    expected = _estimate(GENERAL, encode, x, samples=SAMPLES)
    torch.testing.assert_close(actual.log_marginal, expected.log_marginal, rtol=1e-12, atol=0)
    torch.testing.assert_close(actual.effective_samples, expected.effective_samples, rtol=1e-10, atol=0)


def test_an_image_is_not_copied_for_its_samples():
    _, x = GENERAL.draw(IMAGES, seed=6)
    seen = set()

    def distortion(output, image):
        seen.add((tuple(output.shape), tuple(image.shape)))
        return GENERAL.distortion(output, image)

    images = ImageDistortion(GENERAL.decode, distortion, x, 1e6)
    importance_sampled(images, Posterior.from_code(GENERAL.encode(x)), samples=SAMPLES, generator=_generator())
    assert seen == {((SAMPLES, *x.shape), tuple(x.shape))}


def test_an_image_keeps_its_noise_when_others_follow():
    _, x = GENERAL.draw(IMAGES, seed=7)
    encode = functools.partial(GENERAL.encode, widen=0.3)
    first = _estimate(GENERAL, encode, x[:3], samples=SAMPLES)
    torch.testing.assert_close(
        _estimate(GENERAL, encode, x, samples=SAMPLES).log_marginal[:3], first.log_marginal, rtol=1e-12, atol=0
    )


def test_same_seed_same_bits_other_seed_other_bits():
    _, x = GENERAL.draw(IMAGES, seed=8)
    one, same, other = (_estimate(GENERAL, GENERAL.encode, x, samples=2, seed=seed).log_marginal for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert (one != other).all()


def test_single_precision_agrees_with_double():
    vae, x = _bernoulli_setting()
    posterior = Posterior.from_code(vae.encoder(x).detach())
    images = ImageDistortion(vae.decoder, bernoulli_distortion, x, 1e6)
    expected = importance_sampled(images, posterior, samples=SAMPLES, generator=_generator())
    vae.float()
    images = ImageDistortion(vae.decoder, bernoulli_distortion, x.float(), 1e6)
    actual = importance_sampled(images, posterior, samples=SAMPLES, generator=_generator())
    torch.testing.assert_close(actual.log_marginal, expected.log_marginal, rtol=0, atol=1e-5)


def test_a_posterior_too_narrow_for_single_precision_keeps_its_weights():
    _, x = EXACT.draw(IMAGES, seed=9)
    narrow = Posterior(EXACT.posterior_mean(x).float(), torch.full((IMAGES, LATENT), -60.0))
    images = ImageDistortion(EXACT.decode, EXACT.distortion, x, 1e6)
    actual = importance_sampled(images, narrow, samples=3, generator=_generator())
    assert actual.log_marginal.isfinite().all()
    assert (EXACT.log_marginal(x) - actual.log_marginal > 60).all()


def test_gradients_of_the_networks_are_left_alone():
    vae, x = _bernoulli_setting()
    log_marginal(
        vae.encoder,
        vae.decoder,
        x,
        distortion=bernoulli_distortion,
        samples=2,
        generator=_generator(),
        memory_bytes=1e6,
    )
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_what_cannot_be_estimated_is_refused():
    _, x = EXACT.draw(IMAGES, seed=10)
    with pytest.raises(ValueError, match="0 importance samples; allowed"):
        _estimate(EXACT, EXACT.encode, x, samples=0)
    with pytest.raises(ValueError, match=r"images of shape \(0, 7\)"):
        _estimate(EXACT, EXACT.encode, x[:0], samples=1)
    with pytest.raises(ValueError, match=r"images of shape \(7,\)"):
        _estimate(EXACT, EXACT.encode, x[0], samples=1)
    with pytest.raises(ValueError, match="memory_bytes 0"):
        _estimate(EXACT, EXACT.encode, x, samples=1, memory_bytes=0)
    with pytest.raises(ValueError, match=r"posterior of shapes \(10, 3\)"):
        _estimate(EXACT, lambda x: EXACT.encode(x)[1:], x, samples=1)
    with pytest.raises(ValueError, match=r"distortion of shape \(1, 11, 7\)"):
        log_marginal(
            EXACT.encode,
            EXACT.decode,
            x,
            distortion=lambda output, x: output - x,
            samples=1,
            generator=_generator(),
            memory_bytes=1e6,
        )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_refused(bad):
    _, x = EXACT.draw(IMAGES, seed=10)

    def encode(x):
        code = EXACT.encode(x).clone()
        code[3, 1] = bad
        return code

    with pytest.raises(ValueError, match="1 of 33 posterior means are not finite"):
        _estimate(EXACT, encode, x, samples=1)
    x = x.clone()
    x[4, 2] = bad
    with pytest.raises(ValueError, match="2 of 22 log weights are not finite"):
        _estimate(EXACT, lambda x: torch.zeros(len(x), 2 * LATENT, dtype=x.dtype), x, samples=2)
