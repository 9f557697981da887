"""N(0, I), the prior of the paper."""

import torch
from torch import Tensor

from rdstudy.model.description import NetworkShape
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.priors._prior import LOG_2PI, Encode, Prior


class Normal(Prior):
    """N(0, I), without weights."""

    is_standard_normal = True

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self._latent_dim = shape.latent_dim

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:  # noqa: ARG002
        """-½ Σ (z² + log 2π)."""
        return -0.5 * (z.square() + LOG_2PI).sum(dim=-1)

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:  # noqa: ARG002
        """Standard normal noise."""
        return torch.randn(count, self._latent_dim, generator=generator, device=generator.device)

    def closed_rate(self, posterior: Posterior) -> Tensor:
        """The closed form (paper, equation 5)."""
        return rate(posterior)
