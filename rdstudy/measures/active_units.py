"""How many latent dimensions say anything of the image (Burda et al. 2016, section 4.2)."""

import torch
from torch import Tensor

from rdstudy.measures.aggregate import check_finite


@torch.no_grad()
def active_units(mean: Tensor, *, threshold: float = 0.01, prior_variance: Tensor | None = None) -> int:
    """The number of latent dimensions with Var_x(E[z_j|x]) above a share of the prior's variance.

    Args:
        mean: `[image, latent]`, the means E[z|x] of the posteriors.
        threshold: the share; 0.01 is Burda et al.'s, whose prior has the variance 1.
        prior_variance: `[latent]`, Var(z_j) under the prior; None for 1, that of N(0, I).

    Raises:
        ValueError: fewer than two images, of which no variance is known, shapes that do not match, a variance of the
            prior that is not above 0, or values not finite.
    """
    if mean.ndim != 2 or len(mean) < 2:
        raise ValueError(f"mean has the shape {list(mean.shape)}; allowed: [image, latent] with 2 or more images")
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}; allowed: 0 or more")
    check_finite(mean, "mean")
    variance = mean.double().var(dim=0, correction=1)
    if prior_variance is None:
        return int((variance > threshold).sum())
    if prior_variance.shape != variance.shape:
        shape = list(prior_variance.shape)
        raise ValueError(f"prior_variance has the shape {shape}; allowed: {list(variance.shape)}, one a dimension")
    check_finite(prior_variance, "prior_variance")
    if not (prior_variance > 0).all():
        raise ValueError(f"prior_variance is {prior_variance.tolist()}; allowed: more than 0 in each dimension")
    return int((variance > threshold * prior_variance.double()).sum())
