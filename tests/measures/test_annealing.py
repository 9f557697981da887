"""Annealed bounds against the closed forms of a linear model, and the moves under them."""

import functools

import pytest
import torch

from rdstudy.measures.annealing import (
    AnnealingPath,
    annealed_lower,
    annealed_upper,
    sigmoidal_temperatures,
    standard_prior,
    tune_steps,
)
from rdstudy.measures.estimate import estimate_mean
from rdstudy.measures.hamiltonian import hamiltonian_move
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import log_weights, weigh
from rdstudy.model.gaussian import Posterior
from tests.measures.linear_model import LATENT, linear_model, linear_temperatures

IMAGES, CHAINS, LEAPFROG = 11, 5, 3
MODEL = linear_model(orthogonal=False)


def _generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _setting(images: int, *, seed: int, memory_bytes: float = 1e7) -> tuple[ImageDistortion, torch.Tensor]:
    z, x = MODEL.draw(images, seed=seed)
    return ImageDistortion(MODEL.decode, MODEL.distortion, x, memory_bytes), z


def _poor_posterior(images: ImageDistortion) -> Posterior:
    return Posterior.from_code(MODEL.encode(images.x, widen=0.5, shift=1.0))


def _path(images: ImageDistortion, initial: Posterior, temperatures: torch.Tensor, *, seed: int = 7) -> AnnealingPath:
    return tune_steps(
        images,
        initial,
        temperatures=temperatures,
        chains=CHAINS,
        leapfrog_steps=LEAPFROG,
        generator=_generator(seed),
    )


@pytest.mark.parametrize("temperatures", [linear_temperatures(7), sigmoidal_temperatures(7)])
def test_temperatures_rise_from_zero_to_one_and_mirror_each_other(temperatures):
    assert temperatures[0] == 0
    assert temperatures[-1] == 1
    assert (temperatures.diff() > 0).all()
    torch.testing.assert_close(temperatures, 1 - temperatures.flip(0))


def test_sigmoidal_temperatures_are_dense_at_the_ends():
    widths = sigmoidal_temperatures(101).diff()
    assert widths[0] < 0.2 / 100
    assert widths[50] > 1.5 / 100


@pytest.mark.parametrize("temperature", [0.0, 0.3, 1.0])
def test_a_move_leaves_its_gaussian_target_as_it_was(temperature):
    """From exact samples of f_t, moments stay; the acceptance is far from 1, so the Metropolis test has work to do."""
    chains = 20_011
    images, _ = _setting(1, seed=3)
    initial = _poor_posterior(images)
    mean, covariance = _tempered_moments(initial, images.x, temperature)
    factor = torch.linalg.cholesky(covariance)
    generator = _generator()
    noise = mean + torch.randn(chains, 1, LATENT, generator=generator, dtype=torch.float64) @ factor.T
    at = functools.partial(weigh, images, initial)
    start = at(noise)
    state, acceptance = start, torch.zeros(())
    for _ in range(2):
        moved = hamiltonian_move(
            at,
            state,
            temperature=temperature,
            step_size=torch.tensor([1.1], dtype=torch.float64),
            leapfrog_steps=LEAPFROG,
            generator=generator,
        )
        state, acceptance = moved.state, moved.acceptance
    assert 0.2 < acceptance.mean() < 0.97
    assert (state.noise - start.noise).abs().mean() > 0.3
    whitened = torch.linalg.solve_triangular(factor, (state.noise[:, 0] - mean).T, upper=False).T
    tolerance = 4.5 / chains**0.5
    torch.testing.assert_close(whitened.mean(dim=0), torch.zeros_like(mean), rtol=0, atol=tolerance)
    spread = torch.eye(LATENT, dtype=torch.float64)
    torch.testing.assert_close(whitened.T.cov(), spread, rtol=0, atol=2**0.5 * tolerance)
    again = at(state.noise)
    torch.testing.assert_close(state.log_weight, again.log_weight)
    torch.testing.assert_close(state.gradient, again.gradient)


