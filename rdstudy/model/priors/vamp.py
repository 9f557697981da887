"""The variational mixture of posteriors, VampPrior (Tomczak and Welling 2018, equation 9)."""

import math

import torch
from torch import Tensor, nn

from rdstudy.model.description import NetworkShape
from rdstudy.model.gaussian import Posterior
from rdstudy.model.priors._prior import Encode, Prior, mixture_log_density, mixture_sample


class Vamp(Prior):
    """1/K Σ_k q(z|u_k): posteriors of k pseudo-inputs u = sigmoid(w), images trained jointly with the networks."""

    def __init__(self, shape: NetworkShape, *, k: int) -> None:
        super().__init__()
        self.pixel = nn.Parameter(torch.randn(k, shape.pixels))  # before the sigmoid

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:
        """Log 1/K Σ_k q(z|u_k); gradients reach the encoder too."""
        return mixture_log_density(z, *self._components(encode))

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:
        """A pseudo-input for each draw, then a draw from its posterior."""
        return mixture_sample(count, generator, *self._components(encode))

    def _components(self, encode: Encode) -> tuple[Tensor, Tensor, Tensor]:
        posterior = Posterior.from_code(encode(torch.sigmoid(self.pixel)))
        log_weight = torch.full_like(posterior.mean[:, 0], -math.log(len(self.pixel)))
        return log_weight, posterior.mean, posterior.log_var
