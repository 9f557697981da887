"""Images that a reader looks at: a few test images as a member and the optimal decoder reconstruct them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.measures.memorization import copied_fraction, nearest_in_blocks
from rdstudy.measures.optimal_decoder import optimal_reconstructions
from rdstudy.measuring.images import control_index, image_blocks, picture, reconstructed_images
from rdstudy.measuring.nearest import nearest_train
from rdstudy.measuring.trained import TrainedMember

SUBSETS = ("test",)

_ENOUGH_CONTROLS = 0.9
"""Controls, as a share of the training images, with which a picture is called a copy: with fewer, a training image is
the nearest more often for being one of more."""


def reconstructions(trained: TrainedMember, subset: str) -> None:
    """A few test images, the hard one first, as this member and the optimal decoder reconstruct them."""
    index = reconstructed_images(trained.subsets, trained.measures, trained.member.study_seed, trained.hard_image)
    pixels = trained.images(index)
    near = nearest_train(trained, pixels)
    made = near.made
    copies = copied_fraction(made, images=pixels, in_train=near.train, memory_bytes=trained.memory_bytes)
    optimal = _optimal_pixels(trained, pixels, subset)
    from_control = _control_distance(trained, pixels, subset)
    channels, height, width = trained.subsets.image_shape
    train_index = trained.subsets.whole["train"].index
    trained.reconstructions = [
        {
            "image": int(image),
            "hard": int(image) == trained.hard_image,
            "channels": channels,
            "height": height,
            "width": width,
            "pixels": picture(made[at]),
            "optimal_pixels": None if optimal is None else picture(optimal[at]),
            "nearest_image": int(train_index[int(copies.nearest_index[at])]),
            "nearest_distance": copies.nearest_distance[at].item(),
            "own_distance": copies.own_distance[at].item(),
            "control_distance": None if from_control is None else from_control[at].item(),
        }
        for at, image in enumerate(index)
    ]


def _optimal_pixels(trained: TrainedMember, pixels: Tensor, subset: str) -> Tensor | None:
    """The optimal decoder's answers to the posteriors' means; None with a reason where it has none."""
    try:
        return optimal_reconstructions(
            trained.encode(pixels).mean,
            trained.posterior("train"),
            trained.train_images,
            memory_bytes=trained.memory_bytes,
        )
    except ValueError as error:
        trained.reasons[subset].append(f"reconstructions of the optimal decoder: {' '.join(str(error).split())}")
        return None


def _control_distance(trained: TrainedMember, pixels: Tensor, subset: str) -> Tensor | None:
    """Distance of each reconstruction to the nearest control, `[image]`; None with a reason where there are too few."""
    try:
        controls, size = control_index(trained), len(trained.subsets.train)
        if len(controls) < _ENOUGH_CONTROLS * size:
            raise ValueError(f"{len(controls)} controls for {size} training images; allowed: about as many")
        return trained.shared("control distance", lambda members: _control_distances(members, pixels, controls))
    except ValueError as error:
        trained.reasons[subset].append(f"reconstructions and controls: {' '.join(str(error).split())}")
        return None


def _control_distances(
    members: Sequence[TrainedMember], pixels: Tensor, controls: NDArray[np.int64]
) -> Sequence[Tensor]:
    made = torch.cat([nearest_train(member, pixels).made for member in members])
    blocks = image_blocks(members[0], controls)
    near = nearest_in_blocks(made, blocks, memory_bytes=members[0].memory_bytes)
    return torch.split(near.distance, len(pixels))
