"""Pareto-smoothed importance weights and their k̂ (Vehtari, Simpson, Gelman, Yao and Gabry 2024).

The largest weights of an importance sample follow a generalized Pareto distribution, whose shape k says how many
moments the weights have. They are replaced by the expected order statistics of the fitted one, which takes away most of
the noise that a few of them carry; where k̂ is above 0.7, no feasible number of draws makes the mean weight reliable.
Axis order: `sample, image`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RELIABLE_KHAT = 0.7
"""Above it, the mean of so many weights is not to be believed (Vehtari et al. 2024, section 3.2.4)."""

_LEAST_TAIL = 5
"""Fewer weights than this in the tail show no shape."""


@dataclass(frozen=True)
class Smoothed:
    """Weights whose tail is smoothed."""

    log_weights: Tensor  # [sample, image], those of each image in ascending order
    khat: Tensor  # [image]; inf where there are too few weights, or they are not finite


@torch.no_grad()
def pareto_smoothed(log_weights: Tensor) -> Smoothed:
    """Smooth the tail of each image's weights `[sample, image]`, float64: its min(S / 5, 3 √S) largest.

    Raises:
        ValueError: there are no weights, or they are not `[sample, image]`.
    """
    if log_weights.ndim != 2 or not log_weights.numel():
        raise ValueError(
            f"log weights of shape {tuple(log_weights.shape)}; allowed: [sample, image], one or more of each"
        )
    ordered = log_weights.sort(dim=0).values
    samples = len(ordered)
    tail = math.ceil(min(samples / 5, 3 * math.sqrt(samples)))
    khat = torch.full_like(ordered[0], math.inf)
    if tail < _LEAST_TAIL:
        return Smoothed(ordered, khat)
    highest = ordered[-1]
    cutoff = ordered[-tail - 1]  # of the tail, which lies above it
    excess = (ordered[-tail:] - highest).exp() - (cutoff - highest).exp()  # of the largest weight
    equal = ~(excess[0] > 0) & ~(excess[-1] > 0)  # a tail of equal weights has no shape, and needs no smoothing
    usable = (excess[-1] > 0) & excess.isfinite().all(dim=0)
    if usable.any():
        k, sigma = _fit(excess[:, usable].clamp(min=torch.finfo(excess.dtype).tiny))
        khat[usable] = k
        quantiles = (torch.arange(1, tail + 1, dtype=excess.dtype, device=excess.device) - 0.5) / tail
        smooth = _quantile(quantiles[:, None], k, sigma) + (cutoff - highest)[usable].exp()
        ordered[-tail:, usable] = smooth.log().clamp(max=0) + highest[usable]  # no larger than the largest drawn
    khat[equal & ordered[-1].isfinite()] = -math.inf
    return Smoothed(ordered, khat)


def _fit(excess: Tensor) -> tuple[Tensor, Tensor]:
    """Shape k and scale σ of generalized Pareto excesses `[tail, image]`, ascending (Zhang and Stephens 2009).

    Their estimator is a mean over a grid of θ = -k / σ, weighted by the profile likelihood; k is then drawn towards 1/2
    with the weight of ten observations, as Vehtari et al. do.
    """
    count = len(excess)
    points = 30 + math.isqrt(count)
    grid = torch.arange(1, points + 1, dtype=excess.dtype, device=excess.device)[:, None]
    quarter, most = excess[int(count / 4 + 0.5) - 1], excess[-1]
    theta = (1 - (points / (grid - 0.5)).sqrt()) / (3 * quarter) + 1 / most  # [grid, image]
    shape = torch.log1p(-theta[:, None] * excess).mean(dim=1)
    profile = count * ((-theta / shape).log() - shape - 1)
    weights = profile.nan_to_num(nan=-math.inf).softmax(dim=0)
    best = (weights * theta).sum(dim=0)
    k = torch.log1p(-best * excess).mean(dim=0)
    return (count * k + 5) / (count + 10), -k / best


def _quantile(p: Tensor, k: Tensor, sigma: Tensor) -> Tensor:
    """The quantile σ ((1 - p)^-k - 1) / k of a generalized Pareto distribution."""
    return sigma * torch.expm1(-k * torch.log1p(-p)) / k
