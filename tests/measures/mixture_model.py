"""Linear models under a mixture prior, whose log p(x) and p(z|x) are known: x|z ~ N(W z + b, s² I), in float64.

With p(z) = Σ_k w_k N(m_k, S_k), p(x) = Σ_k w_k N(W m_k + b, W S_k Wᵀ + s² I), and p(z|x) is a mixture of as many
Gaussians. One component is a Gaussian of any mean and covariance: the density of an affine map of N(0, I), a flow.
"""

import functools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from rdstudy.measures.estimate import estimate_mean
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.prior import LogPrior
from rdstudy.model.gaussian import Posterior
from tests.measures.linear_model import LinearModel, linear_model


@dataclass(frozen=True)
class Mixture:
    """p(z) as a `LogPrior`."""

    weight: Tensor  # [component]
    mean: Tensor  # [component, latent]
    covariance: Tensor  # [component, latent, latent]

    def __call__(self, z: Tensor) -> Tensor:
        """Written out, in the dtype of z, and differentiable: log Σ_k w_k N(z; m_k, S_k)."""
        away = z[..., None, :] - self.mean.to(z.dtype)
        distance = (torch.einsum("...ki,kij->...kj", away, self._precision.to(z.dtype)) * away).sum(dim=-1)
        return (self._log_height.to(z.dtype) - 0.5 * distance).logsumexp(dim=-1)

    @functools.cached_property
    def _precision(self) -> Tensor:
        precision: Tensor = torch.linalg.inv(self.covariance)
        return precision

    @functools.cached_property
    def _log_height(self) -> Tensor:
        return self.weight.log() - 0.5 * torch.logdet(2 * math.pi * self.covariance)

    def draw(self, count: int, *, seed: int) -> Tensor:
        """`[draw, latent]`."""
        generator = torch.Generator().manual_seed(seed)
        component = torch.multinomial(self.weight, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.mean.shape[1], generator=generator, dtype=torch.float64)
        factor = torch.linalg.cholesky(self.covariance)[component]
        return self.mean[component] + torch.einsum("nij,nj->ni", factor, noise)


def mixture(*, apart: float = 1.5, latent: int = 3) -> Mixture:
    """Two components of unlike size, whose means lie so far apart."""
    generator = torch.Generator().manual_seed(3)
    factor = 0.4 * torch.randn(2, latent, latent, generator=generator, dtype=torch.float64)
    spread = torch.tensor([0.3, 0.6], dtype=torch.float64)[:, None, None] * torch.eye(latent, dtype=torch.float64)
    mean = apart * torch.stack([torch.ones(latent), -torch.arange(1, latent + 1) / 2]).double()
    return Mixture(torch.tensor([0.3, 0.7], dtype=torch.float64), mean, factor @ factor.mT + spread)


def affine(*, latent: int = 3) -> Mixture:
    """An invertible affine map of N(0, I)."""
    generator = torch.Generator().manual_seed(4)
    factor = torch.randn(1, latent, latent, generator=generator, dtype=torch.float64)
    mean = torch.randn(1, latent, generator=generator, dtype=torch.float64)
    return Mixture(torch.ones(1, dtype=torch.float64), mean, factor @ factor.mT + 0.1 * torch.eye(latent))


def standard_normal(*, latent: int = 3) -> Mixture:
    """N(0, I) as a function: what must give the same as no function."""
    identity = torch.eye(latent, dtype=torch.float64)[None]
    return Mixture(torch.ones(1, dtype=torch.float64), torch.zeros(1, latent, dtype=torch.float64), identity)


@dataclass(frozen=True)
class MixtureModel:
    linear: LinearModel = field(default_factory=lambda: linear_model(orthogonal=False))
    prior: Mixture = field(default_factory=mixture)

    def draw(self, images: int, *, seed: int) -> tuple[Tensor, Tensor]:
        """Simulated `(z [image, latent], x [image, pixel])`."""
        z = self.prior.draw(images, seed=seed)
        return z, self.linear.simulate(self.linear.decode(z), torch.Generator().manual_seed(seed + 1))

    def judge(self, x: Tensor, *, log_prior: LogPrior | None, memory_bytes: float = 1e8) -> ImageDistortion:
        return ImageDistortion(self.linear.decode, self.linear.distortion, x, memory_bytes, log_prior)

    def log_marginal(self, x: Tensor) -> Tensor:
        """By the density of each component's x, which PyTorch knows: `[image]`."""
        weight, noise = self.linear.weight, self.linear.noise_scale**2
        terms = [
            math.log(share)
            + MultivariateNormal(
                weight @ mean + self.linear.bias,
                weight @ covariance @ weight.T + noise * torch.eye(len(weight), dtype=torch.float64),
            ).log_prob(x)
            for share, mean, covariance in zip(self.prior.weight, self.prior.mean, self.prior.covariance, strict=True)
        ]
        return torch.stack(terms).logsumexp(dim=0)

    def posterior(self, x: Tensor) -> Mixture:
        """p(z|x) of one image `[pixel]`."""
        weight, mean, covariance = self.posteriors(x[None])
        return Mixture(weight[0], mean[0], covariance)

    def posteriors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of p(z|x) of images, weights `[image, component]`, means `[image, component, latent]` and covariances."""
        weight, noise = self.linear.weight, self.linear.noise_scale**2
        residual = x - self.linear.bias
        covariance = torch.linalg.inv(torch.linalg.inv(self.prior.covariance) + weight.T @ weight / noise)
        shift = torch.linalg.solve(self.prior.covariance, self.prior.mean[..., None])[..., 0]
        mean = torch.einsum("kij,nkj->nki", covariance, shift + (residual @ weight / noise)[:, None])
        components = range(len(self.prior.weight))
        alone = [MixtureModel(self.linear, self.prior_component(k)).log_marginal(x) for k in components]
        return (self.prior.weight.log() + torch.stack(alone, dim=1)).softmax(dim=1), mean, covariance

    def prior_component(self, k: int) -> Mixture:
        mean, covariance = self.prior.mean[k : k + 1], self.prior.covariance[k : k + 1]
        return Mixture(torch.ones(1, dtype=torch.float64), mean, covariance)


def gen(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 6) -> Tensor:
    return torch.randn(shape, generator=gen(seed), dtype=torch.float64)


def moments(model: MixtureModel, x: Tensor) -> Posterior:
    """The diagonal Gaussian with the mean and the variances of each p(z|x), `[image, latent]`."""
    weight, means, covariance = model.posteriors(x)
    share = weight[..., None]
    mean = (share * means).sum(dim=1)
    square = (share * (covariance.diagonal(dim1=-2, dim2=-1) + means.square())).sum(dim=1)
    return Posterior(mean, (square - mean.square()).log())


def within(values: Tensor, *, errors: float = 3.0, nats: float) -> bool:
    """Whether a mean over images is 0, up to its standard error and a bias of `nats`."""
    mean = estimate_mean(values)
    return abs(mean.value) < errors * mean.standard_error + nats
