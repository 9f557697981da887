"""The paper's networks and a loss as anybody would write it, for the contenders that are not this project.

Knows torch alone, and of this project what its networks are made of.

An encoder maps images `[batch, channel, row, column]` to `[batch, 2 latent]`, a decoder `[batch, latent]` to
`[batch, pixel]` logits.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.sizes import Size
from rdstudy.model.networks import modules_of


def encoder(size: Size) -> nn.Sequential:
    """Images to means and logs of variances."""
    return nn.Sequential(nn.Flatten(), modules_of(size.shape).encoder)


def decoder(size: Size) -> nn.Module:
    """Latent codes to logits."""
    return modules_of(size.shape).decoder


def loss(encoder: nn.Module, decoder: nn.Module, x: Tensor, noise: Tensor, *, beta: float) -> Tensor:
    """D + β R (paper, equation 1), averaged over the batch `x`, with one z an image from `noise` `[batch, latent]`."""
    mean, log_var = encoder(x).chunk(2, dim=1)
    z = mean + torch.exp(0.5 * log_var) * noise
    distortion = binary_cross_entropy_with_logits(decoder(z), x.flatten(1), reduction="sum")
    rate = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()
    per_image: Tensor = (distortion + beta * rate) / len(x)
    return per_image
