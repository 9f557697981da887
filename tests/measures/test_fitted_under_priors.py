"""Fitted proposals under priors other than N(0, I), and N(0, I) as a function, against closed forms and quadrature.

Negative controls: under N(0, I) in the place of their own prior, the same estimates miss the truth.
"""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from rdstudy.measures.annealing import annealed_lower, annealed_upper, tune_steps
from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import log_weights, weigh
from rdstudy.measures.posterior_mode import posterior_mode
from rdstudy.measures.posterior_refit import Refit, refit_posterior
from rdstudy.model.gaussian import Posterior
from tests.measures.encoder_proposal import importance_sampled
from tests.measures.linear_model import LATENT, linear_model, linear_temperatures
from tests.measures.mixture_model import (
    Mixture,
    MixtureModel,
    affine,
    gen,
    mixture,
    moments,
    normal,
    standard_normal,
)

IMAGES, SAMPLES = 11, 5
MODELS = [MixtureModel(prior=mixture()), MixtureModel(prior=affine())]
IDS = ["mixture", "affine"]


def _refit(images: ImageDistortion, start: Posterior, *, steps: int = 5, samples: int = 3, draws: int = 2) -> Refit:
    return refit_posterior(
        images,
        start,
        steps=steps,
        learning_rate=0.05,
        samples_per_step=samples,
        evaluation_samples=draws,
        generator=gen(),
    )


def _fitted(images: ImageDistortion, encoded: Posterior, *, seed: int = 5, samples: int = 499) -> FittedLogMarginal:
    return fitted_log_marginal(images, encoded, samples=samples, refit_steps=20, generator=gen(seed), most_annealed=2)


@pytest.mark.parametrize("shift", [0.0, 3.0])
@pytest.mark.parametrize("model", [*MODELS, MixtureModel(prior=mixture(apart=5.0))], ids=[*IDS, "far apart"])
def test_fitted_proposals_give_the_closed_form_under_their_own_prior_alone(model, shift):
    _, x = model.draw(IMAGES, seed=3)
    encoded, truth = moments(model, x), model.log_marginal(x)
    encoded = Posterior(encoded.mean + shift, encoded.log_var - 3.0)
    own = _fitted(model.judge(x, log_prior=model.prior), encoded)
    assert own.passed.all()
    assert (own.log_marginal - truth).abs().max() < 0.2
    assert (own.log_marginal - truth).mean().abs() < 0.05
    assert (own.inference_gap >= own.refit_gain).all()
    assert (own.refit_gain >= 0).all()
    wrong = _fitted(model.judge(x, log_prior=None), encoded)
    assert (wrong.log_marginal - truth).abs().mean() > 0.2


def test_all_modes_of_a_posterior_that_the_decoder_says_nothing_of_are_weighed():
    """A decoder that ignores z leaves p(z|x) = p(z), of three far components; one t alone would miss log 3 nats."""
    linear = linear_model(orthogonal=False)
    mean = torch.tensor([[-9.0, 0, 0], [9.0, 0, 0], [0, 9.0, 0]], dtype=torch.float64)
    prior = Mixture(torch.full((3,), 1 / 3, dtype=torch.float64), mean, standard_normal().covariance.expand(3, -1, -1))
    model = MixtureModel(dataclasses.replace(linear, weight=0 * linear.weight), prior)
    _, x = model.draw(IMAGES, seed=3)
    encoded = Posterior(prior.draw(IMAGES, seed=4), torch.zeros(IMAGES, LATENT, dtype=torch.float64))
    fitted = _fitted(model.judge(x, log_prior=prior), encoded)
    torch.testing.assert_close(fitted.log_marginal, model.log_marginal(x), rtol=0, atol=0.15)
    assert fitted.passed.all()


def test_the_refit_stands_at_the_likeliest_mode_that_another_images_code_shows():
    """Ten means and 0 lead to a component of weight 1/1000, which is nearer to 0; one image's mean is at the other."""
    linear = linear_model(orthogonal=False)
    weight = torch.tensor([0.999, 0.001], dtype=torch.float64)
    mean = torch.tensor([[9.0, 0, 0], [0, 3.0, 0]], dtype=torch.float64)
    prior = Mixture(weight, mean, standard_normal().covariance.expand(2, -1, -1))
    model = MixtureModel(dataclasses.replace(linear, weight=0 * linear.weight), prior)
    _, x = model.draw(IMAGES, seed=3)
    encoded = Posterior(mean[1].repeat(IMAGES, 1), torch.zeros(IMAGES, LATENT, dtype=torch.float64))
    encoded.mean[7] = mean[0]
    fitted = _fitted(model.judge(x, log_prior=prior), encoded)
    truth = model.log_marginal(x)
    assert (fitted.elbo < truth - 5).sum() == IMAGES - 1
    torch.testing.assert_close(fitted.refit_elbo, truth, rtol=0, atol=0.05)
    torch.testing.assert_close(fitted.log_marginal, truth, rtol=0, atol=0.15)


