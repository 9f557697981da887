"""The decoder of infinite capacity, which memorizes the training set (paper, 2; Alemi et al. 2018; Shu et al. 2018).

Given an encoder and training images x_n, the reconstruction of least mean distortion under q(z|x_n) / N is the mean of
the training images under the encoder's own posterior over them,

    x*(z) = Σ_n w_n(z) x_n,    w_n(z) = q(z|x_n) / Σ_m q(z|x_m)

for a Bernoulli and for a Gaussian likelihood alike. Its distortion is what no decoder gets below on the training set;
on other images it says how far a decoder that has learnt the training set by heart would generalize.

Images are flattened, `[image, pixel]`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.special import xlogy

from rdstudy.measures.estimate import Estimate, estimate_mean
from rdstudy.measures.neighbours import check_images
from rdstudy.model.gaussian import Posterior

DistortionOfMean = Callable[[Tensor, Tensor], Tensor]
"""`-log p(x | mean)` of images, `[sample, pixel]` means and `[sample, pixel]` images -> `[sample]` nats."""

LEAST_PROBABILITY = 1 / 510
"""Half a grey level, see `bernoulli_distortion_of_mean`."""

_LEAST_LOG_VAR = -1400.0  # below, exp(-log_var / 2) overflows
_NEGLIGIBLE = 1e-30  # a weight beside the largest: a million of them stay below the rounding of a double
_IMAGE_ROWS = 4096  # training images at once: more makes the product no faster


def bernoulli_distortion_of_mean(mean: Tensor, x: Tensor, *, least_probability: float = LEAST_PROBABILITY) -> Tensor:
    """Bernoulli distortion of given means, -Σ_pixels x log m + (1 - x) log(1 - m), in nats per image.

    A weighted mean of training images is exactly 0 (or 1) where all of them are, and an image that differs there has an
    infinite distortion. So inside each of the two logarithms, a probability below `least_probability` is raised to it:
    - by default to half a grey level: a pixel stored as 0 stands for anything up to 1/510, and no file says more;
    - a black pixel on black costs nothing (clamping m to [ε, 1 - ε] would cost an image of 3,072 pixels 6 nats);
    - the value is never above the true distortion, so a lower bound of any decoder's remains one. It is below by
      x log(ε/m) where m < ε: in the mean over what m is the mean of, by at most ε/e = 0.0007 nats a pixel;
    - a lit pixel that no training image has costs log 510 = 6.2 nats instead of infinity: distortions of images
      outside the training set depend on this choice, and are not comparable across choices.

    Args:
        mean: `[..., pixel]` in [0, 1].
        x: `[..., pixel]` in [0, 1].
        least_probability: more than 0; below 1/255 it changes nothing where `mean` is an image of bytes and is `x`.

    Returns:
        `[...]`.
    """
    log_likelihood = xlogy(x, mean.clamp(min=least_probability))
    log_likelihood += xlogy(1 - x, (1 - mean).clamp(min=least_probability))
    distortion: Tensor = -log_likelihood.sum(dim=-1)
    return distortion


@torch.no_grad()
def optimal_reconstructions(
    z: Tensor, train_posterior: Posterior, train_images: Tensor, *, memory_bytes: float
) -> Tensor:
    """The optimal decoder's reconstruction x*(z) of each code.

    Log-densities are sums of squared differences in float64, never the expanded square: for posteriors as narrow as
    needles (log_var of -20 and below) its terms are so large that they cancel to noise.

    Args:
        z: `[sample, latent]`.
        train_posterior: q(z|x_n), `[image, latent]`.
        train_images: x_n, uint8 `[image, pixel]`.
        memory_bytes: bound on temporaries; at least one code and one image at a time.

    Returns:
        `[sample, pixel]` in [0, 1], in the dtype of z, in which the mean over images is computed too.

    Raises:
        ValueError: shapes do not match, there are no codes or images, a number is not finite, or a code is so far
            from all posteriors that no double holds its density.
    """
    _check(z, train_posterior, train_images)
    rows = _sample_rows(train_images, memory_bytes)
    blocks = torch.split(z, rows)
    return torch.cat([_reconstruct(block, train_posterior, train_images, memory_bytes / 2) for block in blocks])


@torch.no_grad()
def optimal_distortion(
    z: Tensor,
    *,
    images: Tensor,
    train_posterior: Posterior,
    train_images: Tensor,
    memory_bytes: float,
    distortion_of_mean: DistortionOfMean = bernoulli_distortion_of_mean,
) -> Estimate:
    """Mean distortion of images under the optimal decoder of the training set, in nats per image.

    Args:
        z: `[sample, latent]`, one draw from q(z|x) for each of `images`; the standard error takes samples to be
            independent, which several draws of one image are not.
        images: `[sample, pixel]`, of any subset: uint8, or floats in [0, 1].
        train_posterior: q(z|x_n), `[image, latent]`.
        train_images: x_n, uint8 `[image, pixel]`.
        memory_bytes: bound on temporaries; at least one code and one image at a time.
        distortion_of_mean: the likelihood.

    Raises:
        ValueError: as for `optimal_reconstructions`, or a distortion is not finite.
    """
    _check(z, train_posterior, train_images)
    check_images("images", images, like=train_images)
    if len(images) != len(z):
        raise ValueError(f"{len(images)} images and {len(z)} codes z; allowed: one code an image")
    rows = _sample_rows(train_images, memory_bytes)
    distortion = []
    for codes, own in zip(torch.split(z, rows), torch.split(images, rows), strict=True):
        mean = _reconstruct(codes, train_posterior, train_images, memory_bytes / 2)
        x = own.to(codes.dtype).div_(255.0) if own.dtype == torch.uint8 else own.to(codes.dtype)
        distortion.append(distortion_of_mean(mean, x))
    return estimate_mean(torch.cat(distortion))


def _reconstruct(z: Tensor, posterior: Posterior, images: Tensor, memory_bytes: float) -> Tensor:
    """One pass over the training images, with sums that are rescaled when a larger weight turns up."""
    total = torch.zeros(len(z), images.shape[1], dtype=torch.float64, device=z.device)  # Σ weight · image
    mass = torch.zeros(len(z), 1, dtype=torch.float64, device=z.device)  # Σ weight
    top = torch.full_like(mass, float("-inf"))  # the log of the largest weight so far, at which sums are scaled to 1
    rows = max(1, min(_IMAGE_ROWS, int(memory_bytes / (17 * images.shape[1] + 40 * len(z)))))
    for first in range(0, len(images), rows):
        block = slice(first, first + rows)
        log_weight = _log_density(z, Posterior(posterior.mean[block], posterior.log_var[block]))
        new_top = torch.maximum(top, log_weight.amax(dim=1, keepdim=True))
        scale = new_top.clamp(min=torch.finfo(torch.float64).min)  # -inf minus -inf is no number
        weight = torch.exp(log_weight.sub_(scale))
        kept = torch.exp(top - scale)
        top = new_top
        mass.mul_(kept).add_(weight.sum(dim=1, keepdim=True))
        used = (weight.amax(dim=0) > _NEGLIGIBLE).nonzero().squeeze(1)  # needles: few images, a small product
        product = weight.index_select(1, used).to(z.dtype) @ images[block].index_select(0, used).to(z.dtype)
        total.mul_(kept).add_(product)
    far = int((mass == 0).sum())
    if far:
        raise ValueError(f"{far} of {len(z)} codes z have density 0 under all training posteriors, in float64")
    return total.div_(mass).to(z.dtype).div_(255.0).clamp_(max=1)  # weights are rounded: a sum may exceed 1 by an ulp


def _log_density(z: Tensor, posterior: Posterior) -> Tensor:
    """Log q(z|x_n) up to a constant, `[sample, image]` float64."""
    z, mean, log_var = z.double(), posterior.mean.double(), posterior.log_var.double()
    precision = torch.exp(-0.5 * log_var)
    log_density = (-0.5 * log_var.sum(dim=1)).repeat(len(z), 1)
    for j in range(z.shape[1]):
        deviation = (z[:, j, None] - mean[:, j]).mul_(precision[:, j])
        log_density.addcmul_(deviation, deviation, value=-0.5)
    return log_density


def _sample_rows(train_images: Tensor, memory_bytes: float) -> int:
    return max(1, int(memory_bytes / 2 / (64 * train_images.shape[1])))


def _check(z: Tensor, posterior: Posterior, train_images: Tensor) -> None:
    check_images("training images", train_images, only_bytes=True)
    if z.ndim != 2 or not z.numel():
        raise ValueError(f"codes z of shape {tuple(z.shape)}; allowed: [sample, latent], 1 or more of both")
    expected = (len(train_images), z.shape[1])
    for name, values in (("mean", posterior.mean), ("log_var", posterior.log_var)):
        if values.shape != expected:
            raise ValueError(f"{name} of shape {tuple(values.shape)}; allowed: {expected}, [training image, latent]")
    for name, values in (("z", z), ("mean", posterior.mean), ("log_var", posterior.log_var)):
        if not values.isfinite().all():
            raise ValueError(f"{int((~values.isfinite()).sum())} values of {name} are not finite; allowed: finite ones")
    narrowest = float(posterior.log_var.min())
    if narrowest < _LEAST_LOG_VAR:
        raise ValueError(f"log_var {narrowest}; allowed: {_LEAST_LOG_VAR} or more, whose precision a double holds")
