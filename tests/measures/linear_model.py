"""A model whose log p(x) and p(z|x) are known: x|z ~ N(W z + b, s² I), z ~ N(0, I), here in float64.

log p(x) = log N(x; b, W Wᵀ + s² I); p(z|x) = N(S Wᵀ (x - b) / s², S) with S⁻¹ = I + Wᵀ W / s².
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

LATENT, PIXELS = 3, 7


@dataclass(frozen=True)
class LinearModel:
    weight: Tensor  # [pixel, latent]
    bias: Tensor  # [pixel]
    noise_scale: float

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.weight.T + self.bias

    def distortion(self, output: Tensor, x: Tensor) -> Tensor:
        density = 0.5 * ((x - output) / self.noise_scale).square() + math.log(self.noise_scale)
        return (density + 0.5 * math.log(2 * math.pi)).sum(dim=-1)

    def simulate(self, output: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(output.shape, generator=generator, dtype=output.dtype)
        return output + self.noise_scale * noise

    @property
    def precision(self) -> Tensor:
        """Of p(z|x), `[latent, latent]`."""
        return torch.eye(LATENT, dtype=torch.float64) + self.weight.T @ self.weight / self.noise_scale**2

    def posterior_mean(self, x: Tensor) -> Tensor:
        covariance: Tensor = torch.linalg.inv(self.precision)
        return (x - self.bias) @ self.weight @ covariance / self.noise_scale**2

    def log_marginal(self, x: Tensor) -> Tensor:
        noise = self.noise_scale**2 * torch.eye(PIXELS, dtype=torch.float64)
        covariance = self.weight @ self.weight.T + noise
        residual = x - self.bias
        distance = (residual * (residual @ torch.linalg.inv(covariance))).sum(dim=-1)
        log_volume: Tensor = torch.logdet(covariance)
        result: Tensor = -0.5 * (distance + log_volume + PIXELS * math.log(2 * math.pi))
        return result

    def encode(self, x: Tensor, *, widen: float = 0.0, shift: float = 0.0) -> Tensor:
        """The best diagonal posterior, variances 1 / precision_jj: exact for orthogonal columns; worse on demand."""
        log_var = -torch.diagonal(self.precision).log().expand(len(x), LATENT)
        mean = self.posterior_mean(x) + shift * torch.exp(0.5 * log_var)
        return torch.cat([mean, log_var + widen], dim=-1)

    def draw(self, images: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Simulated `(z [image, latent], x [image, pixel])`."""
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(images, LATENT, generator=generator, dtype=torch.float64)
        return z, self.simulate(self.decode(z), generator)


def linear_model(*, orthogonal: bool) -> LinearModel:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(PIXELS, LATENT, generator=generator, dtype=torch.float64)
    if orthogonal:
        weight = torch.linalg.qr(weight)[0] * torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64)
    bias = torch.randn(PIXELS, generator=generator, dtype=torch.float64)
    return LinearModel(weight, bias, noise_scale=1.3)


def linear_temperatures(count: int) -> Tensor:
    """Evenly spaced temperatures from 0 to 1, `[count]`."""
    return torch.linspace(0, 1, count, dtype=torch.float64)
