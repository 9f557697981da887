"""The images that a pack reads: all of the training subset for training, fixed random samples for measuring.

Images are uint8 and flattened, `[image, pixel]`. What is measured on more images than fit in memory is read block by
block from the data set.
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import Split
from rdstudy.model import likelihoods
from rdstudy.planning.packs import BLOCK_IMAGES
from rdstudy.study import Evaluation
from rdstudy.study.seeds import derive_seed


@dataclass(frozen=True)
class Sample:
    """A fixed sample of one subset."""

    source: NDArray[np.uint8]  # [image, channel, row, column], the whole data set
    index: NDArray[np.int64]  # [sample], ascending indices into it
    subset_images: int  # images of the whole subset
    floors: NDArray[np.float64]  # [256], the least distortion of a pixel of each value, nats

    @functools.cached_property
    def floor(self) -> float:
        """Mean of the likelihood's floor over images of the sample, nats."""
        return _mean_floor(self.source, self.index, self.floors)

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
    whole: dict[str, Sample]  # per subset: all of its images
    final: dict[str, Sample]  # per subset: what is measured after training
    trajectory: dict[str, Sample]  # per subset: what is measured on the way; all images of the validation subset


def subset_names(evaluation: Evaluation) -> tuple[str, ...]:
    """The subsets whose values are stored."""
    return ("train", "test", "validation") if evaluation.validation_images else ("train", "test")


def make_subsets(
    dataset: Dataset, split: Split, evaluation: Evaluation, *, study_seed: int, likelihood: str = "bernoulli"
) -> Subsets:
    """Gather the training images and choose the samples, by the study's seed only; the likelihood sets the floors.

    Raises:
        ValueError: the validation subset would leave nothing of the test subset.
    """
    floors = _pixel_floors(likelihoods.likelihood(likelihood))
    whole = {
        name: Sample(dataset.images, index, len(index), floors)
        for name, index in _indices(split, evaluation.validation_images, study_seed).items()
    }

    def samples(purpose: str, sizes: dict[str, int | None]) -> dict[str, Sample]:
        return {name: sample_of(whole[name], size, f"{purpose} {name}", study_seed) for name, size in sizes.items()}

    channels, rows, columns = dataset.images.shape[1:]
    return Subsets(
        train=gather(dataset.images, split.train),
        image_shape=(channels, rows, columns),
        whole=whole,
        final=samples("final", dict.fromkeys(whole, evaluation.final_images)),
        trajectory=samples(
            "trajectory", {name: None if name == "validation" else evaluation.trajectory_images for name in whole}
        ),
    )


def _indices(split: Split, validation_images: int, study_seed: int) -> dict[str, NDArray[np.int64]]:
    """Images of each subset: the validation subset is a random part of the test subset, taken out of it."""
    if not validation_images:
        return {"train": split.train, "test": split.test}
    if validation_images >= len(split.test):
        allowed = f"fewer than the {len(split.test)} images of the test subset"
        raise ValueError(f"evaluation.validation_images is {validation_images}; allowed: {allowed}")
    rng = np.random.default_rng(derive_seed(study_seed, "validation"))
    validation = np.sort(rng.choice(split.test, validation_images, replace=False))
    return {"train": split.train, "test": np.setdiff1d(split.test, validation), "validation": validation}


def gather(images: NDArray[np.uint8], index: NDArray[np.int64]) -> Tensor:
    """Copy images out of the data set, uint8 `[image, pixel]`."""
    return torch.from_numpy(images[index]).flatten(1)


def to_unit(pixels: Tensor) -> Tensor:
    """Pixels as they enter a model: x / 255 in [0, 1], in PyTorch's default type."""
    return torch.div(pixels, 255.0)  # uint8 to the default type in one pass


def sample_of(subset: Sample, size: int | None, purpose: str, study_seed: int) -> Sample:
    """A random sample of a subset, by its purpose and the study's seed; all of it where `size` is None or larger."""
    if size is None or size >= len(subset):
        return subset
    rng = np.random.default_rng(derive_seed(study_seed, f"sample {purpose}"))
    return Sample(subset.source, np.sort(rng.choice(subset.index, size, replace=False)), len(subset), subset.floors)


def _pixel_floors(likelihood: likelihoods.Likelihood) -> NDArray[np.float64]:
    """The least distortion of one pixel for each of its values, nats `[256]`."""
    x = torch.from_numpy(np.arange(256) / 255.0)
    return np.asarray(likelihood.floor(x[:, None]).numpy())


def _mean_floor(images: NDArray[np.uint8], index: NDArray[np.int64], floors: NDArray[np.float64]) -> float:
    """Mean floor of an image, from a count of its 256 pixel values."""
    counts = np.zeros(256, dtype=np.int64)
    for start in range(0, len(index), BLOCK_IMAGES):
        counts += np.bincount(images[index[start : start + BLOCK_IMAGES]].reshape(-1), minlength=256)
    is_counted = floors != 0  # terms of 0 would change the order of the sum, and so the last bit of older results
    return float(counts[is_counted] @ floors[is_counted] / len(index))