def _tempered_moments(initial: Posterior, x: torch.Tensor, temperature: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean `[latent]` and covariance of ε under q(z)^(1-t) p(z|x)^t, for one image."""
    scale = torch.exp(0.5 * initial.log_var[0])
    base = torch.diag(1 / scale.square())
    precision = (1 - temperature) * base + temperature * MODEL.precision
    shift = (1 - temperature) * base @ initial.mean[0] + temperature * MODEL.precision @ MODEL.posterior_mean(x)[0]
    mean = torch.linalg.solve(precision, shift)
    return (mean - initial.mean[0]) / scale, torch.linalg.inv(precision) / scale.outer(scale)


def test_a_proposal_that_overflows_is_refused():
    images, _ = _setting(IMAGES, seed=3)
    initial = standard_prior(images, latent_dim=LATENT)

    def decode(z):
        output = MODEL.decode(z)
        return torch.where(z.abs().amax(dim=-1, keepdim=True) > 2, torch.full_like(output, torch.nan), output)

    bad = ImageDistortion(decode, MODEL.distortion, images.x, 1e6)
    at = functools.partial(weigh, bad, initial)
    state = at(torch.zeros(CHAINS, IMAGES, LATENT, dtype=torch.float64))
    moved = hamiltonian_move(
        at,
        state,
        temperature=0.0,
        step_size=torch.full((IMAGES,), 1.5, dtype=torch.float64),
        leapfrog_steps=1,
        generator=_generator(),
    )
    assert 0 < (moved.acceptance == 0).double().mean() < 1
    assert moved.state.noise.abs().max() <= 2
    assert moved.state.log_weight.isfinite().all()
    assert moved.state.gradient.isfinite().all()


def test_two_temperatures_are_importance_sampling():
    images, _ = _setting(IMAGES, seed=4)
    initial = _poor_posterior(images)
    path = _path(images, initial, linear_temperatures(2))
    actual = annealed_lower(images, initial, path, chains=CHAINS, generator=_generator())
    noise = torch.randn(CHAINS, IMAGES, LATENT, generator=_generator(), dtype=torch.float64)
    torch.testing.assert_close(actual.log_weights, log_weights(images, initial, noise))
    assert actual.acceptance.shape == (0, IMAGES)


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_weights_are_unbiased_in_both_directions(start):
    """The mean weight is p(x) forwards, the mean inverse weight 1 / p(x) backwards, however few the temperatures.

    Few make the weights so heavy-tailed that a sample mean shows nothing: these are just enough to see it.
    """
    copies = 4001
    x = MODEL.draw(1, seed=8)[1].expand(copies, -1)
    images = ImageDistortion(MODEL.decode, MODEL.distortion, x, 1e7)
    initial = standard_prior(images, latent_dim=LATENT) if start == "prior" else _poor_posterior(images)
    levels = torch.tensor([0, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    steps = torch.linspace(0.5, 0.2, len(levels) - 2).expand(copies, -1).T
    path = AnnealingPath(levels, steps, LEAPFROG)
    truth = MODEL.log_marginal(x)
    lower = annealed_lower(images, initial, path, chains=CHAINS, generator=_generator(1))
    factor = torch.linalg.cholesky(torch.linalg.inv(MODEL.precision))
    noise = torch.randn(copies, LATENT, generator=_generator(2), dtype=torch.float64)
    exact = MODEL.posterior_mean(x) + noise @ factor.T
    upper = annealed_upper(images, initial, path, exact=exact, chains=CHAINS, generator=_generator(3))
    for ratio in (lower.log_weights - truth, truth - upper.log_weights):
        mean = estimate_mean(ratio.exp().mean(dim=0))
        assert mean.standard_error < 0.03
        assert abs(mean.value - 1) < 4 * mean.standard_error
        assert ratio.std() > 0.2


@pytest.mark.parametrize(("start", "schedule"), [("prior", sigmoidal_temperatures), ("posterior", linear_temperatures)])
def test_the_truth_lies_between_bounds_that_close_with_more_temperatures(start, schedule):
    images, z = _setting(101, seed=8)
    initial = standard_prior(images, latent_dim=LATENT) if start == "prior" else _poor_posterior(images)
    truth = MODEL.log_marginal(images.x)
    gaps = []
    for count in (2, 101):
        path = _path(images, initial, schedule(count))
        lower = annealed_lower(images, initial, path, chains=17, generator=_generator(1))
        upper = annealed_upper(images, initial, path, exact=z, chains=17, generator=_generator(2))
        below, above = estimate_mean(truth - lower.bound), estimate_mean(upper.bound - truth)
        assert below.value > -3 * below.standard_error
        assert above.value > -3 * above.standard_error
        gaps.append(upper.bound - lower.bound)
    fall = estimate_mean(gaps[0] - gaps[-1])
    assert fall.value > 4 * fall.standard_error
    assert gaps[-1].mean() < 0.05
    assert 0.5 < lower.acceptance[30:].mean() < 0.8
    assert 0.5 < upper.acceptance[30:].mean() < 0.8


def test_more_chains_tighten_both_bounds():
    images, z = _setting(199, seed=9)
    initial = standard_prior(images, latent_dim=LATENT)
    path = _path(images, initial, linear_temperatures(5))
    few, many = (annealed_lower(images, initial, path, chains=n, generator=_generator()).bound for n in (1, 17))
    rise = estimate_mean(many - few)
    assert rise.value > 3 * rise.standard_error
    few, many = (
        annealed_upper(images, initial, path, exact=z, chains=n, generator=_generator()).bound for n in (1, 17)
    )
    fall = estimate_mean(few - many)
    assert fall.value > 3 * fall.standard_error


def test_memory_changes_nothing():
    small, z = _setting(IMAGES, seed=10, memory_bytes=1)
    large, _ = _setting(IMAGES, seed=10)
    initial = _poor_posterior(small)
    results = []
    for images in (small, large):
        path = _path(images, initial, linear_temperatures(5))
        lower = annealed_lower(images, initial, path, chains=2, generator=_generator())
        upper = annealed_upper(images, initial, path, exact=z, chains=2, generator=_generator())
        results.append((path.step_sizes, lower.log_weights, upper.log_weights))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=0)


def test_same_seed_same_bits_other_seed_other_bits():
    images, _ = _setting(IMAGES, seed=11)
    initial = _poor_posterior(images)
    path = _path(images, initial, linear_temperatures(5))
    assert torch.equal(path.step_sizes, _path(images, initial, linear_temperatures(5)).step_sizes)
    one, same, other = (
        annealed_lower(images, initial, path, chains=2, generator=_generator(seed)).bound for seed in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert (one != other).all()


@pytest.mark.parametrize(
    "levels", [[0.0], [0.1, 1.0], [0.0, 0.9], [0.0, 0.5, 0.5, 1.0], [[0.0, 1.0]], [0.0, float("nan"), 1.0]]
)
def test_temperatures_that_do_not_rise_from_zero_to_one_are_refused(levels):
    images, _ = _setting(IMAGES, seed=12)
    with pytest.raises(ValueError, match="rising from 0 to 1"):
        _path(images, _poor_posterior(images), torch.tensor(levels))


def test_what_cannot_be_annealed_is_refused():
    images, z = _setting(IMAGES, seed=12)
    initial = _poor_posterior(images)
    path = _path(images, initial, linear_temperatures(5))
    generator = _generator()
    with pytest.raises(ValueError, match="0 chains"):
        annealed_lower(images, initial, path, chains=0, generator=generator)
    with pytest.raises(ValueError, match="0 chains"):
        annealed_upper(images, initial, path, exact=z, chains=0, generator=generator)
    with pytest.raises(ValueError, match=r"exact samples of shape \(10, 3\)"):
        annealed_upper(images, initial, path, exact=z[1:], chains=1, generator=generator)
    with pytest.raises(ValueError, match="0 leapfrog steps"):
        tune_steps(
            images,
            initial,
            temperatures=linear_temperatures(5),
            chains=1,
            leapfrog_steps=0,
            generator=generator,
        )
    with pytest.raises(ValueError, match=r"step sizes of shape \(3, 11\); allowed: \(3, 10\)"):
        annealed_lower(
            images.select(slice(1, None)),
            Posterior(initial.mean[1:], initial.log_var[1:]),
            path,
            chains=1,
            generator=generator,
        )
    nowhere = ImageDistortion(lambda z: MODEL.decode(z) * torch.nan, MODEL.distortion, images.x, 1e6)
    with pytest.raises(ValueError, match="22 of 22 log weights are not finite"):
        annealed_lower(nowhere, initial, path, chains=2, generator=generator)
