"""Bernoulli pixels (paper, 4.3): the decoder's output are logits l. Values between 0 and 1 count as probabilities."""

import torch
from torch import Tensor
from torch.nn.functional import softplus

from rdstudy.model.likelihoods._likelihood import Likelihood


def bernoulli() -> Likelihood:
    """p(x = 1) = sigmoid(l)."""
    return Likelihood(distortion, torch.sigmoid, floor, simulate, gradient)


def distortion(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x|z) = Σ_pixels softplus(l) - x l, in nats per image."""
    return (softplus(logits) - x * logits).sum(dim=-1)


def gradient(logits: Tensor, x: Tensor) -> Tensor:
    """The derivative of `distortion` in the logits, sigmoid(l) - x: training needs no more than this."""
    return torch.sigmoid(logits).sub_(x)


def floor(x: Tensor) -> Tensor:
    """Entropy of Bernoulli pixels, Σ_pixels H(x), in nats per image: no logits give a lower distortion."""
    entropy: Tensor = torch.special.entr(x) + torch.special.entr(1 - x)
    return entropy.sum(dim=-1)


def simulate(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Pixels that are 1 with probability sigmoid(l), else 0, `[..., pixel]`."""
    return torch.bernoulli(torch.sigmoid(logits), generator=generator)
