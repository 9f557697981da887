"""Closed forms of linear VAEs against Monte Carlo in NumPy, against densities pixel by pixel, and as optima."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from rdstudy.model.linear_gaussian import LinearGaussianExact, LinearVae, linear_vae_exact, optimum

PIXELS, LATENT, SAMPLES = 7, 3, 200_003
NOISE_VARIANCE = 0.3
WEIGHTS = [field.name for field in dataclasses.fields(LinearVae)]


def _randn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@functools.cache
def _data() -> dict[str, torch.Tensor]:
    """Mean and covariance with distinct eigenvalues 2, 1, 0.5, ... in no special directions."""
    vectors, _ = torch.linalg.qr(_randn(1, PIXELS, PIXELS))
    values = 2.0 * 0.5 ** torch.arange(PIXELS, dtype=torch.float64)
    return {"data_mean": _randn(2, PIXELS), "data_covariance": (vectors * values) @ vectors.T}


def _vae() -> LinearVae:
    """Nothing about it is optimal, and its code is correlated and off the prior's mean."""
    return LinearVae(
        0.5 * _randn(3, LATENT, PIXELS),
        _randn(4, LATENT),
        _randn(5, LATENT),
        _randn(6, PIXELS, LATENT),
        _randn(7, PIXELS),
    )


def _exact(vae: LinearVae) -> LinearGaussianExact:
    return linear_vae_exact(vae, **_data(), noise_variance=NOISE_VARIANCE)


def _objective(vae: LinearVae, beta: float) -> torch.Tensor:
    exact = _exact(vae)
    return exact.distortion + beta * exact.rate


def _log_normal(x, mean, covariance):
    """log N(x; mean, covariance) of each row of x, plain NumPy."""
    solved = np.linalg.solve(covariance, (x - mean).T).T
    log_det = np.linalg.slogdet(covariance)[1]
    return -0.5 * (x.shape[1] * math.log(2 * math.pi) + log_det + ((x - mean) * solved).sum(axis=1))


def _monte_carlo() -> dict[str, np.ndarray]:
    """Samples of every measure by its definition, as a mean of log densities under q(x, z)."""
    weights = {name: value.numpy() for name, value in dataclasses.asdict(_vae()).items()}
    a, w, variance = weights["encoder_weight"], weights["decoder_weight"], np.exp(weights["log_var"])
    mean, covariance = (value.numpy() for value in _data().values())
    rng = np.random.default_rng(8)
    x = rng.multivariate_normal(mean, covariance, SAMPLES)
    code = x @ a.T + weights["encoder_bias"]
    z = code + rng.standard_normal(code.shape) * np.sqrt(variance)
    posterior = _log_normal(z - code, np.zeros(LATENT), np.diag(variance))
    prior = _log_normal(z, np.zeros(LATENT), np.eye(LATENT))
    spread = a @ covariance @ a.T + np.diag(variance)
    centre = a @ mean + weights["encoder_bias"]
    aggregate = _log_normal(z, centre, spread)
    product = sum(_log_normal(z[:, [j]], centre[[j]], spread[j : j + 1, j : j + 1]) for j in range(LATENT))
    noise = NOISE_VARIANCE * np.eye(PIXELS)
    return {
        "distortion": -_log_normal(x - z @ w.T - weights["decoder_bias"], np.zeros(PIXELS), noise),
        "rate": posterior - prior,
        "mutual_information": posterior - aggregate,
        "marginal_kl": aggregate - prior,
        "total_correlation": aggregate - product,
        "dimension_kl": product - prior,
        "log_marginal": _log_normal(x, weights["decoder_bias"], w @ w.T + noise),
    }


def test_every_closed_form_is_the_mean_of_its_definition():
    exact = _exact(_vae())
    drawn = _monte_carlo()
    assert set(drawn) == {field.name for field in dataclasses.fields(exact)}
    for name, values in drawn.items():
        error = values.std() / math.sqrt(SAMPLES)
        actual = getattr(exact, name).item()
        assert abs(values.mean() - actual) < 4.5 * error, name
        assert abs(actual) > 20 * error, f"{name} could be 0 and nobody would see it"


def test_the_decompositions_add_up_and_the_bound_is_one():
    exact = _exact(_vae())
    torch.testing.assert_close(exact.rate, exact.mutual_information + exact.marginal_kl)
    torch.testing.assert_close(exact.marginal_kl, exact.total_correlation + exact.dimension_kl)
    assert -(exact.distortion + exact.rate) < exact.log_marginal
    for name in ("mutual_information", "total_correlation", "dimension_kl"):
        assert getattr(exact, name) > 0


def test_distortion_and_rate_of_a_sample_follow_from_its_mean_and_covariance():
    """Of any data: here of a few skewed points, with the expectation over z by hand."""
    vae, x = _vae(), _randn(9, 11, PIXELS).exp()
    mean, covariance = x.mean(dim=0), torch.cov(x.T, correction=0)
    exact = linear_vae_exact(vae, data_mean=mean, data_covariance=covariance, noise_variance=NOISE_VARIANCE)
    code, variance = x @ vae.encoder_weight.T + vae.encoder_bias, vae.log_var.exp()
    off = x - code @ vae.decoder_weight.T - vae.decoder_bias
    squares = off.square().sum(dim=1) + (vae.decoder_weight.square() * variance).sum()
    distortion = squares / (2 * NOISE_VARIANCE) + PIXELS / 2 * math.log(2 * math.pi * NOISE_VARIANCE)
    rate = 0.5 * (code.square() + variance - 1 - vae.log_var).sum(dim=1)
    torch.testing.assert_close(exact.distortion, distortion.mean())
    torch.testing.assert_close(exact.rate, rate.mean())


