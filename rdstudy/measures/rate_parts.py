"""What the rate is made of: R = I_q[x; z] + KL(q(z) ‖ p(z)), and the latter = TC + Σ_j KL(q(z_j) ‖ p(z_j)) (design, 6).

q(x) is uniform over the N images of a subset and q(z) their exact aggregate posterior. Sources: Hoffman and Johnson
2016 for the first sum, Chen et al. 2018 (β-TCVAE, equation 2) for the second.

Values are of this subset's own q(z): a standard error covers the choice of images and the noise of z, not that the
subset might have held other images. One z is drawn for each chosen image. If the images are chosen at random with
replacement, the terms are independent and the standard error is that of a mean. If they are chosen without replacement,
the standard error is too large: the variance between images should count 1 - samples / N times, that within an image
once, and one z an image does not say how large each is. With all N images chosen only the variance within an image is
left. Images that are not chosen at random (the first n, say) give no valid standard error.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.aggregate import (
    aggregate_log_density,
    check_finite,
    check_posterior,
    log_density,
    marginal_log_densities,
    slices,
)
from rdstudy.measures.estimate import Estimate, estimate_mean
from rdstudy.measures.prior import LogPrior, Prior
from rdstudy.model.gaussian import Posterior, rate

NO_DIMENSION_KL = "Σ_j KL(q(z_j) ‖ p(z_j)) needs a prior that is a product over latent dimensions; allowed: N(0, I)"
"""Why `RateParts.dimension_kl` is None under a prior given as a function."""


@dataclass(frozen=True)
class RateParts:
    """The mean rate of a subset and its parts, in nats per image."""

    rate: Estimate  # R = mutual_information + marginal_kl; exact under N(0, I), its standard error 0
    mutual_information: Estimate  # I_q[x; z], whatever the prior
    marginal_kl: Estimate  # KL(q(z) || p(z))
    total_correlation: Estimate  # KL(q(z) || Π_j q(z_j)), whatever the prior
    dimension_kl: Estimate | None  # Σ_j KL(q(z_j) || p(z_j)); None under a prior given as a function
    images: int  # N


@torch.no_grad()
def rate_parts(
    posterior: Posterior, *, chosen: Tensor, noise: Tensor, memory_bytes: float, log_prior: LogPrior | None = None
) -> RateParts:
    """I_q = E log q(z|x) - log q(z), KL = R - I_q, TC = E log q(z) - Σ_j log q(z_j), and R - I_q - TC.

    Each term of I_q is at most log N, because q(z) ≥ q(z|x) / N holds for the very z. Under N(0, I) R is the analytic
    mean rate over all N images: the noise of its z is integrated out, all that is random in KL is I_q, and they share a
    standard error. In the same way Σ_j KL(q(z_j) ‖ p(z_j)) is R less the mean of log q(z|x) - Σ_j log q(z_j), whose
    standard error it has. Under another prior R is the mean of log q(z|x) - log p(z) over the z drawn, and KL that of
    log q(z) - log p(z), each with its own standard error. Under both I_q + KL = R holds to rounding. Estimates of small
    divergences may fall below zero: nothing is clipped.

    Args:
        posterior: `[image, latent]`, all N images of the subset.
        chosen: int64 `[sample]`, the images whose z is drawn, at random from the N (see above).
        noise: `[sample, latent]`, standard normal.
        memory_bytes: bound on the memory of temporaries; values do not depend on it, up to rounding.
        log_prior: log p(z), called with z in the dtype of the posterior; None for N(0, I).

    Raises:
        ValueError: nothing to aggregate or to draw, shapes or indices that do not match, values that are not finite.
    """
    drawn = draw(posterior, chosen=chosen, noise=noise)
    log_q = aggregate_log_density(drawn.z, posterior, memory_bytes=memory_bytes)
    log_product = marginal_log_densities(drawn.z, posterior, memory_bytes=memory_bytes).sum(dim=1)
    information, correlation = estimate_mean(drawn.log_density - log_q), estimate_mean(log_q - log_product)
    images = len(posterior.mean)
    if log_prior is not None:
        log_p = Prior(log_prior, posterior.mean.dtype, memory_bytes).log_density(drawn.z)
        sampled_rate = estimate_mean(drawn.log_density - log_p)
        return RateParts(sampled_rate, information, estimate_mean(log_q - log_p), correlation, None, images)
    total = mean_rate(posterior, memory_bytes=memory_bytes)
    return RateParts(
        rate=exact_rate(total, images=images),
        mutual_information=information,
        marginal_kl=remainder(total, information),
        total_correlation=correlation,
        dimension_kl=remainder(total, estimate_mean(drawn.log_density - log_product)),
        images=images,
    )


@torch.no_grad()
def cross_rate(
    test_posterior: Posterior, *, train_posterior: Posterior, chosen: Tensor, noise: Tensor, memory_bytes: float
) -> Estimate:
    """E_test KL(q(z|x) ‖ q_train(z)) = E_test log q(z|x) - log q_train(z), in nats per image.

    What it costs to code test images when the prior is the aggregate posterior of the training images. It has no upper
    bound: a test image whose z lies between needles costs the square of its distance to them, in widths.

    Args:
        test_posterior: `[test image, latent]`.
        train_posterior: `[training image, latent]`, all images of the training subset.
        chosen: int64 `[sample]`, the test images whose z is drawn, at random.
        noise: `[sample, latent]`, standard normal.
        memory_bytes: bound on the memory of temporaries; values do not depend on it, up to rounding.

    Raises:
        ValueError: as `rate_parts` does.
    """
    check_posterior(train_posterior, name="train_posterior")
    drawn = draw(test_posterior, chosen=chosen, noise=noise)
    log_q = aggregate_log_density(drawn.z, train_posterior, memory_bytes=memory_bytes)
    return estimate_mean(drawn.log_density - log_q)


@dataclass(frozen=True)
class Drawn:
    """z of chosen images, in float64: one float32 step is wider than a needle of log σ² = -40."""

    z: Tensor  # [sample, latent]
    log_density: Tensor  # [sample], log q(z|x) of the image that each was drawn for


def draw(posterior: Posterior, *, chosen: Tensor, noise: Tensor) -> Drawn:
    """Draw one z for each chosen image; arguments and errors are those of `rate_parts`."""
    check_posterior(posterior)
    images, latent = posterior.mean.shape
    if chosen.ndim != 1 or chosen.dtype != torch.int64 or not len(chosen):
        layout = f"{chosen.dtype} {list(chosen.shape)}"
        raise ValueError(f"the chosen images are {layout}; allowed: torch.int64 [sample], 1 or more")
    low, high = (int(end) for end in torch.aminmax(chosen))
    if low < 0 or high >= images:
        raise ValueError(f"the chosen images reach from {low} to {high}; allowed: 0 to {images - 1}")
    if noise.shape != (len(chosen), latent):
        raise ValueError(f"noise has the shape {list(noise.shape)}; allowed: {[len(chosen), latent]}")
    check_finite(noise, "noise")
    own = Posterior(posterior.mean[chosen].double(), posterior.log_var[chosen].double())
    z = own.sample(noise.double())
    return Drawn(z, log_density(z, own))


def mean_rate(posterior: Posterior, *, memory_bytes: float) -> float:
    """The analytic mean rate of all images `[image, latent]` under the prior N(0, I), in nats per image, in float64."""
    images, latent = posterior.mean.shape
    at_once = max(1, int(min(images, memory_bytes / (8 * 7 * latent))))
    total = 0.0
    for block in slices(images, at_once):
        total += rate(Posterior(posterior.mean[block].double(), posterior.log_var[block].double())).sum().item()
    return total / images


def exact_rate(total: float, *, images: int) -> Estimate:
    """A mean rate over all N images that no z was drawn for."""
    return Estimate(total, 0.0, images)


def remainder(total: float, part: Estimate) -> Estimate:
    """What is left of a known total: the part's standard error is its own."""
    return Estimate(total - part.value, part.standard_error, part.samples)
