"""A certificate for an estimate of log p(x): bounds from both sides on images that the model itself made.

Bidirectional Monte Carlo (Grosse, Ghahramani and Adams 2015): z ~ p(z), x ~ p(x|z) makes z an exact sample of p(z|x),
from which an annealed chain runs backwards to an upper bound. The mean of log p(x) lies between the two means, up to
their standard errors, and any other estimate on the same x can be held against them. It certifies the estimator on
simulated images; on real ones, which the model fits less well, the same estimator can do worse.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.annealing import annealed_lower, annealed_upper, standard_prior, tune_steps
from rdstudy.measures.estimate import Estimate, estimate_mean
from rdstudy.measures.image_distortion import Distortion, ImageDistortion
from rdstudy.measures.prior import LogPrior
from rdstudy.model.objective import Network

Simulate = Callable[[Tensor, torch.Generator], Tensor]
"""(decoder's output `[image, pixel]`, generator) -> x ~ p(x|z) `[image, pixel]`."""


@dataclass(frozen=True)
class Certificate:
    """Bounds on the mean log p(x) of simulated images, in nats; the standard errors are over images."""

    lower: Estimate
    upper: Estimate
    gap: Estimate  # upper - lower, paired by image: free of the spread of log p(x) over images
    lower_bound: Tensor  # [image]
    upper_bound: Tensor  # [image]
    x: Tensor  # [image, pixel]


@torch.no_grad()
def certify(
    decode: Network,
    z: Tensor,
    *,
    encode: Network | None,
    distortion: Distortion,
    simulate: Simulate,
    temperatures: Tensor,
    chains: int,
    leapfrog_steps: int,
    generator: torch.Generator,
    memory_bytes: float,
    log_prior: LogPrior | None = None,
) -> Certificate:
    """Simulate one image for each z and bound its log p(x) from both sides.

    Args:
        decode: the decoder, `[row, latent]` to `[row, pixel]`.
        z: `[image, latent]`, drawn from the prior, in the decoder's dtype.
        encode: the encoder, whose q(z|x) the annealing starts from; None starts from N(0, I).
        distortion: -log p(x|z) of the decoder's output.
        simulate: draws x from that same p(x|z).
        temperatures: `[t]`, two or more, rising from 0 to 1.
        chains: for each image, of the pilot run and of each direction.
        leapfrog_steps: of each move.
        generator: of x and of all chains.
        memory_bytes: of temporaries.
        log_prior: of the prior that z was drawn from; None for N(0, I).

    Raises:
        ValueError: as `tune_steps`.
    """
    if z.ndim != 2 or not z.numel():
        raise ValueError(f"z of shape {tuple(z.shape)}; allowed: [image, latent], one or more of each")
    images = ImageDistortion(decode, distortion, simulate(decode(z), generator), memory_bytes, log_prior)
    initial = standard_prior(images, latent_dim=z.shape[1]) if encode is None else images.posterior(encode)
    path = tune_steps(
        images,
        initial,
        temperatures=temperatures,
        chains=chains,
        leapfrog_steps=leapfrog_steps,
        generator=generator,
    )
    lower = annealed_lower(images, initial, path, chains=chains, generator=generator).bound
    upper = annealed_upper(images, initial, path, exact=z, chains=chains, generator=generator).bound
    return Certificate(estimate_mean(lower), estimate_mean(upper), estimate_mean(upper - lower), lower, upper, images.x)
