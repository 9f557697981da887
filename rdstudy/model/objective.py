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


PriorTerms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(code `[..., batch, 2 latent]`, z `[..., batch, latent]`) -> log p(z) and the rate, see `rdstudy.model.priors`."""


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
    log_prior: Tensor | None = None  # [..., batch], log p(z), nats; None under N(0, I), of which all is a closed form
    rate: Tensor | None = None  # [..., batch], nats; None under N(0, I)


def forward(
    encode: Network, decode: Network, x: Tensor, noise: Tensor, prior_terms: PriorTerms | None = None
) -> ForwardPass:
    """Encode images x `[..., batch, pixel]` in [0, 1], draw one z an image, decode.

    The noise is standard normal, `[..., batch, latent]`; `prior_terms` are None for N(0, I).
    """
    code = encode(x)
    z = Posterior.from_code(code).sample(noise)
    log_prior, sampled = (None, None) if prior_terms is None else prior_terms(code, z)
    return ForwardPass(code, z, decode(z), log_prior, sampled)


@dataclass(frozen=True)
class Cotangents:
    """The derivatives of the objective in what the networks return, averaged over the batch."""

    code: Tensor | None  # [..., batch, 2 latent], of β R; None where R has no closed form
    output: Tensor  # [..., batch, pixel], of D


@torch.no_grad()
def cotangents(
    code: Tensor | None, output: Tensor, x: Tensor, *, beta: float | Tensor, likelihood: Likelihood
) -> Cotangents:
    """Closed forms of the derivatives of D in the decoder's output and of β R in the code.

    Shapes are those of `ForwardPass`; the code is None where the prior is not N(0, I), and a β that is a tensor has the
    shape `[..., 1, 1]`.
    """
    per_image = 1.0 / x.shape[-2]
    from_rate = None if code is None else rate_gradient(Posterior.from_code(code)).mul_(beta * per_image)
    return Cotangents(from_rate, likelihood.derivative(output, x).mul_(per_image))


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

    `outputs` are those of `forward` for images x `[..., batch, pixel]` in [0, 1]. A β that is a tensor has the shape
    `[..., 1, 1]`. `removed`, `[..., batch]`, is a part of the rate, computed from `outputs`, that is taken out of it.
    `cotangents` is the function of this name, or one compiled from it.
    """
    code = outputs.code.detach() if outputs.rate is None else None
    start = cotangents(code, outputs.output.detach(), x, beta=beta, likelihood=likelihood)
    ends, gradients = [outputs.output], [start.output]
    weight = (beta.squeeze(-1) if isinstance(beta, Tensor) else beta) / x.shape[-2]
    if start.code is not None:
        ends.append(outputs.code)
        gradients.append(start.code)
    if outputs.rate is not None:
        ends.append(outputs.rate)
        gradients.append(torch.zeros_like(outputs.rate) + weight)
    if removed is not None:
        ends.append(removed)
        gradients.append(torch.zeros_like(removed) - weight)
    torch.autograd.backward(ends, gradients)


@torch.no_grad()
def measure(
    encode: Network,
    decode: Network,
    x: Tensor,
    noise: Tensor,
    *,
    likelihood: Likelihood,
    prior_terms: PriorTerms | None = None,
) -> RateDistortion:
    """Distortion (one z an image) and rate of each image; arguments are those of `forward`."""
    outputs = forward(encode, decode, x, noise, prior_terms)
    return RateDistortion(likelihood.distortion(outputs.output, x), rate_of(outputs))


def rate_of(outputs: ForwardPass) -> Tensor:
    """R of each image, `[..., batch]`, nats: the closed form where the prior has one, else of the z drawn."""
    return rate(Posterior.from_code(outputs.code)) if outputs.rate is None else outputs.rate
