"""Importance weights of a given proposal, their log p(x) (Burda et al. 2016, equation 8), the sampled ELBO beside it.

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
class LogMarginal:
    """What K samples an image say about log p(x), in nats, float64."""

    log_marginal: Tensor  # [image]: log of the mean weight
    elbo: Tensor  # [image]: mean log weight of the same samples
    effective_samples: Tensor  # [image]: (Σ w)² / Σ w², from 1 to K (Kish 1965)

    @property
    def inference_gap(self) -> Tensor:
        """The gap log p(x) - ELBO, `[image]`: never negative, as both come from the same samples (Jensen)."""
        return self.log_marginal - self.elbo


@dataclass(frozen=True)
class Weighed:
    """Samples with the logs of their weights and the derivatives of these in the noise."""

    noise: Tensor  # [sample, image, latent]: ε
    log_weight: Tensor  # [sample, image], nats
    gradient: Tensor  # [sample, image, latent]


@torch.no_grad()
def importance_sampled(
    images: ImageDistortion, proposal: Posterior, *, samples: int, generator: torch.Generator
) -> LogMarginal:
    """Estimate log p(x) of each image from samples of a diagonal Gaussian proposal, such as the encoder's q(z|x).

    The estimate is a lower bound in expectation only, by about var(w) / (2 K mean(w)²): a single value may lie above.
    Do not believe it where `effective_samples` is near 1: one sample then carries all the weight, the true mean lies
    in samples never drawn, and the estimate is too low by an unknown amount. That is what an encoder gives whose
    posterior is much narrower than the true one, as for β → 0, or that misplaces test images: 90 nats were seen. And
    an effective sample size can itself be high because every sample misses. `rdstudy.measures.fitted_importance` fits
    a proposal to each image, and is what studies measure.

    Args:
        images: the images and the model.
        proposal: `[image, latent]`.
        samples: K, samples an image.
        generator: of the noise; drawn image by image, `[sample, latent]` each, whatever the memory.

    Raises:
        ValueError: no samples, shapes that do not match, a posterior or a weight that is not finite.
    """
    if samples < 1:
        raise ValueError(f"{samples} importance samples; allowed: 1 or more")
    proposal = double_proposal(images, proposal)
    at_once = max(1, images.rows_at_once // samples)
    parts = []
    for first in range(0, len(images.x), at_once):
        block = slice(first, first + at_once)
        here = Posterior(proposal.mean[block], proposal.log_var[block])
        # One draw an image, not one a block: the numbers must not depend on how many images fit into the memory.
        noise = torch.cat([draw_noise(samples, mean[None], generator) for mean in here.mean], dim=1)
        parts.append(summarize(log_weights(images.select(block), here, noise)))
    return LogMarginal(
        torch.cat([part.log_marginal for part in parts]),
        torch.cat([part.elbo for part in parts]),
        torch.cat([part.effective_samples for part in parts]),
    )


def summarize(log_weights: Tensor) -> LogMarginal:
    """The estimate from the logs of weights `[sample, image]`, by sums that neither overflow nor vanish."""
    total, squares = log_weights.logsumexp(dim=0), (2 * log_weights).logsumexp(dim=0)
    # Between 1 and K by the inequality of Cauchy and Schwarz: what the clamp takes away is rounding.
    effective = (2 * total - squares).exp().clamp(1, len(log_weights))
    return LogMarginal(log_mean_exp(log_weights), log_weights.mean(dim=0), effective)


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
