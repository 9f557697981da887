"""The objective L_β = -D - β R (paper, equations 1 and 6), averaged over the batch.

Training reads gradients, not losses: the derivatives of D in the logits and of R in the code are closed forms, and
back-propagation starts from them. The losses themselves are computed only where they are measured.
"""

from collections.abc import Callable
from dataclasses import dataclass

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


def accumulate_gradients(encode: Network, decode: Network, x: Tensor, noise: Tensor, *, beta: float | Tensor) -> Tensor:
    """Add the gradients of D + β R, averaged over the batch, to the `grad` of the networks' parameters.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal: one z an image.
        beta: the strength of the rate term; a tensor has the shape `[..., 1, 1]`.

    Returns:
        The encoder's output `[..., batch, 2 latent]`, from which the caller can see that all is finite.
    """
    code = encode(x)
    logits = decode(Posterior.from_code(code).sample(noise))
    with torch.no_grad():
        per_image = 1.0 / x.shape[-2]
        from_distortion = bernoulli_gradient(logits, x).mul_(per_image)
        from_rate = rate_gradient(Posterior.from_code(code)).mul_(beta * per_image)
    torch.autograd.backward([logits, code], [from_distortion, from_rate])
    return code.detach()


@torch.no_grad()
def measure(encode: Network, decode: Network, x: Tensor, noise: Tensor) -> RateDistortion:
    """Distortion (one z an image) and rate of each image.

    Args:
        encode: the encoder.
        decode: the decoder.
        x: `[..., batch, pixel]` in [0, 1].
        noise: `[..., batch, latent]`, standard normal.
    """
    posterior = Posterior.from_code(encode(x))
    logits = decode(posterior.sample(noise))
    return RateDistortion(bernoulli_distortion(logits, x), rate(posterior))
