"""Annealed importance sampling (Neal 2001) with Hamiltonian moves (Wu et al. 2017): bounds on log p(x) from both sides.

From an initial density π(z) the chains pass through f_t(z) ∝ π(z)^(1-t) p(x, z)^t for temperatures t from 0 to 1. With
w(z) = p(x, z) / π(z), a chain z_0, z_1, ... has the weight Π_k w(z_k)^(t_{k+1} - t_k), z_k moved under f at t_k.

- Forwards, from z_0 ~ π, the mean weight is p(x): the log of a mean over chains is a lower bound in expectation.
- Backwards, from an exact posterior sample, through the same moves in the opposite order, the mean inverse weight is
  1 / p(x): minus the log of its mean is an upper bound in expectation (Grosse, Ghahramani and Adams 2015, section 4).
  Such a sample is had where x was simulated together with its z, and only there.

π is any diagonal Gaussian, whatever the prior p(z) in p(x, z): N(0, I) (`standard_prior`), or the encoder's q(z|x),
which is nearer to p(z|x). Both bounds hold for moves whose step sizes are fixed before the chain starts, not for steps
adapted to the chain itself: they are tuned on a pilot run of other chains.
Axis order: `chain, image`. Nats, float64 but for the decoder and the prior.
"""

import functools
import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.hamiltonian import Weigh, hamiltonian_move
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import Weighed, double_proposal, draw_noise, log_mean_exp, require_finite, weigh
from rdstudy.measures.noise import Noise
from rdstudy.model.gaussian import Posterior

_TARGET_ACCEPTANCE = 0.65  # the best for Hamiltonian moves in many dimensions (Neal 2011, section 4.4; Wu et al. 2017)
_FIRST_STEP = 0.5  # in standard deviations of the initial density: stable for it, as the limit is 2
_GAIN = 0.5  # of log step size per unit of acceptance: ten times as fine within some ten temperatures


@dataclass(frozen=True)
class AnnealingPath:
    """Temperatures and moves, fixed before a chain starts and shared by both directions."""

    temperatures: Tensor  # [t], from 0 to 1, float64
    step_sizes: Tensor  # [t - 2, image], of the moves at the inner temperatures, in standard deviations of π
    leapfrog_steps: int


@dataclass(frozen=True)
class Annealed:
    """What the chains of one direction say about log p(x), in nats."""

    log_weights: Tensor  # [chain, image]
    bound: Tensor  # [image]: of log p(x), in expectation
    acceptance: Tensor  # [t - 2, image]: mean over chains, in the order of the temperatures


def sigmoidal_temperatures(count: int) -> Tensor:
    """σ(4 (2 k / (count - 1) - 1)) scaled to run from 0 to 1, `[count]`: dense at both ends (Wu et al. 2017)."""
    raw = torch.sigmoid(torch.linspace(-4, 4, count, dtype=torch.float64))
    return (raw - raw[0]) / (raw[-1] - raw[0])


def standard_prior(images: ImageDistortion, *, latent_dim: int) -> Posterior:
    """N(0, I) for each image, as an initial density `[image, latent]`; the prior of the model stands in `images`."""
    zeros = torch.zeros(len(images.x), latent_dim, dtype=torch.float64, device=images.x.device)
    return Posterior(zeros, zeros)


@torch.no_grad()
def tune_steps(
    images: ImageDistortion,
    initial: Posterior,
    *,
    temperatures: Tensor,
    chains: int,
    leapfrog_steps: int,
    generator: Noise,
) -> AnnealingPath:
    """Find step sizes by a pilot run forwards: each image's follows its chains' mean acceptance towards 65 %.

    Args:
        images: the images and the model.
        initial: π, `[image, latent]`.
        temperatures: `[t]`, two or more, rising from 0 to 1.
        chains: of the pilot run, for each image.
        leapfrog_steps: of each move.
        generator: of the pilot run's noise.

    Raises:
        ValueError: a count below 1, temperatures that do not rise from 0 to 1, shapes that do not match, a posterior
            or a weight that is not finite.
    """
    if leapfrog_steps < 1:
        raise ValueError(f"{leapfrog_steps} leapfrog steps; allowed: 1 or more")
    levels = _levels(temperatures)
    initial = double_proposal(images, initial)
    at = functools.partial(weigh, images, initial)
    state = _start(at, draw_noise(_at_least_one(chains), initial.mean, generator))
    step = torch.full((len(images.x),), _FIRST_STEP, dtype=torch.float64, device=images.x.device)
    tuned = []
    for temperature in levels[1:-1]:
        moved = hamiltonian_move(
            at, state, temperature=temperature, step_size=step, leapfrog_steps=leapfrog_steps, generator=generator
        )
        step = step * torch.exp(_GAIN * (moved.acceptance.mean(dim=0) - _TARGET_ACCEPTANCE))
        tuned.append(step)
        state = moved.state
    step_sizes = torch.stack(tuned) if tuned else step.new_empty(0, len(images.x))
    return AnnealingPath(torch.tensor(levels, dtype=torch.float64), step_sizes, leapfrog_steps)


