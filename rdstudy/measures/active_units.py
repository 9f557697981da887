"""How many latent dimensions say anything of the image (Burda et al. 2016, section 4.2)."""

import torch
from torch import Tensor

from rdstudy.measures.aggregate import check_finite


@torch.no_grad()
def active_units(mean: Tensor, *, threshold: float = 0.01) -> int:
    """The number of latent dimensions with Var_x(E[z_j|x]) above a threshold; 0.01 is Burda et al.'s.

    Args:
        mean: `[image, latent]`, the means E[z|x] of the posteriors.
        threshold: squared units of z, whose prior has the variance 1.

    Raises:
        ValueError: fewer than two images, of which no variance is known, another shape, or values not finite.
    """
    if mean.ndim != 2 or len(mean) < 2:
        raise ValueError(f"mean has the shape {list(mean.shape)}; allowed: [image, latent] with 2 or more images")
    if not threshold >= 0:
        raise ValueError(f"threshold is {threshold}; allowed: 0 or more")
    check_finite(mean, "mean")
    return int((mean.double().var(dim=0, correction=1) > threshold).sum())
