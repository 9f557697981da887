"""Whether reconstructions of test images are nearer to training images than to as many images never trained on."""

import torch
from torch import Tensor

from rdstudy.measures.memorization import copied_fraction, nearest_in_blocks, three_sample
from rdstudy.measures.neighbours import Neighbours
from rdstudy.measuring.images import control_index, image_blocks
from rdstudy.measuring.trained import TrainedMember
from rdstudy.planning.packs import BLOCK_IMAGES

SUBSETS = ("test",)


def memorization(trained: TrainedMember, subset: str) -> None:
    """The three-sample test of reconstructions (Meehan et al. 2020), and how many are copies."""
    sample = trained.sample(subset, trained.measures.memorization_images, "memorization")
    pixels, memory_bytes = trained.images(sample.index), trained.memory_bytes
    made = trained.reconstruct(pixels)
    copies = copied_fraction(made, images=pixels, train=trained.train_images, memory_bytes=memory_bytes)
    trained.columns[subset]["memorization_images"] = len(sample)
    trained.put(subset, copied_fraction=copies.copied_fraction)
    controls = control_index(trained)  # after what needs none is noted
    train = Neighbours(copies.nearest_distance, copies.nearest_index)
    if len(controls) < len(trained.train_images):  # equally many on both sides
        train = _nearest_of_fewer(trained, made, train, size=len(controls))
    answers = three_sample(train, nearest_in_blocks(made, image_blocks(trained, controls), memory_bytes=memory_bytes))
    trained.columns[subset] |= {"memorization_answers": answers.answers, "memorization_controls": len(controls)}
    trained.put(subset, memorization=answers.share)


def _nearest_of_fewer(trained: TrainedMember, made: Tensor, train: Neighbours, *, size: int) -> Neighbours:
    """The nearest among `size` random training images. Only what loses its nearest image is sought again.

    Args:
        trained: the member.
        made: reconstructions, `[image, pixel]`.
        train: the nearest of all training images.
        size: how many are left.
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