def test_a_decoder_that_bends_agrees_with_quadrature_under_a_mixture():
    prior = mixture(apart=1.0, latent=2)
    hidden, out = 1.1 * normal(13, 2, seed=1), 1.1 * normal(7, 13, seed=2)

    def decode(z: Tensor) -> Tensor:
        return torch.relu(z @ hidden.T + 0.3) @ out.T

    def distortion(logits: Tensor, x: Tensor) -> Tensor:
        return (torch.nn.functional.softplus(logits) - x * logits).sum(dim=-1)

    x = torch.bernoulli(torch.sigmoid(decode(prior.draw(IMAGES, seed=3))), generator=gen())
    axis = torch.linspace(-9, 9, 451, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    log_prior = prior(z) + 2 * math.log(axis[1] - axis[0])
    assert log_prior.logsumexp(dim=0).abs() < 1e-3
    logits = decode(z)
    truth = torch.stack([(log_prior - distortion(logits, image)).logsumexp(dim=0) for image in x])
    encoded = Posterior(normal(IMAGES, 2), torch.zeros(IMAGES, 2, dtype=torch.float64))
    own = _fitted(ImageDistortion(decode, distortion, x, 1e8, prior), encoded, samples=997)
    assert (own.log_marginal - truth).mean().abs() < 0.05
    assert (own.log_marginal - truth)[own.passed].abs().max() < 0.35
    assert own.passed.double().mean() > 0.9
    wrong = _fitted(ImageDistortion(decode, distortion, x, 1e8), encoded, samples=997)
    assert (wrong.log_marginal - truth).abs().mean() > 0.2


# --- no function is N(0, I) -------------------------------------------------------------------------------------------


def test_the_standard_normal_as_a_function_gives_what_no_function_gives():
    model = MixtureModel(prior=standard_normal())
    _, x = model.draw(IMAGES, seed=3)
    proposal, noise = moments(model, x), normal(SAMPLES, IMAGES, LATENT)
    start = Posterior(proposal.mean + 0.5, proposal.log_var + 0.3)
    results = []
    for prior in (model.prior, None):
        images = model.judge(x, log_prior=prior)
        at, mode = weigh(images, start, noise), posterior_mode(images, start.mean, steps=9)
        path = tune_steps(
            images, start, temperatures=linear_temperatures(5), chains=2, leapfrog_steps=2, generator=gen()
        )
        results.append(
            (
                *(log_weights(images, start, noise), at.log_weight, at.gradient),
                *(mode.z, mode.energy, mode.precision),
                importance_sampled(images, start, samples=7, generator=gen()).log_marginal,
                path.step_sizes,
                annealed_lower(images, start, path, chains=3, generator=gen()).log_weights,
                annealed_upper(images, start, path, exact=start.mean, chains=3, generator=gen()).log_weights,
            )
        )
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-9)


def test_the_standard_normal_as_a_function_differs_by_sampling_alone_where_no_function_has_a_closed_form():
    model = MixtureModel(prior=standard_normal())
    _, x = model.draw(IMAGES, seed=3)
    exact = moments(model, x)
    start = Posterior(exact.mean + 0.5, exact.log_var + 0.3)
    sampled, analytic = (
        _refit(model.judge(x, log_prior=prior), start, steps=100, samples=5, draws=20_011)
        for prior in (model.prior, None)
    )
    torch.testing.assert_close(sampled.elbo_before, analytic.elbo_before, rtol=0, atol=0.04)
    torch.testing.assert_close(sampled.elbo_after, analytic.elbo_after, rtol=0, atol=0.04)
    fitted = [_fitted(model.judge(x, log_prior=prior), start).log_marginal for prior in (model.prior, None)]
    torch.testing.assert_close(fitted[0], fitted[1], rtol=0, atol=0.25)


def test_memory_and_a_selection_of_images_change_nothing():
    model = MODELS[0]
    _, x = model.draw(IMAGES, seed=3)
    start, noise = moments(model, x), normal(SAMPLES, IMAGES, LATENT)
    ample = model.judge(x, log_prior=model.prior)
    at = weigh(ample, start, noise)
    for images, chosen in ((model.judge(x, log_prior=model.prior, memory_bytes=1), slice(None)), (ample, slice(3, 7))):
        part = Posterior(start.mean[chosen], start.log_var[chosen])
        selected = weigh(images.select(chosen), part, noise[:, chosen])
        torch.testing.assert_close(selected.log_weight, at.log_weight[:, chosen])
        torch.testing.assert_close(selected.gradient, at.gradient[:, chosen])
    assert ample.select(slice(3, 7)).log_prior is model.prior
