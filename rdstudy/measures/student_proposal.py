"""Proposals for importance sampling with tails that are heavier than a posterior's: mixtures of multivariate t.

One proposal an image. Axis order: `component, sample, image`, then the latent dimension. Float64, nats.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FREEDOM = 5
"""Degrees of freedom. Few, so that the weights of a Gaussian target are bounded: with 5, a fifth of the draws
is lost in ten dimensions."""


@dataclass(frozen=True)
class Student:
    """One component: z = mean + scale ε √(ν / χ²_ν), with ε standard normal."""

    mean: Tensor  # [image, latent]
    scale: Tensor  # [image, latent, latent], lower triangular

    def sample(self, noise: Tensor) -> Tensor:
        """Draws `[sample, image, latent]` from standard normal noise `[sample, image, latent + FREEDOM]`."""
        latent = self.mean.shape[-1]
        chi2 = noise[..., latent:].square().sum(dim=-1, keepdim=True)
        spread = noise[..., :latent] * (FREEDOM / chi2).sqrt()
        return self.mean + torch.einsum("ijk,sik->sij", self.scale, spread)

    def log_density(self, z: Tensor) -> Tensor:
        """The density at z `[sample, image, latent]`: `[sample, image]`."""
        latent = self.mean.shape[-1]
        away = (z - self.mean).permute(1, 2, 0)  # [image, latent, sample]
        spread = torch.linalg.solve_triangular(self.scale, away, upper=False).square().sum(dim=1).T
        log_det = self.scale.diagonal(dim1=-2, dim2=-1).log().sum(dim=-1)
        height = (
            math.lgamma((FREEDOM + latent) / 2) - math.lgamma(FREEDOM / 2) - latent / 2 * math.log(FREEDOM * math.pi)
        )
        return height - log_det - (FREEDOM + latent) / 2 * torch.log1p(spread / FREEDOM)

    def select(self, chosen: slice | Tensor) -> "Student":
        """The proposals of some of the images."""
        return Student(self.mean[chosen], self.scale[chosen])


def mixture_log_density(components: list[Student], draws: list[int], z: Tensor) -> Tensor:
    """The density of all components together, each with the share of draws that it made: `[sample, image]`."""
    total = sum(draws)
    logs = [c.log_density(z) + math.log(n / total) for c, n in zip(components, draws, strict=True)]
    return torch.stack(logs).logsumexp(dim=0)


def moment_matched(z: Tensor, log_weights: Tensor, *, fallback: Student) -> Student:
    """A component with the mean and covariance of weighted draws, drawn towards those of `fallback`.

    Args:
        z: `[sample, image, latent]`.
        log_weights: `[sample, image]`.
        fallback: counts as `latent + 2` draws, so that few effective draws make no degenerate covariance.
    """
    weights = log_weights.softmax(dim=0)
    effective = 1 / weights.square().sum(dim=0)  # [image]
    mean = torch.einsum("si,sij->ij", weights, z)
    away = z - mean
    covariance = torch.einsum("si,sij,sik->ijk", weights, away, away)
    share = (z.shape[-1] + 2) / (effective + z.shape[-1] + 2)  # of `fallback`
    fallen_back = fallback.scale @ fallback.scale.mT
    mixed = (1 - share)[:, None, None] * covariance + share[:, None, None] * fallen_back
    return Student(mean, torch.linalg.cholesky(mixed))
