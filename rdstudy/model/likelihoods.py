"""The Bernoulli likelihood p(x|z) with logits (paper, 4.3), for pixels x in [0, 1].

Sums over pixels. The last axis is the flattened image; all axes before it are kept.
"""

import torch
from torch import Tensor
from torch.nn.functional import softplus


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
