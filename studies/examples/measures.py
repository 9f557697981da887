"""A measure of one's own: how sharp reconstructions are, beside the images themselves."""

import torch
from torch import Tensor

from rdstudy.model.gaussian import Posterior
from rdstudy.model.networks import VAE

UNIT = "of the image's"
IMAGES = 500


def sharpness(model: VAE, images: Tensor, *, lag: int = 1) -> Tensor:
    """Mean absolute difference of neighbouring pixels, of the reconstruction over that of the image, `[image]`."""
    output = model.decoder(Posterior.from_code(model.encoder(images)).mean)
    made = torch.sigmoid(output)  # of Bernoulli pixels
    return _steps(made, lag) / _steps(images, lag).clamp(min=1e-6)


def _steps(images: Tensor, lag: int) -> Tensor:
    return (images[:, lag:] - images[:, :-lag]).abs().mean(dim=1)
