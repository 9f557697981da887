"""Estimates and bounds of log p(x) under priors other than N(0, I), against closed forms and quadrature.

Negative controls: under N(0, I) in the place of their own prior, the same estimates miss the truth.
"""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from rdstudy.measures.annealing import (
    annealed_lower,
    annealed_upper,
    sigmoidal_temperatures,
    standard_prior,
    tune_steps,
)
from rdstudy.measures.certificate import Certificate, certify
from rdstudy.measures.estimate import estimate_mean
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import log_weights, weigh
from rdstudy.measures.posterior_mode import posterior_mode
from rdstudy.measures.posterior_refit import Refit, refit_posterior
from rdstudy.measures.prior import LogPrior
from rdstudy.model.gaussian import Posterior
from tests.measures.encoder_proposal import importance_sampled
from tests.measures.linear_model import LATENT, linear_model
from tests.measures.mixture_model import (
    MixtureModel,
    affine,
    gen,
    mixture,
    moments,
    normal,
    within,
)

IMAGES, SAMPLES = 11, 5
MODELS = [MixtureModel(prior=mixture()), MixtureModel(prior=affine())]
IDS = ["mixture", "affine"]


# --- the reference itself ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_the_posterior_of_the_reference_is_bayes_rule(model):
    _, x = model.draw(IMAGES, seed=2)
    z = normal(SAMPLES, LATENT)
    for image, log_marginal in zip(x, model.log_marginal(x), strict=True):
        log_likelihood = -model.linear.distortion(model.linear.decode(z), image)
        torch.testing.assert_close(model.posterior(image)(z), log_likelihood + model.prior(z) - log_marginal)


# --- importance weights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_weights_are_the_ratio_of_densities_and_their_derivatives_those_of_autograd(model):
    _, x = model.draw(IMAGES, seed=2)
    images, proposal, noise = model.judge(x, log_prior=model.prior), moments(model, x), normal(SAMPLES, IMAGES, LATENT)
    leaf = noise.clone().requires_grad_()
    z = proposal.mean + torch.exp(0.5 * proposal.log_var) * leaf
    log_q = torch.distributions.Normal(proposal.mean, torch.exp(0.5 * proposal.log_var)).log_prob(z).sum(dim=-1)
    expected = model.prior(z) - model.linear.distortion(model.linear.decode(z), x) - log_q
    at = weigh(images, proposal, noise)
    torch.testing.assert_close(at.log_weight, expected)
    torch.testing.assert_close(log_weights(images, proposal, noise), expected)
    torch.testing.assert_close(at.gradient, torch.autograd.grad(expected.sum(), leaf)[0])


def _diagonal_model() -> MixtureModel:
    """Orthogonal columns and a diagonal Gaussian prior: p(z|x) is a diagonal Gaussian."""
    prior = affine()
    prior = dataclasses.replace(prior, covariance=torch.diag_embed(torch.tensor([[0.3, 2.0, 5.0]]).double()))
    return MixtureModel(linear_model(orthogonal=True), prior)


def test_with_the_exact_posterior_every_weight_is_the_marginal_under_its_own_prior_alone():
    model = _diagonal_model()
    _, x = model.draw(IMAGES, seed=2)
    exact, noise, truth = moments(model, x), normal(SAMPLES, IMAGES, LATENT), model.log_marginal(x)
    weights = log_weights(model.judge(x, log_prior=model.prior), exact, noise)
    torch.testing.assert_close(weights, truth.expand(SAMPLES, -1))
    wrong = log_weights(model.judge(x, log_prior=None), exact, noise)
    assert (wrong - truth).std() > 0.5


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_importance_samples_give_the_closed_form_under_their_own_prior_alone(model):
    _, x = model.draw(101, seed=2)
    proposal, truth = moments(model, x), model.log_marginal(x)
    proposal = Posterior(proposal.mean, proposal.log_var + 0.5)
    own, wrong = (
        importance_sampled(model.judge(x, log_prior=prior), proposal, samples=4001, generator=gen())
        for prior in (model.prior, None)
    )
    assert within(own.log_marginal - truth, nats=0.01)
    assert (own.elbo < own.log_marginal).all()
    assert not within(wrong.log_marginal - truth, nats=0.2)


# --- modes ------------------------------------------------------------------------------------------------------------


