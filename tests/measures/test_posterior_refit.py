"""The refit posterior against the best diagonal Gaussian of a linear model, which is known."""

import math

import pytest
import torch

from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.posterior_refit import Refit, refit_posterior
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.likelihoods.bernoulli import distortion as bernoulli_distortion
from rdstudy.model.networks import VAE, NetworkShape, build
from tests.measures.linear_model import LATENT, LinearModel, linear_model

IMAGES = 11


def _generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _refit(images: ImageDistortion, start: Posterior, *, seed: int = 5, **counts: int) -> Refit:
    return refit_posterior(
        images,
        start,
        steps=counts.get("steps", 5),
        learning_rate=0.05,
        samples_per_step=counts.get("samples_per_step", 3),
        evaluation_samples=counts.get("evaluation_samples", 2),
        generator=_generator(seed),
    )


def _linear_setting(model: LinearModel, *, memory_bytes: float = 1e7) -> tuple[ImageDistortion, Posterior]:
    _, x = model.draw(IMAGES, seed=2)
    images = ImageDistortion(model.decode, model.distortion, x, memory_bytes)
    return images, Posterior.from_code(model.encode(x, widen=0.7, shift=2.0))


def _bernoulli_setting() -> tuple[VAE, ImageDistortion, Posterior]:
    vae = build(NetworkShape("mlp", 1, 5, LATENT, (1, 2, 3)), seed=1)
    x = torch.rand(IMAGES, 6, generator=_generator(2))
    images = ImageDistortion(vae.decoder, bernoulli_distortion, x, 1e6)
    return vae, images, images.posterior(vae.encoder)


@pytest.mark.parametrize("orthogonal", [True, False])
def test_a_linear_decoder_gives_the_best_diagonal_posterior(orthogonal):
    """Its means are exact, its variances 1 / precision_jj; what then remains of the gap is the correlations' share."""
    model = linear_model(orthogonal=orthogonal)
    images, start = _linear_setting(model)
    found = _refit(images, start, steps=600, samples_per_step=41, evaluation_samples=20_011)
    best = Posterior.from_code(model.encode(images.x))
    spread = torch.exp(0.5 * best.log_var)
    shape = (IMAGES, LATENT)
    torch.testing.assert_close((found.posterior.mean - best.mean) / spread, torch.zeros(shape), **_near(0.05))
    torch.testing.assert_close(found.posterior.log_var, best.log_var, rtol=0, atol=0.05)
    share = 0.5 * (torch.diagonal(model.precision).log().sum() - torch.logdet(model.precision))
    gap = model.log_marginal(images.x) - found.elbo_after
    torch.testing.assert_close(gap, share.expand(IMAGES), rtol=0, atol=0.05)
    assert (share.item() < 1e-10) == orthogonal
    # What the start lost: the distance of its means, and variances e^0.7 times too wide.
    away = (start.mean - best.mean)[0]
    excess = 0.5 * away @ model.precision @ away + LATENT * 0.5 * (math.exp(0.7) - 1.7)
    torch.testing.assert_close(found.elbo_after - found.elbo_before, excess.expand(IMAGES), rtol=0, atol=0.2)


def _near(tolerance: float) -> dict:
    return {"rtol": 0, "atol": tolerance, "check_dtype": False}


