"""Importance-weighted log p(x) with a given proposal, such as the encoder's: what fitted proposals are held against."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import Distortion, ImageDistortion
from rdstudy.measures.importance import double_proposal, draw_noise, effective_samples, log_mean_exp, log_weights
from rdstudy.model.gaussian import Posterior
from rdstudy.model.objective import Network


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
    """The estimate from the logs of weights `[sample, image]`."""
    return LogMarginal(log_mean_exp(log_weights), log_weights.mean(dim=0), effective_samples(log_weights))


def log_marginal(
    encode: Network,
    decode: Network,
    x: Tensor,
    *,
    distortion: Distortion,
    samples: int,
    generator: torch.Generator,
    memory_bytes: float,
) -> LogMarginal:
    images = ImageDistortion(decode, distortion, x, memory_bytes)
    return importance_sampled(images, images.posterior(encode), samples=samples, generator=generator)