def test_the_mode_under_a_gaussian_prior_is_its_posterior():
    model = MixtureModel(prior=affine())
    _, x = model.draw(IMAGES, seed=2)
    at = posterior_mode(model.judge(x, log_prior=model.prior), torch.full((IMAGES, LATENT), 9.0), steps=30)
    exact = [model.posterior(image) for image in x]
    torch.testing.assert_close(at.z, torch.cat([posterior.mean for posterior in exact]), rtol=0, atol=1e-3)
    precision = torch.linalg.inv(torch.cat([posterior.covariance for posterior in exact]))
    torch.testing.assert_close(at.precision, precision, rtol=1e-6, atol=1e-6)
    wrong = posterior_mode(model.judge(x, log_prior=None), torch.full((IMAGES, LATENT), 9.0), steps=30)
    assert (wrong.z - at.z).abs().mean() > 0.1


@pytest.mark.parametrize("apart", [0.5, 1.5, 4.0])
def test_descents_under_a_mixture_end_where_the_slope_is_none_and_never_above_their_start(apart):
    """The decoder says little, so that most energies have two minima and a ridge between, where descents begin."""
    linear = linear_model(orthogonal=False)
    model = MixtureModel(dataclasses.replace(linear, weight=0.2 * linear.weight), mixture(apart=apart))
    _, x = model.draw(101, seed=2)
    images = model.judge(x, log_prior=model.prior)
    for start in (4 * normal(101, LATENT), model.prior.mean.mean(dim=0).expand(101, -1)):
        before = images.at(start[None])[0] + images.prior.energy(start)
        at = posterior_mode(images, start, steps=60)
        assert (at.energy <= before).all()
        energy = images.at(at.z[None])[0] - model.prior(at.z) - 0.5 * LATENT * math.log(2 * math.pi)
        torch.testing.assert_close(at.energy, energy)
        slope = images.with_gradient(at.z[None]).gradient[0] + images.prior.with_gradient(at.z).gradient
        newton = torch.linalg.solve(at.precision, slope)
        assert ((slope * newton).sum(dim=-1) / 2).max() < 0.02  # nats that a further step would gain
        assert (torch.linalg.eigvalsh(at.precision) > 0.09).all()


# --- annealing --------------------------------------------------------------------------------------------------------


def _bounds(
    model: MixtureModel, log_prior: LogPrior | None, *, start: str, count: int
) -> tuple[Tensor, Tensor, Tensor]:
    z, x = model.draw(101, seed=8)
    images = model.judge(x, log_prior=log_prior)
    initial = moments(model, x) if start == "posterior" else standard_prior(images, latent_dim=LATENT)
    path = tune_steps(
        images,
        initial,
        temperatures=sigmoidal_temperatures(count),
        chains=5,
        leapfrog_steps=3,
        generator=gen(7),
    )
    lower = annealed_lower(images, initial, path, chains=17, generator=gen(1)).bound
    upper = annealed_upper(images, initial, path, exact=z, chains=17, generator=gen(2)).bound
    return lower, upper, model.log_marginal(x)


@pytest.mark.parametrize(
    ("model", "start", "most", "closed"),
    [(MODELS[0], "posterior", 41, 0.05), (MODELS[1], "normal", 101, 0.6)],
    ids=IDS,
)
def test_annealed_bounds_enclose_the_closed_form_and_close(model, start, most, closed):
    gaps = []
    for count in (5, most):
        lower, upper, truth = _bounds(model, model.prior, start=start, count=count)
        for above in (truth - lower, upper - truth):
            mean = estimate_mean(above)
            assert mean.value > -3 * mean.standard_error
        gaps.append((upper - lower).mean())
    assert gaps[1] < closed
    assert gaps[1] < gaps[0]


def test_annealed_bounds_under_the_wrong_prior_miss_the_closed_form():
    lower, _, truth = _bounds(MODELS[0], None, start="posterior", count=31)
    assert not within(lower - truth, nats=0.2)


