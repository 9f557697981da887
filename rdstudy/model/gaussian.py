"""The diagonal Gaussian posterior q(z|x) and its rate against the prior N(0, I) (paper, 2).

Sums over latent dimensions. The last axis is the latent dimension; all axes before it are kept.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Posterior:
    """q(z|x) = N(mean, exp(log_var))."""

    mean: Tensor  # [..., latent]
    log_var: Tensor  # [..., latent]

    @classmethod
    def from_code(cls, code: Tensor) -> "Posterior":
        """Read the encoder's output `[..., 2 latent]`: means, then logs of variances."""
        mean, log_var = code.chunk(2, dim=-1)
        return cls(mean, log_var)

    def sample(self, noise: Tensor) -> Tensor:
        """Draw z = mean + exp(log_var / 2) noise, `[..., latent]`, for standard normal noise of that shape."""
        return self.mean + torch.exp(0.5 * self.log_var) * noise


def rate(posterior: Posterior) -> Tensor:
    """KL(q(z|x) || N(0, I)) = ½ Σ (μ² + σ² - 1 - log σ²), in nats per image (paper, equation 5).

    Returns:
        `[...]`.
    """
    mean, log_var = posterior.mean, posterior.log_var
    return 0.5 * (mean.square() + log_var.expm1() - log_var).sum(dim=-1)


def rate_gradient(posterior: Posterior) -> Tensor:
    """The derivative of `rate` in the encoder's output: μ, then ½ (σ² - 1).

    Returns:
        `[..., 2 latent]`.
    """
    return torch.cat([posterior.mean, 0.5 * posterior.log_var.expm1()], dim=-1)
