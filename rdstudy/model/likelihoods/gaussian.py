"""Gaussian pixels: the decoder's output is their mean. The standard deviation is given, or trained to its optimum."""

import functools
import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rdstudy.model.likelihoods._likelihood import Likelihood

_LEAST_LOG_SIGMA = -6.0
"""Of a trained σ, softly (Rybkin et al. 2021): half a step between two values of a pixel is a σ of e^-6.2."""


def gaussian(*, sigma: float | Literal["optimal"] = 0.1) -> Likelihood:
    """p(x|z) = N(x; mean, σ² I).

    A given σ is the simpler choice because β says the rest: the optimum of D + β R depends on σ and β through β σ²
    alone. The paper knows Bernoulli pixels only; a tenth of the range is where the spread of pixels of ordinary images
    lies.

    Args:
        sigma: in units of pixel values. `optimal`: one σ for all pixels and images, trained with the networks; at its
            optimum σ² is the mean squared error of a pixel (Rybkin et al. 2021, equation 7).
    """
    if isinstance(sigma, str):
        return Likelihood(_optimal_distortion, _optimal_mean, _optimal_floor, _optimal_simulate, _optimal_gradient, 1)
    return Likelihood(
        functools.partial(distortion, sigma=sigma),
        _identity,
        functools.partial(floor, sigma=sigma),
        functools.partial(simulate, sigma=sigma),
        functools.partial(gradient, sigma=sigma),
    )


def distortion(mean: Tensor, x: Tensor, *, sigma: float) -> Tensor:
    """-log N(x; mean, σ² I) = |x - mean|² / (2 σ²) + P/2 log(2π σ²), in nats per image of P pixels.

    A density has no sign: a distortion below 0 is an ordinary one.
    """
    squares: Tensor = (mean - x).square().sum(dim=-1)
    return squares / (2 * sigma**2) + x.shape[-1] * _log_normalizer(sigma)


def gradient(mean: Tensor, x: Tensor, *, sigma: float) -> Tensor:
    """The derivative of `distortion` in the mean, (mean - x) / σ²."""
    return (mean - x).div_(sigma**2)


def floor(x: Tensor, *, sigma: float) -> Tensor:
    """P/2 log(2π σ²), in nats per image of P pixels: the distortion of a perfect reconstruction."""
    return x.new_full(x.shape[:-1], x.shape[-1] * _log_normalizer(sigma))


def simulate(mean: Tensor, generator: torch.Generator, *, sigma: float) -> Tensor:
    """Pixels N(mean, σ²), not clipped to [0, 1], `[..., pixel]`."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + sigma * noise


def _identity(mean: Tensor) -> Tensor:
    return mean


def _log_normalizer(sigma: float) -> float:
    return 0.5 * math.log(2 * math.pi * sigma**2)  # of one pixel, nats


# --- a trained σ: the last number of the output, the same for all images, says log σ ----------------------------------


def _log_sigma(output: Tensor) -> Tensor:
    """Log σ `[..., 1]` from the last number a: -6 + softplus(a + 6), near a itself where a is above -3."""
    return _LEAST_LOG_SIGMA + softplus(output[..., -1:] - _LEAST_LOG_SIGMA)


def _optimal_distortion(output: Tensor, x: Tensor) -> Tensor:
    log_sigma = _log_sigma(output).squeeze(-1)
    squares = (output[..., :-1] - x).square().sum(dim=-1)
    return 0.5 * squares * torch.exp(-2 * log_sigma) + x.shape[-1] * (log_sigma + 0.5 * math.log(2 * math.pi))


def _optimal_gradient(output: Tensor, x: Tensor) -> Tensor:
    away, precision = output[..., :-1] - x, torch.exp(-2 * _log_sigma(output))
    slope = torch.sigmoid(output[..., -1:] - _LEAST_LOG_SIGMA)  # of log σ in the number it is read from
    of_log_sigma = x.shape[-1] - away.square().sum(dim=-1, keepdim=True) * precision
    return torch.cat([away * precision, slope * of_log_sigma], dim=-1)


def _optimal_mean(output: Tensor) -> Tensor:
    return output[..., :-1]


def _optimal_floor(x: Tensor) -> Tensor:
    return floor(x, sigma=math.exp(_LEAST_LOG_SIGMA))


def _optimal_simulate(output: Tensor, generator: torch.Generator) -> Tensor:
    mean = output[..., :-1]
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + torch.exp(_log_sigma(output)) * noise
