"""Likelihoods p(x|z) of pixels x in [0, 1] (paper, 4.3), each a value of one record: `likelihood("bernoulli")`.

A decoder's output is whatever its likelihood reads: logits for Bernoulli pixels, the mean for Gaussian ones. Sums over
pixels. The last axis is the flattened image; all axes before it are kept.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

GAUSSIAN_SIGMA = 0.1
"""Standard deviation of a Gaussian pixel, in units of pixel values.

It is fixed because β says the rest: the optimum of D + β R depends on σ and β through β σ² alone, and a learned σ would
grow and shrink against β. The paper knows Bernoulli pixels only; a tenth of the range is where the spread of pixels of
ordinary images lies.
"""


@dataclass(frozen=True)
class Likelihood:
    """What training and measures ask of p(x|z). Functions of a decoder's output `[..., pixel]`; all in nats."""

    name: str
    distortion: Callable[[Tensor, Tensor], Tensor]  # (output, x [..., pixel]) -> -log p(x|z) `[...]`
    gradient: Callable[[Tensor, Tensor], Tensor]  # (output, x) -> derivative of it in the output `[..., pixel]`
    mean: Callable[[Tensor], Tensor]  # output -> E[x|z] `[..., pixel]`, in pixel values
    floor: Callable[[Tensor], Tensor]  # x -> the least distortion that any output gives `[...]`
    simulate: Callable[[Tensor, torch.Generator], Tensor]  # (output, generator) -> x ~ p(x|z) `[..., pixel]`


def likelihood(name: str) -> Likelihood:
    """Look up a likelihood.

    Raises:
        ValueError: there is none of that name.
    """
    if name not in _LIKELIHOODS:
        raise ValueError(f"likelihood is {name!r}; allowed: {', '.join(_LIKELIHOODS)}")
    return _LIKELIHOODS[name]


def bernoulli_distortion(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) = Σ_pixels softplus(l) - x l, in nats per image.

    Args:
        logits: `[..., pixel]`, the decoder's output l.
        x: `[..., pixel]` in [0, 1].

    Returns:
        `[...]`.
    """
    return (softplus(logits) - x * logits).sum(dim=-1)


def bernoulli_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """The derivative of `bernoulli_distortion` in the logits, sigmoid(l) - x: training needs no more than this.

    Returns:
        `[..., pixel]`.
    """
    return torch.sigmoid(logits).sub_(x)


def bernoulli_floor(x: Tensor) -> Tensor:
    """Entropy of Bernoulli pixels, Σ_pixels H(x), in nats per image: no logits give a lower distortion.

    Args:
        x: `[..., pixel]` in [0, 1].

    Returns:
        `[...]`.
    """
    entropy: Tensor = torch.special.entr(x) + torch.special.entr(1 - x)
    return entropy.sum(dim=-1)


def bernoulli_simulate(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels that are 1 with probability sigmoid(l), else 0, `[..., pixel]`."""
    return torch.bernoulli(torch.sigmoid(logits), generator=generator)


def gaussian_distortion(mean: Tensor, x: Tensor) -> Tensor:
    """-log N(x; mean, σ² I) = |x - mean|² / (2 σ²) + P/2 log(2π σ²), in nats per image of P pixels.

    A density has no sign: a distortion below 0 is an ordinary one.

    Args:
        mean: `[..., pixel]`, the decoder's output.
        x: `[..., pixel]`.

    Returns:
        `[...]`.
    """
    squares: Tensor = (mean - x).square().sum(dim=-1)
    return squares / (2 * GAUSSIAN_SIGMA**2) + x.shape[-1] * _LOG_NORMALIZER


def gaussian_gradient(mean: Tensor, x: Tensor) -> Tensor:
    """The derivative of `gaussian_distortion` in the mean, (mean - x) / σ².

    Returns:
        `[..., pixel]`.
    """
    return (mean - x).div_(GAUSSIAN_SIGMA**2)


def gaussian_floor(x: Tensor) -> Tensor:
    """P/2 log(2π σ²), in nats per image of P pixels: the distortion of a perfect reconstruction.

    Args:
        x: `[..., pixel]`, of which only the shape matters.

    Returns:
        `[...]`.
    """
    return x.new_full(x.shape[:-1], x.shape[-1] * _LOG_NORMALIZER)


def gaussian_simulate(mean: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels N(mean, σ²), not clipped to [0, 1], `[..., pixel]`."""
    noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype, device=mean.device)
    return mean + GAUSSIAN_SIGMA * noise


def _identity(mean: Tensor) -> Tensor:
    return mean


_LOG_NORMALIZER = 0.5 * math.log(2 * math.pi * GAUSSIAN_SIGMA**2)  # of one pixel, nats

_LIKELIHOODS = {
    value.name: value
    for value in (
        Likelihood(
            "bernoulli", bernoulli_distortion, bernoulli_gradient, torch.sigmoid, bernoulli_floor, bernoulli_simulate
        ),
        Likelihood("gaussian", gaussian_distortion, gaussian_gradient, _identity, gaussian_floor, gaussian_simulate),
    )
}
