"""The objective L_β = -D - β R (paper, equations 1 and 6), averaged over the batch.

Training reads gradients, not losses: the derivatives of D in the decoder's output and of R in the code are closed
forms, and back-propagation starts from them. The losses themselves are computed only where they are measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rdstudy.model.gaussian import Posterior, rate, rate_gradient
from rdstudy.model.likelihoods import Likelihood

Network = Callable[[Tensor], Tensor]
"""An encoder `[..., batch, pixel]` -> `[..., batch, 2 latent]`, or a decoder, from `latent` to `pixel`."""


@dataclass(frozen=True)
class RateDistortion:
    """R and D of each image, in nats."""

    distortion: Tensor  # [..., batch]
    rate: Tensor  # [..., batch]


class ForwardPass(NamedTuple):  # what a compiled function can return
    """What the networks return for a batch: all that gradients and finiteness can be seen from."""

    code: Tensor  # [..., batch, 2 latent], the encoder's output
    z: Tensor  # [..., batch, latent], one draw an image
    output: Tensor  # [..., batch, pixel], the decoder's output for it


def forward(encode: Network, decode: Network, x: Tensor, noise: Tensor) -> ForwardPass:
    """Encode, draw one z an image, decode.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal.
    """
    code = encode(x)
    z = Posterior.from_code(code).sample(noise)
    return ForwardPass(code, z, decode(z))


@dataclass(frozen=True)
class Cotangents:
    """The derivatives of the objective in what the networks return, averaged over the batch."""

    code: Tensor  # [..., batch, 2 latent], of β R
    output: Tensor  # [..., batch, pixel], of D


@torch.no_grad()
def cotangents(code: Tensor, output: Tensor, x: Tensor, *, beta: float | Tensor, likelihood: Likelihood) -> Cotangents:
    """Closed forms of the derivatives of D in the decoder's output and of β R in the code.

    Args:
        code: `[..., batch, 2 latent]`, the encoder's output.
        output: `[..., batch, pixel]`, the decoder's output.
        x: `[..., batch, pixel]` in [0, 1].
        beta: the strength of the rate term; a tensor has the shape `[..., 1, 1]`.
        likelihood: what the decoder's output means.
    """
    per_image = 1.0 / x.shape[-2]
    from_rate = rate_gradient(Posterior.from_code(code)).mul_(beta * per_image)
    return Cotangents(from_rate, likelihood.gradient(output, x).mul_(per_image))


def accumulate_gradients(
    outputs: ForwardPass,
    x: Tensor,
    *,
    beta: float | Tensor,
    likelihood: Likelihood,
    removed: Tensor | None = None,
    cotangents: Callable[..., Cotangents] = cotangents,
) -> None:
    """Add the gradients of D + β (R - removed), averaged over the batch, to the `grad` of the networks' parameters.

    Args:
        outputs: of `forward` for these images.
        x: `[..., batch, pixel]` in [0, 1].
        beta: the strength of the rate term; a tensor has the shape `[..., 1, 1]`.
        likelihood: what the decoder's output means.
        removed: `[..., batch]`, a part of the rate that is taken out of it, computed from `outputs`; None for nothing.
        cotangents: the function of this name, or one compiled from it.
    """
    start = cotangents(outputs.code.detach(), outputs.output.detach(), x, beta=beta, likelihood=likelihood)
    ends, gradients = [outputs.output, outputs.code], [start.output, start.code]
    if removed is not None:
        weight = beta.squeeze(-1) if isinstance(beta, Tensor) else beta
        ends.append(removed)
        gradients.append(torch.zeros_like(removed) - weight / x.shape[-2])
    torch.autograd.backward(ends, gradients)


@torch.no_grad()
def measure(encode: Network, decode: Network, x: Tensor, noise: Tensor, *, likelihood: Likelihood) -> RateDistortion:
    """Distortion (one z an image) and rate of each image.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal.
        likelihood: what the decoder's output means.
    """
    outputs = forward(encode, decode, x, noise)
    return RateDistortion(likelihood.distortion(outputs.output, x), rate(Posterior.from_code(outputs.code)))
