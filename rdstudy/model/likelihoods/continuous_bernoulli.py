"""Continuous Bernoulli pixels: a density on [0, 1] (Loaiza-Ganem and Cunningham 2019); the output are logits l.

p(x|l) = C exp(l x), with log C = -log((e^l - 1) / l): what a Bernoulli distortion of grey pixels lacks to be a density.
"""

import torch
from torch import Tensor

from rdstudy.model.likelihoods._likelihood import Likelihood

_MOST_LOGIT = 30.0
"""The density of a pixel that is exactly 0 or 1 grows without bound, as log l: here it ends at log 30 nats a pixel."""

_SERIES = 0.1
"""Below, closed forms are differences of nearly equal numbers; the series is as exact as float64 there."""


def continuous_bernoulli() -> Likelihood:
    """p(x|l) = l exp(l x) / (exp(l) - 1), l from -30 to 30."""
    return Likelihood(distortion, mean, floor, simulate, gradient)


def distortion(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) = Σ_pixels log((e^l - 1) / l) - x l, in nats per image; below 0 as often as not."""
    held = logits.clamp(-_MOST_LOGIT, _MOST_LOGIT)
    return (_log_normalizer(held) - x * held).sum(dim=-1)


def gradient(logits: Tensor, x: Tensor) -> Tensor:
    """The derivative of `distortion` in the logits, E[x|l] - x; 0 outside the bounds."""
    return torch.where(logits.abs() <= _MOST_LOGIT, mean(logits) - x, 0)


def mean(logits: Tensor) -> Tensor:
    """E[x|l] = 1 / (1 - e^-l) - 1 / l, `[..., pixel]`."""
    held = logits.clamp(-_MOST_LOGIT, _MOST_LOGIT)
    small = held.abs() < _SERIES
    away = torch.where(small, 1.0, held)
    square = held.square()
    series = 0.5 + held * (1 / 12 - square * (1 / 720 - square * (1 / 30_240 - square / 1_209_600)))
    return torch.where(small, series, -1 / torch.expm1(-away) - 1 / away)


def floor(x: Tensor) -> Tensor:
    """Σ_pixels min over l of the distortion, in nats per image: that of the logit whose mean is x, if it is allowed."""
    low, high = torch.full_like(x, -_MOST_LOGIT), torch.full_like(x, _MOST_LOGIT)
    for _ in range(60):  # the mean rises with l: halving the interval to the last bit
        middle = 0.5 * (low + high)
        above = mean(middle) > x
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return distortion(0.5 * (low + high), x)


def simulate(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels by the inverse of the distribution function, log(1 + u (e^l - 1)) / l for uniform u, `[..., pixel]`."""
    held = logits.clamp(-_MOST_LOGIT, _MOST_LOGIT)
    uniform = torch.rand(held.shape, generator=generator, dtype=held.dtype, device=held.device)
    small = held.abs() < 1e-3
    away = torch.where(small, 1.0, held)
    magnitude = away.abs()  # for l < 0 by symmetry: 1 - x of -l
    drawn = 1 + torch.log(uniform + (1 - uniform) * torch.exp(-magnitude)) / magnitude
    drawn = torch.where(away < 0, 1 - drawn, drawn)
    return torch.where(small, uniform + 0.5 * held * uniform * (1 - uniform), drawn).clamp(0, 1)


def _log_normalizer(logits: Tensor) -> Tensor:
    """log((e^l - 1) / l): even but for l / 2."""
    magnitude = logits.abs()
    small = magnitude < _SERIES
    away = torch.where(small, 1.0, magnitude)
    square = magnitude.square()
    series = square * (1 / 24 - square * (1 / 2_880 - square / 181_440))
    large = 0.5 * away + torch.log(-torch.expm1(-away)) - torch.log(away)
    return 0.5 * logits + torch.where(small, series, large)
