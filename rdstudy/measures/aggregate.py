"""The aggregate posterior q(z) = 1/N Σ_n q(z|x_n) over all N images of a subset, exactly (design, 6).

A density of z is a log-sum-exp over images, carried along block by block, and no image is left out. It is computed in
float64 whatever the type of the posteriors, from differences z - μ: exact between a z and the mean that it was drawn
around, so that needles (the tiny variances of β → 0) of any width come out right. The matrix product of the expanded
square, (μ² - 2 z μ + z²) / σ², takes less than half the time but loses some ε μ² / σ² nats. Measured at |μ| of 3:
3·10⁻⁵ nats at log σ² = -20 and 2·10⁴ at -40 in float64, 8·10³ at -20 in float32.

Axis order: `sample, image`, then the latent dimension; a sample is a z, wherever it was drawn.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.model.gaussian import Posterior

LOG_2PI = math.log(2 * math.pi)
_CPU_BLOCK_IMAGES = 2048
_CPU_BLOCK_BYTES = 2 * 2**20  # two arrays that stay in a core's cache; larger blocks took up to twice as long
_NEGLIGIBLE = -100.0  # e^-100 beside 1 is far below rounding; exp of less takes 6 to 20 times as long on a CPU


@torch.no_grad()
def aggregate_log_density(z: Tensor, posterior: Posterior, *, memory_bytes: float) -> Tensor:
    """The density log q(z) = log 1/N Σ_n Π_j N(z_j; μ_nj, σ²_nj), in nats.

    Args:
        z: `[sample, latent]`.
        posterior: `[image, latent]`, all N images that are aggregated.
        memory_bytes: bound on the memory of temporaries that grow with samples × images, one of each at least; values
            do not depend on it, up to rounding.

    Returns:
        `[sample]`, in the type of `z`.

    Raises:
        ValueError: nothing to aggregate, shapes that do not match, or values that are not finite, the result's among
            them (a z so far from all images that log q(z) has no float64).
    """
    check_posterior(posterior)
    check_finite(z, "z")
    if z.ndim != 2 or z.shape[1] != posterior.mean.shape[1]:
        allowed = f"[sample, {posterior.mean.shape[1]}]"
        raise ValueError(f"z has the shape {list(z.shape)}; allowed: {allowed}, the posteriors' latent dimensions")
    if not memory_bytes > 0:
        raise ValueError(f"memory_bytes is {memory_bytes}; allowed: more than 0")
    columns = z.double().T.contiguous()
    log_sum = torch.full((len(z),), -math.inf, dtype=torch.float64, device=z.device)
    block = _Block.within(memory_bytes, samples=len(z), posterior=posterior)
    for images in block.images_of(len(posterior.mean)):
        components = _Components.of(Posterior(posterior.mean[images], posterior.log_var[images]))
        for rows in block.samples_of(len(z)):
            log_q = components.log_densities(columns[:, rows])
            log_sum[rows] = torch.logaddexp(log_sum[rows], _log_sum_exp_in_place(log_q))
    check_finite(log_sum, "log q(z)")
    return (log_sum - math.log(len(posterior.mean))).to(z.dtype)


def marginal_log_densities(z: Tensor, posterior: Posterior, *, memory_bytes: float) -> Tensor:
    """The density log q(z_j) = log 1/N Σ_n N(z_j; μ_nj, σ²_nj) of each latent dimension on its own, in nats.

    Args and errors are those of `aggregate_log_density`.

    Returns:
        `[sample, latent]`, in the type of `z`.
    """
    check_posterior(posterior)
    dimensions = range(posterior.mean.shape[1])
    of_dimensions = [
        aggregate_log_density(
            z[:, j : j + 1],
            Posterior(posterior.mean[:, j : j + 1], posterior.log_var[:, j : j + 1]),
            memory_bytes=memory_bytes,
        )
        for j in dimensions
    ]
    return torch.stack(of_dimensions, dim=1)


def log_density(z: Tensor, posterior: Posterior) -> Tensor:
    """The density log q(z|x) = -½ Σ_j (z_j - μ_j)² / σ_j² + log σ_j² + log 2π of each z under its posterior, in nats.

    Both are `[..., latent]`, and the density is `[...]`, differentiable.
    """
    deviation = (z - posterior.mean) * torch.exp(-0.5 * posterior.log_var)
    return -0.5 * (deviation.square() + posterior.log_var + LOG_2PI).sum(dim=-1)


def check_posterior(posterior: Posterior, *, name: str = "posterior") -> None:
    """Raise ValueError unless it is `[image, latent]` with an image and a dimension at least, and finite."""
    mean, log_var = posterior.mean, posterior.log_var
    if mean.ndim != 2 or mean.shape != log_var.shape or not mean.numel():
        shapes = f"mean {list(mean.shape)} and log_var {list(log_var.shape)}"
        raise ValueError(f"{name} has {shapes}; allowed: [image, latent] for both, 1 or more of each")
    check_finite(mean, f"the mean of {name}")
    check_finite(log_var, f"the log_var of {name}")


def check_finite(values: Tensor, name: str) -> None:
    """Raise ValueError if a value is not finite, without a temporary of their size."""
    if not values.numel():
        return
    low, high = torch.aminmax(values.detach())
    if not (low.isfinite() and high.isfinite()):
        raise ValueError(f"{name} holds values that are not finite; allowed: finite ones")


@dataclass(frozen=True)
class _Components:
    """The Gaussians of a block of images, latent dimension first, in float64."""

    mean: Tensor  # [latent, image]
    inverse_deviation: Tensor  # [latent, image]
    log_height: Tensor  # [image], the log density at the mean

    @classmethod
    def of(cls, posterior: Posterior) -> "_Components":
        log_var = posterior.log_var.double().T.contiguous()
        log_height = -0.5 * (log_var + LOG_2PI).sum(dim=0)
        return cls(posterior.mean.double().T.contiguous(), torch.exp(-0.5 * log_var), log_height)

    def log_densities(self, columns: Tensor) -> Tensor:
        """All log q(z|x_n) `[sample, image]` of columns `[latent, sample]`."""
        log_q = self.log_height.repeat(columns.shape[1], 1)
        deviation = torch.empty_like(log_q)
        for column, mean, inverse in zip(columns, self.mean, self.inverse_deviation, strict=True):
            torch.sub(column[:, None], mean, out=deviation)  # first the difference: it is exact where it matters
            deviation.mul_(inverse)
            log_q.addcmul_(deviation, deviation, value=-0.5)
        return log_q


def _log_sum_exp_in_place(log_q: Tensor) -> Tensor:
    """Log-sum-exp over the last axis, in a third of the time of torch's own on a CPU; `log_q` is overwritten."""
    highest = log_q.amax(dim=1, keepdim=True)  # if -inf, the outcome is nan, which the caller refuses
    log_q.sub_(highest).clamp_(min=_NEGLIGIBLE)
    return log_q.exp_().sum(dim=1).log_().add_(highest[:, 0])


