"""Importance weights of a given proposal (Burda et al. 2016, equation 8).

The weight of a sample z = μ + σ ε from the proposal q(z|x) = N(μ, σ²) is w = p(x|z) p(z) / q(z|x), so that, with ε as
the coordinate, log w = -D(x, z) - ½ |z|² + ½ |ε|² + ½ Σ log σ²: the factors of 2π cancel, and so do the σ of a
proposal however narrow, which a density evaluated at a rounded z would not survive. Under another prior its energy
(`rdstudy.measures.prior`) is in the place of ½ |z|². Sums over pixels and latent
dimensions, in nats per image; float64 but for the decoder. Axis order: `sample, image`, then features.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.noise import Noise, normal
from rdstudy.model.gaussian import Posterior


@dataclass(frozen=True)
class Weighed:
    """Samples with the logs of their weights and the derivatives of these in the noise."""

    noise: Tensor  # [sample, image, latent]: ε
    log_weight: Tensor  # [sample, image], nats
    gradient: Tensor  # [sample, image, latent]


def effective_samples(log_weights: Tensor) -> Tensor:
    """(Σ w)² / Σ w² of logs of weights `[sample, image]`, `[image]`: from 1 to the number of samples (Kish 1965)."""
    total, squares = log_weights.logsumexp(dim=0), (2 * log_weights).logsumexp(dim=0)
    # Between these by the inequality of Cauchy and Schwarz: what the clamp takes away is rounding.
    return (2 * total - squares).exp().clamp(1, len(log_weights))


def log_mean_exp(values: Tensor) -> Tensor:
    """The log of a mean, log (1/K) Σ_k exp(v_k), over the first axis: `[sample, ...]` to `[...]`."""
    return values.logsumexp(dim=0) - math.log(len(values))


def log_weights(images: ImageDistortion, proposal: Posterior, noise: Tensor) -> Tensor:
    """Log weights of z = μ + σ ε for a float64 proposal `[image, latent]` and ε `[sample, image, latent]`.

    Returns:
        `[sample, image]`, nats.

    Raises:
        ValueError: one of them is not finite.
    """
    z = proposal.sample(noise)
    ratio = _log_ratio(images, proposal, noise, z, energy=images.prior.energy(z))
    return require_finite(ratio - images.at(z), "log weights")


def weigh(images: ImageDistortion, proposal: Posterior, noise: Tensor) -> Weighed:
    """`log_weights` and their derivative in the noise: ε - σ (∂U/∂z + ∂D/∂z), with U the energy of the prior.

    Values that are not finite stay so: a Hamiltonian move may propose a point where the decoder overflows.
    """
    z = proposal.sample(noise)
    at, prior = images.with_gradient(z), images.prior.with_gradient(z)
    gradient = noise - torch.exp(0.5 * proposal.log_var) * (prior.gradient + at.gradient)
    ratio = _log_ratio(images, proposal, noise, z, energy=prior.energy)
    return Weighed(noise, ratio - at.distortion, gradient)


def double_proposal(images: ImageDistortion, proposal: Posterior) -> Posterior:
    """The proposal in float64.

    Raises:
        ValueError: it is not `[image, latent]` for these images, or not finite.
    """
    mean, log_var = proposal.mean, proposal.log_var
    if mean.ndim != 2 or mean.shape != log_var.shape or len(mean) != len(images.x) or not mean.numel():
        raise ValueError(
            f"posterior of shapes {tuple(mean.shape)} and {tuple(log_var.shape)}; "
            f"allowed: [image, latent] with {len(images.x)} images"
        )
    return Posterior(
        require_finite(mean.double(), "posterior means"), require_finite(log_var.double(), "posterior log variances")
    )


def draw_noise(samples: int, mean: Tensor, generator: Noise) -> Tensor:
    """Standard normal noise `[sample, image, latent]` for means `[image, latent]`, in one draw of float64."""
    return normal(generator, (samples, *mean.shape)).to(mean.device)


def require_finite(values: Tensor, name: str) -> Tensor:
    """The values, if all are finite.

    Raises:
        ValueError: some are not.
    """
    bad = int((~values.isfinite()).sum())
    if bad:
        raise ValueError(f"{bad} of {values.numel()} {name} are not finite; allowed: finite ones")
    return values


def _log_ratio(images: ImageDistortion, proposal: Posterior, noise: Tensor, z: Tensor, *, energy: Tensor) -> Tensor:
    """The log ratio of p(z) and q(z|x), `[sample, image]`, for the prior's `energy` at z."""
    if images.log_prior is not None:
        return 0.5 * (noise.square() + proposal.log_var).sum(dim=-1) - energy
    # In one sum, dimension by dimension: of a posterior near the prior it loses least to rounding.
    return 0.5 * (noise.square() - z.square() + proposal.log_var).sum(dim=-1)
