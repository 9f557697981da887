"""The paper's estimate of the aggregate posterior from one batch (paper, 4.5; Esmaeili et al. 2019).

For z_i drawn for image i of a batch of B images, out of N,

    log q(z_i) ≈ log[ q(z_i|x_i) / N + (N - 1) / (N (B - 1)) Σ_{j≠i} q(z_i|x_j) ].

Over the choice of the other images the bracket has the mean q(z_i), so that its logarithm is too low on average: the
estimate of I_q is too high and that of KL(q(z) ‖ p(z)) too low. No term of I_q is above log N, which it is where no
other image of the batch gives density to z. With B = N the estimate is the exact log q(z).

Axis order: `member, batch`, then the latent dimension.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rdstudy.measures.aggregate import LOG_2PI, check_posterior, slices
from rdstudy.measures.estimate import Estimate, estimate_mean
from rdstudy.measures.prior import LogPrior, Prior
from rdstudy.measures.rate_parts import draw, exact_rate, mean_rate, remainder
from rdstudy.model.gaussian import Posterior


@dataclass(frozen=True)
class BatchRateParts:
    """The mean rate of a subset and the batches' estimates of its parts, in nats per image."""

    rate: Estimate  # R = mutual_information + marginal_kl; exact under N(0, I), else its samples are batches
    mutual_information: Estimate  # its samples are batches
    marginal_kl: Estimate  # its samples are batches
    batches: int


@torch.no_grad()
def batch_rate_parts(
    posterior: Posterior,
    *,
    order: Tensor,
    noise: Tensor,
    batch_size: int = 512,
    memory_bytes: float,
    log_prior: LogPrior | None = None,
) -> BatchRateParts:
    """I_q = E log q(z|x) - log q(z) with the estimate of q(z) from batches, and KL = R - I_q.

    R is as in `rdstudy.measures.rate_parts`: the analytic mean over all N images under N(0, I), under another prior the
    mean of log q(z|x) - log p(z) over the z drawn. The images of a batch share their estimate of q(z), so that only
    batches are independent of each other: a standard error is that of a mean over batches, nan for one. It holds the
    choice of batches and the noise of z, not the estimate's bias.

    Args:
        posterior: `[image, latent]`, all N images of the subset.
        order: int64 `[sample]`, images in random order, none twice; cut into whole batches, what is left over is
            not used.
        noise: `[sample, latent]`, standard normal.
        batch_size: B.
        memory_bytes: bound on the memory of temporaries, but one batch at least, four arrays `[batch, batch]`, is
            computed at a time; values do not depend on it, up to rounding.
        log_prior: log p(z), called with z in the dtype of the posterior; None for N(0, I).

    Raises:
        ValueError: fewer images than a batch has, a batch of one, an image twice, or what `rate_parts` raises it for.
    """
    check_posterior(posterior)
    if batch_size < 2 or batch_size > min(len(posterior.mean), len(order)):
        images = f"{len(posterior.mean)} images, {len(order)} of them in order"
        raise ValueError(f"batch_size is {batch_size} with {images}; allowed: 2 or more, at most as many as images")
    repeated = len(order) - len(set(order.tolist()))
    if repeated:
        raise ValueError(f"order holds {repeated} images again; allowed: each image once")
    if len(noise) != len(order):
        raise ValueError(f"noise for {len(noise)} images; allowed: for the {len(order)} in order")
    batches = len(order) // batch_size
    used = slice(batches * batch_size)
    drawn = draw(posterior, chosen=order[used], noise=noise[used])
    in_batches = order[used].view(batches, batch_size)
    z, own = drawn.z.view(batches, batch_size, -1), drawn.log_density.view(batches, batch_size)
    at_once = max(1, int(min(batches, memory_bytes / (8 * 4 * batch_size**2))))
    informations = []  # [batch] of each group
    for group in slices(batches, at_once):
        indices = in_batches[group]
        code = Posterior(posterior.mean[indices].double(), posterior.log_var[indices].double())
        informations.append((own[group] - batch_log_density(z[group], code, images=len(posterior.mean))).mean(dim=1))
    of_batch = torch.cat(informations)
    information = estimate_mean(of_batch)
    if log_prior is not None:
        log_p = Prior(log_prior, posterior.mean.dtype, memory_bytes).log_density(z)
        rates = (own - log_p).mean(dim=1)
        return BatchRateParts(estimate_mean(rates), information, estimate_mean(rates - of_batch), batches)
    total = mean_rate(posterior, memory_bytes=memory_bytes)
    rate = exact_rate(total, images=len(posterior.mean))
    return BatchRateParts(rate, information, remainder(total, information), batches)