def test_steps_are_those_of_adam_on_the_elbo_by_back_propagation():
    vae, images, start = _bernoulli_setting()
    steps, samples = 5, 3
    found = _refit(images, start, steps=steps, samples_per_step=samples, evaluation_samples=2)
    generator = _generator()
    evaluation = torch.randn(2, IMAGES, LATENT, generator=generator, dtype=torch.float64)
    mean, log_var = (part.double().clone().requires_grad_() for part in (start.mean, start.log_var))
    before = _elbo(vae, images.x, Posterior(mean, log_var), evaluation)
    optimizer = torch.optim.Adam([mean, log_var])
    for step in range(steps):
        noise = torch.randn(samples, IMAGES, LATENT, generator=generator, dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = 0.05 * (steps - step) / steps
        optimizer.zero_grad()
        (-_elbo(vae, images.x, Posterior(mean, log_var), noise).sum()).backward()
        optimizer.step()
    # Adam divides a gradient by its size, rounding of single precision included.
    torch.testing.assert_close(found.posterior.mean, mean.detach(), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.posterior.log_var, log_var.detach(), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.elbo_before, before.detach(), rtol=1e-6, atol=0)
    after = _elbo(vae, images.x, Posterior(mean, log_var), evaluation)
    torch.testing.assert_close(found.elbo_after, after.detach(), rtol=1e-4, atol=0)


def _elbo(vae: VAE, x: torch.Tensor, posterior: Posterior, noise: torch.Tensor) -> torch.Tensor:
    z = posterior.sample(noise).float()
    distortion = torch.stack([bernoulli_distortion(vae.decoder(sample), x) for sample in z])
    return -distortion.double().mean(dim=0) - rate(posterior)


def test_the_decoder_is_neither_changed_nor_given_gradients():
    vae, images, start = _bernoulli_setting()
    before = [parameter.detach().clone() for parameter in vae.parameters()]
    marks = [torch.full_like(parameter, 7.0) for parameter in vae.parameters()]
    for parameter, mark in zip(vae.parameters(), marks, strict=True):
        parameter.grad = mark.clone()
    found = _refit(images, start, steps=3)
    assert (found.posterior.mean != start.mean).all()
    for parameter, value, mark in zip(vae.parameters(), before, marks, strict=True):
        assert torch.equal(parameter, value)
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, mark)
        assert parameter.requires_grad


def test_the_start_is_left_as_it_was():
    images, start = _linear_setting(linear_model(orthogonal=True))
    mean, log_var = start.mean.clone(), start.log_var.clone()
    _refit(images, start)
    assert torch.equal(start.mean, mean)
    assert torch.equal(start.log_var, log_var)


def test_the_elbo_before_is_the_same_for_any_number_of_steps():
    images, start = _linear_setting(linear_model(orthogonal=True))
    few, many = (_refit(images, start, steps=steps) for steps in (1, 17))
    assert torch.equal(few.elbo_before, many.elbo_before)
    assert (many.elbo_after > few.elbo_after).all()


def test_memory_changes_nothing():
    model = linear_model(orthogonal=False)
    small, start = _linear_setting(model, memory_bytes=1)
    large, _ = _linear_setting(model)
    expected, actual = _refit(large, start), _refit(small, start)
    torch.testing.assert_close(actual.elbo_after, expected.elbo_after, rtol=1e-10, atol=0)
    torch.testing.assert_close(actual.posterior.mean, expected.posterior.mean, rtol=1e-9, atol=1e-12)


def test_same_seed_same_bits_other_seed_other_bits():
    images, start = _linear_setting(linear_model(orthogonal=True))
    one, same, other = (_refit(images, start, seed=seed).elbo_after for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert (one != other).all()


@pytest.mark.parametrize("name", ["steps", "samples_per_step", "evaluation_samples"])
def test_counts_below_one_are_refused(name):
    images, start = _linear_setting(linear_model(orthogonal=True))
    with pytest.raises(ValueError, match=f"{name} 0; allowed: 1 or more"):
        _refit(images, start, **{name: 0})


def test_what_cannot_be_refit_is_refused():
    model = linear_model(orthogonal=True)
    images, start = _linear_setting(model)
    with pytest.raises(ValueError, match=r"posterior of shapes \(10, 3\)"):
        _refit(images, Posterior(start.mean[1:], start.log_var[1:]))
    with pytest.raises(ValueError, match="33 of 33 posterior means are not finite"):
        _refit(images, Posterior(start.mean * torch.nan, start.log_var))
    nowhere = ImageDistortion(lambda z: torch.nan * model.decode(z), model.distortion, images.x, 1e6)
    with pytest.raises(ValueError, match="33 of 33 posterior means are not finite"):
        _refit(nowhere, start)
    with pytest.raises(ValueError, match="learning_rate 0"):
        refit_posterior(
            images,
            start,
            steps=1,
            learning_rate=0.0,
            samples_per_step=1,
            evaluation_samples=1,
            generator=_generator(),
        )