@dataclass(frozen=True)
class _Block:
    """How many samples are compared with how many images at once; one of each at least."""

    samples: int
    images: int

    @classmethod
    def within(cls, memory_bytes: float, *, samples: int, posterior: Posterior) -> "_Block":
        """As many as fit: two arrays `[sample, image]`, and at most four `[latent, image]`, of float64.

        A GPU takes all images at once where half of the memory holds what grows with them alone: each block costs it
        some 40 kernels, whatever its size.
        """
        per_image = 8 * (2 + 4 * posterior.mean.shape[1])  # with one sample
        most = len(posterior.mean)
        if posterior.mean.device.type == "cpu":
            memory_bytes = min(memory_bytes, _CPU_BLOCK_BYTES)
            images = max(1, int(min(_CPU_BLOCK_IMAGES, most, memory_bytes / per_image)))
        else:
            images = max(1, int(min(most, memory_bytes / 2 / per_image)))
        left = memory_bytes - (per_image - 16) * images
        return cls(samples=max(1, int(min(samples, left / (16 * images)))), images=images)

    def samples_of(self, number: int) -> Iterator[slice]:
        return slices(number, self.samples)

    def images_of(self, number: int) -> Iterator[slice]:
        return slices(number, self.images)


def slices(number: int, size: int) -> Iterator[slice]:
    """Cut so many rows into blocks of at most `size`."""
    return (slice(start, min(start + size, number)) for start in range(0, number, size))