def batch_log_density(z: Tensor, code: Posterior, *, images: int) -> Tensor:
    """The estimate of log q(z_i) from the batch that z_i is part of, in nats; differentiable, once.

    A sum of exponents of differences, safe for needles. No more than a few arrays `[..., batch, batch]` are held at a
    time, in the backward pass too, and one of them between the passes. What is not finite stays so.

    Args:
        z: `[..., batch, latent]`, z_i drawn for image i.
        code: `[..., batch, latent]`, the posteriors of the same images.
        images: N, of the subset that the batch is drawn from.

    Returns:
        `[..., batch]`.

    Raises:
        ValueError: shapes that do not match, a batch of one image, or of more than `images`.
    """
    if z.ndim < 2 or not z.shape == code.mean.shape == code.log_var.shape:
        shapes = f"z {list(z.shape)}, mean {list(code.mean.shape)} and log_var {list(code.log_var.shape)}"
        raise ValueError(f"a batch has {shapes}; allowed: [..., batch, latent] for all")
    batch = z.shape[-2]
    if batch < 2 or batch > images:
        raise ValueError(f"a batch has {batch} images of {images}; allowed: 2 or more, at most all")
    log_weights = z.new_full((batch, batch), math.log((images - 1) / (images * (batch - 1))))
    log_weights.fill_diagonal_(-math.log(images))
    log_q: Tensor = _LogMixture.apply(z, code.mean, code.log_var, log_weights)  # type: ignore[no-untyped-call]
    return log_q


class _LogMixture(torch.autograd.Function):
    """log Σ_j w_ij q(z_i|x_j) and its derivatives in closed form.

    Autograd alone would hold arrays `[..., batch, batch]` for each latent dimension; here they are computed again. With
    r_ij = w_ij q(z_i|x_j) / Σ_k w_ik q(z_i|x_k) and d = (z_i - μ_j) / σ_j the derivatives of log q(z|x_j), times r_ij,
    are -d / σ_j in z_i, d / σ_j in μ_j and ½ (d² - 1) in log σ_j². A d that is too large to be squared has r = 0.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, mean: Tensor, log_var: Tensor, log_weights: Tensor) -> Tensor:
        inverse = torch.exp(-0.5 * log_var)
        log_q = log_weights - 0.5 * (log_var + LOG_2PI).sum(dim=-1)[..., None, :]
        for j in range(z.shape[-1]):
            deviation = _deviation(z, mean, inverse, j)
            log_q.addcmul_(deviation, deviation, value=-0.5)
        log_sum = log_q.logsumexp(dim=-1)
        ctx.save_for_backward(z, mean, inverse, log_q.sub_(log_sum[..., None]).exp_())
        return log_sum

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        z, mean, inverse, share = ctx.saved_tensors
        pull = gradient[..., None] * share
        of_z, of_mean, of_log_var = (torch.empty_like(z) for _ in range(3))
        everything = pull.sum(dim=-2)
        for j in range(z.shape[-1]):
            deviation = _deviation(z, mean, inverse, j)
            pulled = pull * deviation
            of_log_var[..., j] = 0.5 * ((pulled * deviation).sum(dim=-2) - everything)
            pulled.mul_(inverse[..., None, :, j])
            of_z[..., j] = -pulled.sum(dim=-1)
            of_mean[..., j] = pulled.sum(dim=-2)
        return of_z, of_mean, of_log_var, None


def _deviation(z: Tensor, mean: Tensor, inverse: Tensor, j: int) -> Tensor:
    """(z_i - μ_j) / σ_j of one latent dimension, `[..., batch, batch]`."""
    return (z[..., :, None, j] - mean[..., None, :, j]).mul_(inverse[..., None, :, j])
