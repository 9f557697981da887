"""Log p(x) with fitted proposals: against closed forms and quadrature, its laws, and when it says not to believe it."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.posterior_mode import posterior_mode
from rdstudy.measures.student_proposal import FREEDOM, Student, mixture_log_density, moment_matched
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.likelihoods.bernoulli import distortion as bernoulli_distortion
from rdstudy.model.linear_gaussian import optimum
from tests.measures.encoder_proposal import importance_sampled
from tests.measures.linear_model import LATENT, linear_model

GENERAL = linear_model(orthogonal=False)
IMAGES, K = 11, 499


def gen(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def estimate(
    images: ImageDistortion, encoded: Posterior, *, samples: int = K, seed: int = 5, most_annealed: int = 2
) -> FittedLogMarginal:
    return fitted_log_marginal(
        images, encoded, samples=samples, refit_steps=20, generator=gen(seed), most_annealed=most_annealed
    )


# --- closed forms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.001, 0.01, 1.0, 10.0])
def test_a_linear_vae_trained_at_any_beta_has_its_exact_log_marginal(beta):
    """The optimum for β has a posterior β times as wide: at 0.001 the encoder's own draws are off by many nats."""
    pixels, latent, noise = 17, 3, 0.1**2
    basis = torch.linalg.qr(torch.randn(pixels, pixels, generator=gen(1), dtype=torch.float64))[0]
    variances = torch.tensor([1.0, 0.6, 0.3] + [noise] * (pixels - 3), dtype=torch.float64)
    covariance = (basis * variances) @ basis.T
    best = optimum(
        data_mean=torch.zeros(pixels, dtype=torch.float64),
        data_covariance=covariance,
        noise_variance=noise,
        beta=beta,
        latent_dim=latent,
    ).vae
    x = torch.randn(IMAGES, pixels, generator=gen(2), dtype=torch.float64) @ torch.linalg.cholesky(covariance).T

    def distortion(mean: Tensor, x: Tensor) -> Tensor:
        return ((mean - x).square() / noise + math.log(2 * math.pi * noise)).sum(dim=-1) / 2

    images = ImageDistortion(lambda z: z @ best.decoder_weight.T + best.decoder_bias, distortion, x, 1e8)
    encoded = Posterior(x @ best.encoder_weight.T + best.encoder_bias, best.log_var.expand(IMAGES, latent))
    found = estimate(images, encoded)
    of_model = best.decoder_weight @ best.decoder_weight.T + noise * torch.eye(pixels, dtype=torch.float64)
    truth = MultivariateNormal(best.decoder_bias, of_model).log_prob(x)
    assert found.passed.all()
    assert (found.log_marginal - truth).abs().max() < 0.3
    assert (found.log_marginal - truth).mean().abs() < 0.06
    old = importance_sampled(images, encoded, samples=K, generator=gen())
    if beta <= 0.01:
        assert (truth - old.log_marginal).mean() > 3  # what the encoder's own proposal says


@pytest.mark.parametrize("shift", [0.0, 4.0])
def test_correlated_posteriors_and_encoders_that_miss_them_change_nothing(shift):
    _, x = GENERAL.draw(IMAGES, seed=3)
    images = ImageDistortion(GENERAL.decode, GENERAL.distortion, x, 1e8)
    encoded = images.posterior(lambda x: GENERAL.encode(x, widen=-5.0, shift=shift))
    found = estimate(images, encoded)
    assert (found.log_marginal - GENERAL.log_marginal(x)).mean().abs() < 0.04
    assert found.passed.all()
    assert not found.annealed.any()


def bent_decoder(seed: int) -> tuple[torch.nn.Module, torch.nn.Module]:
    """A decoder of ReLUs with two latent dimensions and sharp edges, and an encoder that knows nothing of it."""
    torch_gen = gen(seed)
    decoder = torch.nn.Sequential(torch.nn.Linear(2, 13), torch.nn.ReLU(), torch.nn.Linear(13, 11)).double()
    encoder = torch.nn.Linear(11, 4).double()
    with torch.no_grad():
        for parameter in [*decoder.parameters(), *encoder.parameters()]:
            parameter.normal_(0.0, 1.1, generator=torch_gen)
    return decoder.requires_grad_(requires_grad=False), encoder.requires_grad_(requires_grad=False)