@torch.no_grad()
def annealed_lower(
    images: ImageDistortion, initial: Posterior, path: AnnealingPath, *, chains: int, generator: Noise
) -> Annealed:
    """Anneal forwards from π `[image, latent]` on a path of `tune_steps`: a lower bound on log p(x) in expectation.

    `chains` are those of each image; the generator is not one that stands where the pilot run's stood.

    Raises:
        ValueError: no chains, shapes that do not match, a posterior or a weight that is not finite.
    """
    initial = double_proposal(images, initial)
    at = functools.partial(weigh, images, initial)
    state = _start(at, draw_noise(_at_least_one(chains), initial.mean, generator))
    return _walk(at, state, path, backwards=False, generator=generator)


@torch.no_grad()
def annealed_upper(
    images: ImageDistortion,
    initial: Posterior,
    path: AnnealingPath,
    *,
    exact: Tensor,
    chains: int,
    generator: torch.Generator,
) -> Annealed:
    """Anneal backwards from exact posterior samples: an upper bound on log p(x) in expectation.

    As `annealed_lower`, but all chains of an image start at `exact` `[image, latent]`, one sample of p(z|x): the z that
    x was simulated from. The path is tuned without knowledge of it.

    Raises:
        ValueError: no chains, shapes that do not match, a posterior or a weight that is not finite.
    """
    initial = double_proposal(images, initial)
    if exact.shape != initial.mean.shape:
        raise ValueError(f"exact samples of shape {tuple(exact.shape)}; allowed: {tuple(initial.mean.shape)}")
    noise = (exact.double() - initial.mean) * torch.exp(-0.5 * initial.log_var)
    at = functools.partial(weigh, images, initial)
    state = _start(at, noise.repeat(_at_least_one(chains), 1, 1))
    return _walk(at, state, path, backwards=True, generator=generator)


def _walk(at: Weigh, state: Weighed, path: AnnealingPath, *, backwards: bool, generator: Noise) -> Annealed:
    levels, images = _levels(path.temperatures), state.noise.shape[1]
    if path.step_sizes.shape != (len(levels) - 2, images):
        raise ValueError(
            f"step sizes of shape {tuple(path.step_sizes.shape)}; allowed: {(len(levels) - 2, images)}, "
            "a row for each inner temperature, a column for each image"
        )
    widths = [high - low for low, high in itertools.pairwise(levels)]
    # Before its first move a chain is weighed over the interval at its own end of the path, and after a move at level
    # k over the interval on the other side of k.
    order = range(len(levels) - 2, 0, -1) if backwards else range(1, len(levels) - 1)
    log_weights = widths[-1 if backwards else 0] * state.log_weight
    acceptance = torch.empty_like(path.step_sizes)
    for level in order:
        moved = hamiltonian_move(
            at,
            state,
            temperature=levels[level],
            step_size=path.step_sizes[level - 1],
            leapfrog_steps=path.leapfrog_steps,
            generator=generator,
        )
        state = moved.state
        log_weights = log_weights + widths[level - 1 if backwards else level] * state.log_weight
        acceptance[level - 1] = moved.acceptance.mean(dim=0)
    require_finite(log_weights, "log weights")
    bound = -log_mean_exp(-log_weights) if backwards else log_mean_exp(log_weights)
    return Annealed(log_weights, bound, acceptance)


def _levels(temperatures: Tensor) -> list[float]:
    levels: list[float] = temperatures.double().flatten().tolist()
    rising = all(low < high for low, high in itertools.pairwise(levels))
    if temperatures.ndim != 1 or len(levels) < 2 or levels[0] != 0 or levels[-1] != 1 or not rising:
        raise ValueError(f"temperatures {levels}; allowed: two or more, rising from 0 to 1")
    return levels


def _start(at: Weigh, noise: Tensor) -> Weighed:
    state = at(noise)
    require_finite(state.log_weight, "log weights")
    require_finite(state.gradient, "derivatives of log weights")
    return state


def _at_least_one(chains: int) -> int:
    if chains < 1:
        raise ValueError(f"{chains} chains; allowed: 1 or more")
    return chains
