"""The nearest training images of reconstructions, sought for all members of a group in one pass over the images.

The search is exact: what is nearest to a reconstruction, and its distance, are the same bits in any company.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.neighbours import Neighbours, nearest
from rdstudy.measuring.trained import TrainedMember


@dataclass(frozen=True)
class Near:
    """Reconstructions, and the training image that is nearest to each."""

    made: Tensor  # [image, pixel] in [0, 1]
    train: Neighbours  # [image]


def nearest_train(trained: TrainedMember, pixels: Tensor) -> Near:
    """Of a member's reconstructions of images, uint8 `[image, pixel]`, that all members of its group are asked for."""
    return trained.shared("nearest training images", lambda members: _of_each(members, pixels))


def _of_each(members: Sequence[TrainedMember], pixels: Tensor) -> list[Near]:
    first = members[0]
    made = torch.cat([member.reconstruct(pixels) for member in members])
    train = nearest(made, first.train_images, memory_bytes=first.memory_bytes)
    return [Near(*pair) for pair in zip(torch.split(made, len(pixels)), train.split(len(pixels)), strict=True)]
