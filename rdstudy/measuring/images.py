"""Images that a reader looks at: reconstructions of a few test images, and their neighbours in the training subset."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.datasets.splits import order_of, parse_rule
from rdstudy.measures.neighbours import hard_example, nearest
from rdstudy.measuring.trained import TrainedMember
from rdstudy.study import Measures, Member
from rdstudy.study.seeds import derive_seed
from rdstudy.training.subsets import Sample, Subsets, gather, sample_of

_BLOCK_IMAGES = 4096
"""References on the device at once, beside the training images."""


def control_index(trained: TrainedMember) -> NDArray[np.int64]:
    """Indices of test images, as many as training images where there are enough; `[control]`, ascending.

    A random sample of the test subset, by the study's seed, without the images whose reconstructions are compared with
    them or shown: equal for all members of a split.

    Raises:
        ValueError: none are left, or the split gives the test subset another distribution than the training subset.
    """
    subsets, measures, study_seed = trained.subsets, trained.measures, trained.member.study_seed
    if parse_rule(trained.member.split).kind == "checkerboard":
        raise ValueError(
            "the split is checkerboard, whose test images come from another distribution than the training images; "
            "allowed: default, cv(N), cd(N)"
        )
    compared = trained.sample("test", measures.memorization_images, "memorization").index
    shown = reconstructed_images(subsets, measures, study_seed, trained.hard_image)
    rng = np.random.default_rng(derive_seed(study_seed, "controls"))
    order = rng.permutation(subsets.whole["test"].index)  # then one image more or fewer changes one control
    left = order[~np.isin(order, np.concatenate([compared, shown]))]
    if not len(left):
        raise ValueError(f"all {len(order)} test images are reconstructed; allowed: fewer, so that some are controls")
    return np.sort(left[: len(subsets.train)])


def image_blocks(trained: TrainedMember, index: NDArray[np.int64]) -> Iterator[Tensor]:
    """Images of the data set in blocks on the device, uint8 `[block, pixel]`."""
    return trained.held.blocks(index, size=_BLOCK_IMAGES)


def probe_index(trained: TrainedMember) -> NDArray[np.int64]:
    """The images whose log p(x) is stored one by one, the same for all splits of a data set; `[probe]`, ascending.

    `cv(n)` trains on the first n images of one random order (`order_of`). Half of the probes stand at ranks of it that
    are evenly spaced in their logarithm, from a thousandth of the images on: any two sizes have probes that one of them
    trains on and the other does not. The other half has the last ranks: images that neither of them trains on.

    Raises:
        ValueError: there are fewer images.
    """
    images, size = len(trained.subsets.whole["train"].source), trained.measures.probe_images
    if size > images:
        raise ValueError(f"measures.probe_images is {size}; allowed: at most the {images} images of the data set")
    order = order_of(trained.member.dataset, images=images, study_seed=trained.member.study_seed)
    return np.sort(order[_probe_ranks(images, size)])


def _probe_ranks(images: int, size: int) -> NDArray[np.int64]:
    """Ranks from 0, ascending and distinct `[probe]`."""
    far = size // 2
    near, end = size - far, images - far
    place = np.arange(near)
    wanted = np.geomspace(min(max(images // 1000, 1), end), end, near).round().astype(np.int64) - 1
    distinct = np.maximum.accumulate(wanted - place) + place  # the next free rank where small ones coincide
    distinct = np.minimum(distinct, end - near + place)
    return np.concatenate([distinct, np.arange(end, images)])


def picture(image: Tensor) -> bytes:
    """An image in [0, 1] as uint8."""
    grey: NDArray[np.uint8] = (255 * image).round().to(torch.uint8).cpu().numpy()
    return grey.tobytes()


def reconstructed_images(
    subsets: Subsets, measures: Measures, study_seed: int, hard_image: int | None
) -> NDArray[np.int64]:
    """The test images whose reconstructions are stored: the hard example, then a random sample; `[image]`."""
    near = _neighbour_sample(subsets, measures, study_seed)
    sample = sample_of(near, measures.reconstruction_images, "reconstructions", study_seed).index
    further: NDArray[np.int64] = sample[sample != hard_image]
    if hard_image is None:
        return further
    return np.concatenate([np.array([hard_image], dtype=np.int64), further[: measures.reconstruction_images - 1]])


def _neighbour_sample(subsets: Subsets, measures: Measures, study_seed: int) -> Sample:
    return sample_of(subsets.whole["test"], measures.neighbour_images, "neighbours", study_seed)


def neighbour_rows(
    subsets: Subsets, member: Member, measures: Measures, *, device: torch.device, memory_bytes: float
) -> list[dict[str, Any]]:
    """Rows of `neighbours` for the split of any of its members: distances of test images to the nearest training image.

    `measures` say of how many test images.
    """
    sample = _neighbour_sample(subsets, measures, member.study_seed)
    pixels = gather(sample.source, sample.index)
    neighbours = nearest(pixels.to(device), subsets.train.to(device), memory_bytes=memory_bytes)
    distance, nearest_train = neighbours.distance.cpu(), subsets.whole["train"].index[neighbours.index.cpu().numpy()]
    hard = hard_example(distance)
    where = {"dataset": member.dataset, "split": member.split, "study_seed": member.study_seed}
    channels, height, width = subsets.image_shape
    rows: list[dict[str, Any]] = [
        where | {"image": int(image), "nearest_image": int(near), "distance": far, "hard": at == hard}
        for at, (image, near, far) in enumerate(zip(sample.index, nearest_train, distance.tolist(), strict=True))
    ]
    shown = set(reconstructed_images(subsets, measures, member.study_seed, int(sample.index[hard])).tolist())
    for row in rows:
        if row["image"] in shown:
            row |= {"channels": channels, "height": height, "width": width}
            row |= {
                "pixels": sample.source[row["image"]].tobytes(),
                "nearest_pixels": sample.source[row["nearest_image"]].tobytes(),
            }
    return rows
