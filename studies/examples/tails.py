"""A prior of one's own: independent Laplace dimensions, whose scales are trained."""

import math

import torch
from torch import Tensor, nn

from rdstudy.model.networks import NetworkShape
from rdstudy.model.priors import Encode, Prior


class HeavyTailed(Prior):
    """Π_j exp(-|z_j| / b_j) / (2 b_j), with b_j = `scale` at the start."""

    def __init__(self, shape: NetworkShape, *, scale: float = 1.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.full((shape.latent_dim,), math.log(scale)))

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:  # noqa: ARG002, D102
        return (-z.abs() * torch.exp(-self.log_scale) - self.log_scale - math.log(2)).sum(dim=-1)

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:  # noqa: ARG002, D102
        u = torch.rand(count, len(self.log_scale), generator=generator, device=generator.device) - 0.5
        return -torch.exp(self.log_scale) * u.sign() * torch.log1p(-2 * u.abs())
