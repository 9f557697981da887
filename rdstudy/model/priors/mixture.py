"""A mixture of k diagonal Gaussians, weights, means and variances trained jointly with the networks."""

import torch
from torch import Tensor, nn

from rdstudy.model.description import NetworkShape
from rdstudy.model.priors._prior import Encode, Prior, mixture_log_density, mixture_sample


class Mixture(Prior):
    """Σ_k w_k N(μ_k, diag σ_k²). It starts near N(0, I): equal weights, unit variances, means half as far apart.

    A mixture of one is a normal density whose mean and variances are trained: up to what encoder and decoder can undo,
    N(0, I).
    """

    def __init__(self, shape: NetworkShape, *, k: int) -> None:
        super().__init__()
        self.logit = nn.Parameter(torch.zeros(k))
        self.mean = nn.Parameter(0.5 * torch.randn(k, shape.latent_dim))
        self.log_var = nn.Parameter(torch.zeros(k, shape.latent_dim))

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:  # noqa: ARG002
        """Log Σ_k w_k N(z; μ_k, σ_k²)."""
        return mixture_log_density(z, self.logit.log_softmax(dim=0), self.mean, self.log_var)

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:  # noqa: ARG002
        """A component for each draw, then a draw from it."""
        return mixture_sample(count, generator, self.logit.log_softmax(dim=0), self.mean, self.log_var)
