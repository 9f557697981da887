"""The images that a pack reads: all of the training subset for training, fixed random samples for measuring.

Images are uint8 and flattened, `[image, pixel]`. What is measured on more images than fit in memory is read block by
block from the data set.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.datasets import Dataset
from rdstudy.seeds import derive_seed
from rdstudy.splits import Split
from rdstudy.study import Evaluation

SUBSETS = ("train", "test")
BLOCK_IMAGES = 1024
"""Images measured at once. It is part of the numerics: the noise of a block comes from a generator of its own."""


@dataclass(frozen=True)
class Sample:
    """A fixed sample of one subset."""

    source: NDArray[np.uint8]  # [image, channel, row, column], the whole data set
    index: NDArray[np.int64]  # [sample], ascending indices into it
    subset_images: int  # images of the whole subset
    floor: float  # mean Bernoulli entropy of an image of the sample, nats

    def __len__(self) -> int:
        return len(self.index)

    def blocks(self) -> Iterator[Tensor]:
        """The images in blocks of at most `BLOCK_IMAGES`, uint8 `[block, pixel]`."""
        for start in range(0, len(self), BLOCK_IMAGES):
            yield gather(self.source, self.index[start : start + BLOCK_IMAGES])


@dataclass(frozen=True)
class Subsets:
    """What the members of a cell read."""

    train: Tensor  # uint8 [image, pixel]: the whole training subset
    image_shape: tuple[int, int, int]  # channel, row, column
    final: dict[str, Sample]  # per subset: what is measured after training
    trajectory: dict[str, Sample]  # per subset: what is measured on the way


def make_subsets(dataset: Dataset, split: Split, evaluation: Evaluation, *, study_seed: int) -> Subsets:
    """Gather the training images and choose the samples, by the study's seed only."""
    index = {"train": split.train, "test": split.test}

    def samples(purpose: str, size: int | None) -> dict[str, Sample]:
        return {name: _sample(dataset.images, index[name], size, f"{purpose} {name}", study_seed) for name in SUBSETS}

    channels, rows, columns = dataset.images.shape[1:]
    return Subsets(
        train=gather(dataset.images, split.train),
        image_shape=(channels, rows, columns),
        final=samples("final", evaluation.final_images),
        trajectory=samples("trajectory", evaluation.trajectory_images),
    )


def gather(images: NDArray[np.uint8], index: NDArray[np.int64]) -> Tensor:
    """Copy images out of the data set, uint8 `[image, pixel]`."""
    return torch.from_numpy(images[index]).flatten(1)


def to_unit(pixels: Tensor) -> Tensor:
    """Pixels as they enter a model: x / 255 in [0, 1], in PyTorch's default type."""
    return torch.div(pixels, 255.0)  # uint8 to the default type in one pass


def _sample(
    images: NDArray[np.uint8], subset: NDArray[np.int64], size: int | None, purpose: str, study_seed: int
) -> Sample:
    if size is None or size >= len(subset):
        index = subset
    else:
        rng = np.random.default_rng(derive_seed(study_seed, f"sample {purpose}"))
        index = np.sort(rng.choice(subset, size, replace=False))
    return Sample(images, index, len(subset), _mean_floor(images, index))


def _mean_floor(images: NDArray[np.uint8], index: NDArray[np.int64]) -> float:
    """Mean Bernoulli entropy of an image, from a count of its 256 pixel values."""
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(index), BLOCK_IMAGES):
        counts += np.bincount(images[index[start : start + BLOCK_IMAGES]].reshape(-1), minlength=256)
    x = np.arange(1, 255) / 255.0
    entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x))
    return float(counts[1:255] @ entropy / len(index))
