"""Whether reconstructions of test images are nearer to training images than to as many images never trained on."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.measures.memorization import copied_fraction, nearest_in_blocks, three_sample
from rdstudy.measures.neighbours import Neighbours
from rdstudy.measuring.images import control_index, image_blocks
from rdstudy.measuring.nearest import nearest_train
from rdstudy.measuring.trained import TrainedMember
from rdstudy.planning.packs import BLOCK_IMAGES

SUBSETS = ("test",)


def memorization(trained: TrainedMember, subset: str) -> None:
    """The three-sample test of reconstructions (Meehan et al. 2020), and how many are copies."""
    sample = trained.sample(subset, trained.measures.memorization_images, "memorization")
    pixels = trained.images(sample.index)
    near = nearest_train(trained, pixels)
    copies = copied_fraction(near.made, images=pixels, in_train=near.train, memory_bytes=trained.memory_bytes)
    trained.columns[subset]["memorization_images"] = len(sample)
    trained.put(subset, copied_fraction=copies.copied_fraction)
    controls = control_index(trained)  # after what needs none is noted
    train, control = trained.shared("sides", lambda members: _sides(members, pixels, controls))
    answers = three_sample(train, control)
    trained.columns[subset] |= {"memorization_answers": answers.answers, "memorization_controls": len(controls)}
    trained.put(subset, memorization=answers.share)


def _sides(
    members: Sequence[TrainedMember], pixels: Tensor, controls: NDArray[np.int64]
) -> list[tuple[Neighbours, Neighbours]]:
    """The nearest of equally many training images and controls, for the reconstructions of each member."""
    first = members[0]
    nears = [nearest_train(member, pixels) for member in members]
    made = torch.cat([near.made for near in nears])
    train = Neighbours(torch.cat([n.train.distance for n in nears]), torch.cat([n.train.index for n in nears]))
    if len(controls) < len(first.train_images):
        train = _nearest_of_fewer(first, made, train, size=len(controls))
    control = nearest_in_blocks(made, image_blocks(first, controls), memory_bytes=first.memory_bytes)
    return list(zip(train.split(len(pixels)), control.split(len(pixels)), strict=True))


def _nearest_of_fewer(trained: TrainedMember, made: Tensor, train: Neighbours, *, size: int) -> Neighbours:
    """The nearest among `size` random training images. Only what loses its nearest image is sought again.

    `made` are reconstructions `[image, pixel]` by members of one group, of which `trained` is one, and `train` are the
    nearest of all training images.
    """
    chosen = trained.chosen(len(trained.train_images), size, "controls train")
    again = ~torch.isin(train.index, chosen)
    if not again.any():
        return train
    blocks = (trained.train_images[part] for part in torch.split(chosen, BLOCK_IMAGES))
    sought = nearest_in_blocks(made[again], blocks, memory_bytes=trained.memory_bytes)
    distance, index = train.distance.clone(), train.index.clone()
    distance[again], index[again] = sought.distance, chosen[sought.index]
    return Neighbours(distance, index)