def _certify(model: MixtureModel, log_prior: LogPrior | None) -> Certificate:
    def encode(x: Tensor) -> Tensor:
        near = moments(model, x)
        return torch.cat([near.mean + 0.3, near.log_var + 0.5], dim=-1)

    return certify(
        model.linear.decode,
        model.prior.draw(101, seed=9),
        encode=encode,
        distortion=model.linear.distortion,
        simulate=model.linear.simulate,
        temperatures=sigmoidal_temperatures(53),
        chains=17,
        leapfrog_steps=3,
        generator=gen(),
        memory_bytes=1e8,
        log_prior=log_prior,
    )


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_certificate_encloses_the_closed_form_under_the_prior_that_z_was_drawn_from(model):
    own = _certify(model, model.prior)
    truth = model.log_marginal(own.x)
    for above in (truth - own.lower_bound, own.upper_bound - truth):
        mean = estimate_mean(above)
        assert -3 * mean.standard_error < mean.value < 0.1


def test_a_certificate_under_the_wrong_prior_misses_the_closed_form():
    wrong = _certify(MODELS[0], None)
    assert not within(wrong.lower_bound - MODELS[0].log_marginal(wrong.x), nats=0.2)


# --- the refit --------------------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_refit_makes_the_steps_of_adam_on_the_sampled_elbo(model):
    _, x = model.draw(IMAGES, seed=2)
    start = moments(model, x)
    start = Posterior(start.mean + 0.5, start.log_var + 0.3)
    refit = _refit(model.judge(x, log_prior=model.prior), start)
    generator = gen()
    mean, log_var = start.mean.clone().requires_grad_(), start.log_var.clone().requires_grad_()

    def elbo(noise: Tensor) -> Tensor:
        z = mean + torch.exp(0.5 * log_var) * noise
        log_q = -0.5 * (noise.square() + log_var + math.log(2 * math.pi)).sum(dim=-1)
        log_joint = model.prior(z) - model.linear.distortion(model.linear.decode(z), x)
        result: Tensor = (log_joint - log_q).mean(dim=0)
        return result

    evaluation = torch.randn(2, IMAGES, LATENT, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(refit.elbo_before, elbo(evaluation).detach())
    optimizer = torch.optim.Adam([mean, log_var])
    for step in range(5):
        noise = torch.randn(3, IMAGES, LATENT, generator=generator, dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = 0.05 * (5 - step) / 5
        optimizer.zero_grad()
        (-elbo(noise).sum()).backward()
        optimizer.step()
    after = elbo(evaluation).detach()
    better = (after > refit.elbo_before)[:, None]
    assert better.double().mean() > 0.7
    torch.testing.assert_close(refit.elbo_after, torch.maximum(after, refit.elbo_before))
    torch.testing.assert_close(refit.posterior.mean, torch.where(better, mean.detach(), start.mean))
    torch.testing.assert_close(refit.posterior.log_var, torch.where(better, log_var.detach(), start.log_var))


def test_a_refit_reaches_the_marginal_where_the_posterior_is_a_diagonal_gaussian():
    model = _diagonal_model()
    _, x = model.draw(IMAGES, seed=2)
    exact, truth = moments(model, x), model.log_marginal(x)
    start = Posterior(exact.mean + 0.7, exact.log_var + 0.4)
    own = _refit(model.judge(x, log_prior=model.prior), start, steps=300, samples=17, draws=997)
    torch.testing.assert_close(own.elbo_after, truth, rtol=0, atol=0.02)
    torch.testing.assert_close(own.posterior.mean, exact.mean, rtol=0, atol=0.1)
    torch.testing.assert_close(own.posterior.log_var, exact.log_var, rtol=0, atol=0.1)
    wrong = _refit(model.judge(x, log_prior=None), start, steps=300, samples=17, draws=997)
    assert (wrong.elbo_after - truth).abs().mean() > 0.2


@pytest.mark.parametrize("model", MODELS, ids=IDS)
def test_a_refit_raises_the_elbo_and_stays_below_the_marginal(model):
    _, x = model.draw(IMAGES, seed=2)
    exact, truth = moments(model, x), model.log_marginal(x)
    start = Posterior(exact.mean + 1.0, exact.log_var - 1.0)
    refit = _refit(model.judge(x, log_prior=model.prior), start, steps=200, samples=11, draws=4001)
    assert (refit.elbo_after - refit.elbo_before > 0.3).all()
    assert (refit.elbo_after < truth + 0.02).all()
    assert (truth - refit.elbo_after < 1.5).all()
