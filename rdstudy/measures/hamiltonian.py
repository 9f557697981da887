"""One Hamiltonian Monte Carlo move (Neal 2011, section 3): leapfrog steps, then a Metropolis test that makes it exact.

The coordinate is the noise ε of z = μ + σ ε under a proposal N(μ, σ²): steps are then in units of the proposal's own
spread. The density left invariant is f_t(ε) ∝ N(ε; 0, I) w(ε)^t, with w the importance weight of
`rdstudy.measures.importance`: the proposal at t = 0, the true posterior p(z|x) at t = 1. Axis order: `chain, image`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.importance import Weighed
from rdstudy.measures.noise import Noise, normal, uniform

Weigh = Callable[[Tensor], Weighed]
"""Noise `[chain, image, latent]` to its log weights and their derivatives."""


@dataclass(frozen=True)
class Moved:
    """Where the chains stand after a move."""

    state: Weighed  # [chain, image]
    acceptance: Tensor  # [chain, image]: probability with which the proposal was accepted


def hamiltonian_move(
    weigh: Weigh,
    state: Weighed,
    *,
    temperature: float,
    step_size: Tensor,
    leapfrog_steps: int,
    generator: Noise,
) -> Moved:
    """Move all chains once, at a temperature t from 0 to 1; costs `leapfrog_steps` evaluations of `weigh`.

    The size of a leapfrog step is `[image]`; the generator is that of momenta and of the test.
    """
    shape, device = state.noise.shape, state.noise.device
    momentum, chance = normal(generator, shape).to(device), uniform(generator, shape[:2]).to(device)
    step = step_size[:, None]
    before = _energy(state, momentum, temperature)
    proposed = state
    momentum = momentum + 0.5 * step * _force(proposed, temperature)
    for taken in range(1, leapfrog_steps + 1):
        proposed = weigh(proposed.noise + step * momentum)
        last = 0.5 if taken == leapfrog_steps else 1.0
        momentum = momentum + last * step * _force(proposed, temperature)
    # An overflow on the way makes the energy nan or inf: such a proposal is refused like one of no probability.
    acceptance = (before - _energy(proposed, momentum, temperature)).clamp(max=0).exp().nan_to_num(nan=0.0)
    accepted = chance < acceptance
    return Moved(_choose(accepted, proposed, state), acceptance)


def _energy(state: Weighed, momentum: Tensor, temperature: float) -> Tensor:
    kinetic_and_base = 0.5 * (momentum.square() + state.noise.square()).sum(dim=-1)
    return kinetic_and_base - temperature * state.log_weight


def _force(state: Weighed, temperature: float) -> Tensor:
    return temperature * state.gradient - state.noise


def _choose(accepted: Tensor, proposed: Weighed, state: Weighed) -> Weighed:
    rows = accepted[..., None]
    return Weighed(
        torch.where(rows, proposed.noise, state.noise),
        torch.where(accepted, proposed.log_weight, state.log_weight),
        torch.where(rows, proposed.gradient, state.gradient),
    )
