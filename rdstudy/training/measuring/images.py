"""Images that a reader looks at: reconstructions of a few test images, and their neighbours in the training subset."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.measures.memorization import copied_fraction
from rdstudy.measures.neighbours import hard_example, nearest
from rdstudy.measures.optimal_decoder import optimal_reconstructions
from rdstudy.study import Measures, Member
from rdstudy.training.measuring.subject import Subject
from rdstudy.training.subsets import Sample, Subsets, gather, sample_of


def note_reconstructions(subject: Subject, subset: str) -> None:
    """A few test images, the hard one first, as this member and the optimal decoder reconstruct them."""
    index = reconstructed_images(subject.subsets, subject.measures, subject.member.study_seed, subject.hard_image)
    pixels = subject.images(index)
    made = subject.reconstruct(pixels)
    found = copied_fraction(made, images=pixels, train=subject.train_images, memory_bytes=subject.memory_bytes)
    optimal = _optimal_pixels(subject, pixels, subset)
    channels, height, width = subject.subsets.image_shape
    train_index = subject.subsets.whole["train"].index
    subject.reconstructions = [
        {
            "image": int(image),
            "hard": int(image) == subject.hard_image,
            "channels": channels,
            "height": height,
            "width": width,
            "pixels": _bytes(made[at]),
            "optimal_pixels": None if optimal is None else _bytes(optimal[at]),
            "nearest_image": int(train_index[int(found.nearest_index[at])]),
            "nearest_distance": found.nearest_distance[at].item(),
            "own_distance": found.own_distance[at].item(),
        }
        for at, image in enumerate(index)
    ]


def _optimal_pixels(subject: Subject, pixels: Tensor, subset: str) -> Tensor | None:
    """The optimal decoder's answers to the posteriors' means; None with a reason where it has none."""
    try:
        return optimal_reconstructions(
            subject.encode(pixels).mean,
            subject.posterior("train"),
            subject.train_images,
            memory_bytes=subject.memory_bytes,
        )
    except ValueError as error:
        subject.reasons[subset].append(f"reconstructions of the optimal decoder: {' '.join(str(error).split())}")
        return None


def _bytes(image: Tensor) -> bytes:
    """An image in [0, 1] as uint8."""
    grey: NDArray[np.uint8] = (255 * image).round().to(torch.uint8).cpu().numpy()
    return grey.tobytes()


def reconstructed_images(
    subsets: Subsets, measures: Measures, study_seed: int, hard_image: int | None
) -> NDArray[np.int64]:
    """The test images whose reconstructions are stored: the hard example, then a random sample; `[image]`."""
    near = _neighbour_sample(subsets, measures, study_seed)
    sample = sample_of(near, measures.reconstruction_images, "reconstructions", study_seed).index
    others: NDArray[np.int64] = sample[sample != hard_image]
    if hard_image is None:
        return others
    return np.concatenate([np.array([hard_image], dtype=np.int64), others[: measures.reconstruction_images - 1]])


def _neighbour_sample(subsets: Subsets, measures: Measures, study_seed: int) -> Sample:
    return sample_of(subsets.whole["test"], measures.neighbour_images, "neighbours", study_seed)


def neighbour_rows(
    subsets: Subsets, member: Member, measures: Measures, *, device: torch.device, memory_bytes: float
) -> list[dict[str, Any]]:
    """Rows of `neighbours` for a member's split, without images: distances to the nearest training image.

    Args:
        subsets: the images of the split.
        member: any of the split.
        measures: how many test images.
        device: where to compute.
        memory_bytes: bound on temporaries.
    """
    sample = _neighbour_sample(subsets, measures, member.study_seed)
    pixels = gather(sample.source, sample.index)
    found = nearest(pixels.to(device), subsets.train.to(device), memory_bytes=memory_bytes)
    distance, nearest_train = found.distance.cpu(), subsets.whole["train"].index[found.index.cpu().numpy()]
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
