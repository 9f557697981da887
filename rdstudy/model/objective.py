"""The objective L_β = -D - β R (paper, equations 1 and 6), averaged over the batch.

Training reads gradients, not losses: the derivatives of D in the logits and of R in the code are closed forms, and
back-propagation starts from them. The losses themselves are computed only where they are measured.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rdstudy.model.gaussian import Posterior, rate, rate_gradient
from rdstudy.model.likelihoods import bernoulli_distortion, bernoulli_gradient

Network = Callable[[Tensor], Tensor]
"""An encoder `[..., batch, pixel]` -> `[..., batch, 2 latent]`, or a decoder the other way round, to logits."""


@dataclass(frozen=True)
class RateDistortion:
    """R and D of each image, in nats."""

    distortion: Tensor  # [..., batch]
    rate: Tensor  # [..., batch]


class ForwardPass(NamedTuple):  # what a compiled function can return
    """What the networks return for a batch: all that gradients and finiteness can be seen from."""

    code: Tensor  # [..., batch, 2 latent], the encoder's output
    logits: Tensor  # [..., batch, pixel], the decoder's


def forward(encode: Network, decode: Network, x: Tensor, noise: Tensor) -> ForwardPass:
    """Encode, draw one z an image, decode.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal.
    """
    code = encode(x)
    return ForwardPass(code, decode(Posterior.from_code(code).sample(noise)))


@dataclass(frozen=True)
class Cotangents:
    """The derivatives of the objective in what the networks return, averaged over the batch."""

    code: Tensor  # [..., batch, 2 latent], of β R
    logits: Tensor  # [..., batch, pixel], of D


@torch.no_grad()
def cotangents(code: Tensor, logits: Tensor, x: Tensor, *, beta: float | Tensor) -> Cotangents:
    """Closed forms of the derivatives of D in the logits and of β R in the code.

    Args:
        code: `[..., batch, 2 latent]`, the encoder's output.
        logits: `[..., batch, pixel]`, the decoder's output.
        x: `[..., batch, pixel]` in [0, 1].
        beta: the strength of the rate term; a tensor has the shape `[..., 1, 1]`.
    """
    per_image = 1.0 / x.shape[-2]
    from_rate = rate_gradient(Posterior.from_code(code)).mul_(beta * per_image)
    return Cotangents(from_rate, bernoulli_gradient(logits, x).mul_(per_image))


def accumulate_gradients(
    outputs: ForwardPass,
    x: Tensor,
    *,
    beta: float | Tensor,
    cotangents: Callable[..., Cotangents] = cotangents,
) -> None:
    """Add the gradients of D + β R, averaged over the batch, to the `grad` of the networks' parameters.

    Args:
        outputs: of `forward` for these images.
        x: `[..., batch, pixel]` in [0, 1].
        beta: the strength of the rate term; a tensor has the shape `[..., 1, 1]`.
        cotangents: the function of this name, or one compiled from it.
    """
    start = cotangents(outputs.code.detach(), outputs.logits.detach(), x, beta=beta)
    torch.autograd.backward([outputs.logits, outputs.code], [start.logits, start.code])


@torch.no_grad()
def measure(encode: Network, decode: Network, x: Tensor, noise: Tensor) -> RateDistortion:
    """Distortion (one z an image) and rate of each image.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal.
    """
    outputs = forward(encode, decode, x, noise)
    return RateDistortion(bernoulli_distortion(outputs.logits, x), rate(Posterior.from_code(outputs.code)))
