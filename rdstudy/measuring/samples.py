"""Pictures of what a decoder has learned: draws from the prior, and one image's code along its latent dimensions."""

from typing import Any

import torch
from torch import Tensor

from rdstudy.measuring.images import picture, reconstructed_images
from rdstudy.measuring.trained import TrainedMember
from rdstudy.study.seeds import derive_seed

_DRAWS = 8
_DIMENSIONS = 3
_STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)
"""Standard deviations of the posteriors' means over the training images."""


def note_samples(trained: TrainedMember, _: str) -> None:
    """Decoder means of draws from the prior, equal for members of one seed and prior, and of traversals.

    A traversal moves the code of the split's hard test image, or of the first that is reconstructed, along each of the
    latent dimensions whose posterior means vary most over the training images.
    """
    seed = derive_seed(trained.member.seed, "measure samples")
    generator = torch.Generator(trained.device).manual_seed(seed)
    draws = trained.vae.prior.sample(_DRAWS, generator, trained.vae.encoder)
    rows = _rows(trained, draws, [{"kind": "prior", "position": at} for at in range(_DRAWS)])
    index = reconstructed_images(trained.subsets, trained.measures, trained.member.study_seed, trained.hard_image)
    code = trained.encode(trained.images(index[:1])).mean[0]
    deviation = trained.posterior("train").mean.std(dim=0, correction=0)
    for dimension in deviation.argsort(descending=True, stable=True)[:_DIMENSIONS].tolist():
        moved = code.repeat(len(_STEPS), 1)
        moved[:, dimension] += deviation[dimension] * torch.tensor(_STEPS).to(code)
        where = {"kind": "traversal", "dimension": dimension}
        rows += _rows(trained, moved, [where | {"value": step, "position": at} for at, step in enumerate(_STEPS)])
    trained.samples = rows


def _rows(trained: TrainedMember, z: Tensor, where: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with what the decoder makes of codes `[row, latent]`."""
    made = trained.likelihood.mean(trained.vae.decoder(z)).clamp(0, 1)
    channels, height, width = trained.subsets.image_shape
    shape = {"channels": channels, "height": height, "width": width}
    return [row | shape | {"pixels": picture(image)} for row, image in zip(where, made, strict=True)]
