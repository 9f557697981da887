"""The paper's networks and loss as anybody would write them, for the contenders that are not this project.

Knows torch alone.

An encoder maps images `[batch, channel, row, column]` to `[batch, 2 latent]`, a decoder `[batch, latent]` to
`[batch, pixel]` logits.
"""

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.sizes import KERNEL, PADDING, STRIDE, Size


def encoder(size: Size) -> nn.Sequential:
    """Images to means and logs of variances."""
    if size.architecture == "mlp":
        return nn.Sequential(nn.Flatten(), *_perceptron([size.pixels, *_hidden(size), 2 * size.latent_dim]))
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([size.channels, *_hidden(size)]):
        modules += [nn.Conv2d(inputs, outputs, KERNEL, STRIDE, PADDING), nn.ReLU()]
    return nn.Sequential(*modules, nn.Flatten(), nn.Linear(size.inner, 2 * size.latent_dim))


def decoder(size: Size) -> nn.Sequential:
    """Latent codes to logits."""
    if size.architecture == "mlp":
        return nn.Sequential(*_perceptron([size.latent_dim, *_hidden(size), size.pixels]))
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise([*_hidden(size), size.channels]):
        modules += [nn.ReLU(), nn.ConvTranspose2d(inputs, outputs, KERNEL, STRIDE, PADDING)]
    start = nn.Linear(size.latent_dim, size.inner)
    return nn.Sequential(start, nn.Unflatten(1, size.inner_shape), *modules, nn.Flatten())


def loss(encoder: nn.Module, decoder: nn.Module, x: Tensor, noise: Tensor, *, beta: float) -> Tensor:
    """D + β R (paper, equation 1), averaged over the batch `x`, with one z an image from `noise` `[batch, latent]`."""
    mean, log_var = encoder(x).chunk(2, dim=1)
    z = mean + torch.exp(0.5 * log_var) * noise
    distortion = binary_cross_entropy_with_logits(decoder(z), x.flatten(1), reduction="sum")
    rate = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()
    per_image: Tensor = (distortion + beta * rate) / len(x)
    return per_image


def _hidden(size: Size) -> list[int]:
    return [size.width] * size.depth


def _perceptron(sizes: list[int]) -> list[nn.Module]:
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    return modules[:-1]