def by_quadrature(decoder, x: Tensor) -> Tensor:
    """The log of ∫ p(x|z) p(z) dz on a grid of 321 × 321, `[image]`."""
    axis = torch.linspace(-6, 6, 321, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    logits = decoder(z)
    log_prior = -0.5 * z.square().sum(dim=1) - math.log(2 * math.pi) + 2 * math.log(axis[1] - axis[0])
    return torch.stack([(log_prior - bernoulli_distortion(logits, image)).logsumexp(dim=0) for image in x])


@pytest.mark.parametrize("seed", [0, 2])
def test_a_decoder_that_bends_agrees_with_quadrature(seed):
    decoder, encoder = bent_decoder(seed)
    x = torch.bernoulli(torch.sigmoid(decoder(torch.randn(IMAGES, 2, generator=gen(9), dtype=torch.float64))))
    images = ImageDistortion(decoder, bernoulli_distortion, x, 1e8)
    found = estimate(images, images.posterior(encoder), samples=997)
    error = found.log_marginal - by_quadrature(decoder, x)
    assert error.mean().abs() < 0.05
    assert error[found.passed].abs().max() < 0.35
    assert found.passed.double().mean() > 0.9


# --- laws -------------------------------------------------------------------------------------------------------------


def test_bounds_keep_their_order_on_every_image():
    decoder, encoder = bent_decoder(1)
    x = torch.rand(IMAGES, 11, generator=gen(4), dtype=torch.float64)
    images = ImageDistortion(decoder, bernoulli_distortion, x, 1e8)
    encoded = images.posterior(encoder)
    kept = Posterior(encoded.mean.clone(), encoded.log_var.clone())
    for samples in (3, 29, 499):
        found = estimate(images, encoded, samples=samples)
        assert (found.log_marginal >= found.refit_elbo).all()
        assert (found.refit_elbo >= found.elbo).all()
        assert (found.inference_gap >= found.refit_gain).all()
    torch.testing.assert_close(encoded.mean, kept.mean, rtol=0, atol=0)  # the caller's posterior is the caller's
    noise = torch.randn(4_001, IMAGES, 2, generator=gen(6), dtype=torch.float64)
    slow = -images.at(kept.sample(noise)).mean(dim=0) - rate(kept)
    assert (found.elbo - slow).mean().abs() < 3  # a hundred draws whose distortions differ by some 30 nats


def test_more_draws_raise_the_mean_bound_to_the_truth():
    decoder, encoder = bent_decoder(2)
    x = torch.bernoulli(torch.sigmoid(decoder(torch.randn(IMAGES, 2, generator=gen(9), dtype=torch.float64))))
    images = ImageDistortion(decoder, bernoulli_distortion, x, 1e8)
    images, truth = images.select(torch.arange(IMAGES).repeat(8)), by_quadrature(decoder, x).repeat(8)
    encoded = images.posterior(encoder)
    short = [
        (truth - estimate(images, encoded, samples=k, most_annealed=0).log_marginal).mean() for k in (25, 100, 400)
    ]
    assert short[0] > short[2] - 0.01
    assert all(value > -0.02 for value in short)  # a lower bound in expectation
    assert short[2].abs() < 0.04


def test_an_image_does_not_depend_on_memory_nor_the_same_seed_on_chance():
    decoder, encoder = bent_decoder(0)
    x = torch.rand(IMAGES, 11, generator=gen(4), dtype=torch.float64)
    found = []
    for memory, seed in ((1e8, 5), (4e3, 5), (1e8, 6)):
        images = ImageDistortion(decoder, bernoulli_distortion, x, memory)
        found.append(estimate(images, images.posterior(encoder), seed=seed).log_marginal)
    torch.testing.assert_close(found[1], found[0], rtol=1e-9, atol=1e-9)
    assert not torch.equal(found[2], found[0])


# --- doubt ------------------------------------------------------------------------------------------------------------


def test_few_draws_that_cannot_tell_are_not_believed():
    """Twenty draws show no tail: whatever they say, k̂ is unknown; annealing decides, where it is allowed."""
    decoder, encoder = bent_decoder(3)
    x = torch.rand(IMAGES, 11, generator=gen(4), dtype=torch.float64)
    images = ImageDistortion(decoder, bernoulli_distortion, x, 1e8)
    encoded = images.posterior(encoder)
    plain = fitted_log_marginal(images, encoded, samples=2, refit_steps=5, generator=gen(), most_annealed=0)
    assert not plain.passed.any()
    some = fitted_log_marginal(images, encoded, samples=2, refit_steps=5, generator=gen(), most_annealed=4)
    assert some.passed.sum() == 4
    error = some.log_marginal - by_quadrature(decoder, x)
    assert error[some.passed].abs().max() < 0.5


def test_a_lost_encoder_is_rescued_by_the_codes_of_other_images():
    """Waves with many modes: from where the encoder points no descent leads out, from another image's code it does.

    A mode that nothing saw cannot be missed in the weights: then the value is too low, and never too high.
    """

    def waves(z: Tensor, _: Tensor) -> Tensor:
        return 20 * (1 - torch.cos(4 * z)).sum(dim=-1) + 30 * (z - math.pi / 2).square().sum(dim=-1).sqrt()

    axis = torch.linspace(-1, 4, 501, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    joint = -waves(z, z) - 0.5 * z.square().sum(dim=1) - math.log(2 * math.pi)
    truth = joint.logsumexp(dim=0) + 2 * math.log(axis[1] - axis[0])
    x = torch.zeros(IMAGES, 2, dtype=torch.float64)
    images = ImageDistortion(lambda z: z, waves, x, 1e8)
    mean = torch.full((IMAGES, 2), -3.0, dtype=torch.float64)
    lost = Posterior(mean.clone(), torch.full_like(mean, -4.0))
    assert (estimate(images, lost).log_marginal < truth - 20).all()
    mean[7] = 1.4
    found = estimate(images, Posterior(mean, lost.log_var))
    assert (found.log_marginal - truth).abs().max() < 0.3


@pytest.mark.parametrize("samples", [0, -3])
def test_no_draws_are_refused(samples):
    _, x = GENERAL.draw(3, seed=3)
    images = ImageDistortion(GENERAL.decode, GENERAL.distortion, x, 1e8)
    with pytest.raises(ValueError, match="importance samples; allowed: 1 or more"):
        estimate(images, images.posterior(GENERAL.encode), samples=samples)


# --- the pieces -------------------------------------------------------------------------------------------------------


def test_the_mode_of_a_linear_model_is_its_posterior():
    _, x = GENERAL.draw(IMAGES, seed=3)
    images = ImageDistortion(GENERAL.decode, GENERAL.distortion, x, 1e8)
    start = torch.full((IMAGES, LATENT), 9.0, dtype=torch.float64)
    found = posterior_mode(images, start, steps=30)
    torch.testing.assert_close(found.z, GENERAL.posterior_mean(x), rtol=0, atol=1e-3)
    torch.testing.assert_close(found.precision, GENERAL.precision.expand(IMAGES, -1, -1), rtol=1e-6, atol=1e-6)
    assert (start == 9.0).all()


def test_a_mode_is_never_above_its_start():
    decoder, _ = bent_decoder(2)
    x = torch.rand(IMAGES, 11, generator=gen(4), dtype=torch.float64)
    images = ImageDistortion(decoder, bernoulli_distortion, x, 1e8)
    start = 5 * torch.randn(IMAGES, 2, generator=gen(8), dtype=torch.float64)
    before = images.at(start[None])[0] + 0.5 * start.square().sum(dim=-1)
    found = posterior_mode(images, start, steps=15)
    assert (found.energy <= before).all()
    expected = images.at(found.z[None])[0] + 0.5 * found.z.square().sum(dim=-1)
    torch.testing.assert_close(found.energy, expected)


def components(images: int = 3) -> list[Student]:
    mean = torch.randn(images, 2, generator=gen(1), dtype=torch.float64)
    tall = torch.tensor([[0.4, 0.0], [0.7, 1.3]], dtype=torch.float64).expand(images, 2, 2)
    return [Student(mean, tall), Student(-mean, 2 * tall)]


def test_a_student_density_integrates_to_one_and_its_draws_follow_it():
    axis = torch.linspace(-60, 60, 601, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)[:, None].expand(-1, 3, -1)
    one, other = components()
    for density in (one.log_density(z), mixture_log_density([one, other], [3, 5], z)):
        mass = (density + 2 * math.log(axis[1] - axis[0])).logsumexp(dim=0).exp()
        torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64), rtol=2e-3, atol=0)
    drawn = one.sample(torch.randn(100_003, 3, 2 + FREEDOM, generator=gen(2), dtype=torch.float64))
    torch.testing.assert_close(drawn.mean(dim=0), one.mean, rtol=0, atol=0.02)
    away = drawn - one.mean
    covariance = torch.einsum("sij,sik->ijk", away, away) / len(drawn)
    expected = FREEDOM / (FREEDOM - 2) * one.scale @ one.scale.mT
    torch.testing.assert_close(covariance, expected, rtol=0.1, atol=0.05)


def test_a_matched_component_follows_the_weights_and_survives_a_single_one():
    one, other = components()
    z = one.sample(torch.randn(50_021, 3, 2 + FREEDOM, generator=gen(2), dtype=torch.float64))
    matched = moment_matched(z, other.log_density(z) - one.log_density(z), fallback=one)
    assert (matched.mean - other.mean).norm(dim=1).max() < 0.4 * (one.mean - other.mean).norm(dim=1).max() + 0.2
    lonely = torch.full((50_021, 3), -1e3, dtype=torch.float64)
    lonely[17] = 0.0
    alone = moment_matched(z, lonely, fallback=one)
    torch.testing.assert_close(alone.mean, z[17])
    assert alone.scale.isfinite().all()