# --- the optimum --------------------------------------------------------------------------------------------------

BETAS = {0.1: 3, 1.0: 3, 2.0: 2, 5.0: 1, 10.0: 0}
"""With σ² = 0.3 and eigenvalues 2, 1, 0.5, ...: how many of the three latent dimensions are active."""


def _optimum(beta: float):
    return optimum(**_data(), noise_variance=NOISE_VARIANCE, beta=beta, latent_dim=LATENT)


@pytest.mark.parametrize("beta", BETAS)
def test_the_formulas_of_the_optimum_are_the_measures_of_its_weights(beta):
    best = _optimum(beta)
    exact = _exact(best.vae)
    assert best.active == BETAS[beta]
    for name in ("distortion", "rate", "log_marginal"):
        assert getattr(exact, name).item() == pytest.approx(getattr(best, name), rel=1e-12, abs=1e-12)
    assert exact.mutual_information.item() == pytest.approx(best.rate, abs=1e-12)
    for name in ("marginal_kl", "total_correlation", "dimension_kl"):
        assert getattr(exact, name).item() == pytest.approx(0, abs=1e-12)
    assert (best.rate > 0) == (best.active > 0)


@pytest.mark.parametrize("beta", BETAS)
def test_at_the_optimum_all_gradients_are_zero_and_elsewhere_they_are_not(beta):
    def gradients(vae):
        weights = [getattr(vae, name).clone().requires_grad_() for name in WEIGHTS]
        return torch.autograd.grad(_objective(LinearVae(*weights), beta), weights)

    assert all(gradient.abs().max() < 1e-10 for gradient in gradients(_optimum(beta).vae))
    assert all(gradient.abs().max() > 1e-3 for gradient in gradients(_vae()))


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0])
def test_no_perturbation_improves_the_optimum(beta, scale):
    best = _optimum(beta)
    least = best.distortion + beta * best.rate
    weights = [getattr(best.vae, name) for name in WEIGHTS]
    moved = [value + scale * _randn(at, 101, *value.shape) for at, value in enumerate(weights)]
    objectives = torch.vmap(lambda *moved: _objective(LinearVae(*moved), beta))(*moved)
    assert objectives.shape == (101,)
    assert (objectives > least).all()


@pytest.mark.parametrize("beta", [0.3, 3.0])
def test_descent_from_anywhere_ends_at_the_optimum(beta):
    """Not a local minimum: L-BFGS on the exact objective, with the gradient of nobody's formula."""
    weights = [getattr(_vae(), name).clone().requires_grad_() for name in WEIGHTS]
    solver = torch.optim.LBFGS(
        weights, max_iter=2_000, tolerance_grad=1e-9, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure():
        solver.zero_grad()
        value = _objective(LinearVae(*weights), beta)
        value.backward()
        return value

    solver.step(closure)
    exact, best = _exact(LinearVae(*(weight.detach() for weight in weights))), _optimum(beta)
    assert exact.distortion.item() == pytest.approx(best.distortion, abs=1e-5)
    assert exact.rate.item() == pytest.approx(best.rate, abs=1e-5)


def test_at_beta_one_the_bound_is_tight_and_no_decoder_explains_the_data_better():
    best = _optimum(1.0)
    assert -(best.distortion + best.rate) == pytest.approx(best.log_marginal, rel=1e-12)
    assert all(_optimum(beta).log_marginal < best.log_marginal for beta in (0.1, 0.7, 1.4, 5.0))


def test_more_beta_buys_rate_with_distortion():
    results = [_optimum(beta) for beta in (0.1, 0.5, 1.0, 2.0, 5.0)]
    assert [result.rate for result in results] == sorted((result.rate for result in results), reverse=True)
    assert [result.distortion for result in results] == sorted(result.distortion for result in results)


@pytest.mark.parametrize("beta", [0.0, -1.0, math.nan, math.inf])
def test_a_beta_without_an_optimum_is_refused(beta):
    with pytest.raises(ValueError, match=r"^beta is .*; allowed: a finite number above 0"):
        _optimum(beta)


@pytest.mark.parametrize("latent_dim", [0, PIXELS + 1])
def test_a_number_of_dimensions_that_no_image_has_is_refused(latent_dim):
    with pytest.raises(ValueError, match=rf"^latent_dim is {latent_dim}; allowed: 1 to {PIXELS}"):
        optimum(**_data(), noise_variance=NOISE_VARIANCE, beta=1.0, latent_dim=latent_dim)


# --- log p(x) of each image ---------------------------------------------------------------------------------------


def test_the_mean_over_images_is_the_closed_form_of_their_mean_and_covariance():
    vae, x = _vae(), _randn(11, 13, PIXELS).exp()
    mean, covariance = x.mean(dim=0), torch.cov(x.T, correction=0)
    exact = linear_vae_exact(vae, data_mean=mean, data_covariance=covariance, noise_variance=NOISE_VARIANCE)
    of_model = vae.decoder_weight @ vae.decoder_weight.T + NOISE_VARIANCE * torch.eye(PIXELS, dtype=torch.float64)
    each = MultivariateNormal(vae.decoder_bias, of_model).log_prob(x)
    torch.testing.assert_close(each.mean(), exact.log_marginal)
