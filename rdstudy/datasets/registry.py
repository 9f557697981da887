"""The data sets by name: what a plan must know of one without loading it, and how it is loaded."""

from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets import gaussian, tetrominoes
from rdstudy.datasets.cache import cached_images
from rdstudy.datasets.dataset import Dataset, DatasetInfo
from rdstudy.datasets.factors import unit_factors
from rdstudy.datasets.files import local_path
from rdstudy.datasets.own import own_info
from rdstudy.datasets.published import PUBLISHED, SIDE, Published

_TETROMINOES_SEED = 0
"""The images are one fixed data set; a study's seed changes its splits, not its data."""
_TETROMINOES_VERSION = 1
"""Raised when the drawing changes, so that no cached file of older images is taken for new ones."""

_GAUSSIAN_SEED = 0
_GAUSSIAN_VERSION = 1

_LONGEST_SHOWN = 100  # characters of a name that is none


def dataset_info(name: str) -> DatasetInfo:
    """Look up a data set: one of the package's, or one of the user's own that this node has.

    Raises:
        ValueError: there is none of that name.
    """
    info = _DATASETS.get(name) or own_info(name)
    if info is None:
        shown = (
            repr(name) if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]!r}... ({len(name):,} characters)"
        )
        raise ValueError(
            f"data set is {shown}; allowed: {', '.join(_DATASETS)}, or what own_dataset returned on this node"
        )
    return info


def _load_tetrominoes(positions: tetrominoes.Positions) -> Dataset:
    factors = tetrominoes.sample_factors(_TETROMINOES_SEED)

    def generate(out: NDArray[np.uint8]) -> None:
        tetrominoes.render(tetrominoes.shapes_from_factors(factors, positions), out)

    shape = (len(factors), 3, tetrominoes.SIDE, tetrominoes.SIDE)
    name = f"tetrominoes-{positions}-v{_TETROMINOES_VERSION}"
    return Dataset(cached_images(name, shape, generate), factors)


def _tetrominoes(name: str, positions: tetrominoes.Positions) -> DatasetInfo:
    shape = (3, tetrominoes.SIDE, tetrominoes.SIDE)
    count = int(np.prod(tetrominoes.STRATA))
    return DatasetInfo(name, count, shape, tetrominoes.FACTORS, partial(_load_tetrominoes, positions))


def _load_gaussian() -> Dataset:
    def generate(out: NDArray[np.uint8]) -> None:
        out[:] = gaussian.draw(_GAUSSIAN_SEED)

    return Dataset(cached_images(f"gaussian-v{_GAUSSIAN_VERSION}", (gaussian.IMAGES, *gaussian.SHAPE), generate), None)


def _load_published(data: Published) -> Dataset:
    """Read the files once per node; afterwards the cache alone is asked, and the files may go."""
    read_levels = data.read_levels
    name = f"{data.name}-v{data.version}"

    def paths() -> list[Path]:
        data.need()
        return [local_path(file) for file in data.files]

    def fill(out: NDArray[np.uint8]) -> None:
        data.read_images(paths(), out)

    images = cached_images(name, (data.images, data.channels, SIDE, SIDE), fill)
    if read_levels is None:
        return Dataset(images, None)

    def fill_levels(out: NDArray[np.uint8]) -> None:
        out[:] = read_levels(paths())

    levels = cached_images(f"{name}-levels", (data.images, len(data.levels)), fill_levels)
    return Dataset(images, unit_factors(levels, tuple(data.levels.values())))


def _published(data: Published) -> DatasetInfo:
    shape = (data.channels, SIDE, SIDE)
    return DatasetInfo(data.name, data.images, shape, tuple(data.levels), partial(_load_published, data))


_DATASETS = {
    info.name: info
    for info in (
        _tetrominoes("tetrominoes", "adaptive"),
        _tetrominoes("tetrominoes-fixed", "fixed"),
        DatasetInfo("gaussian", gaussian.IMAGES, gaussian.SHAPE, (), _load_gaussian),
        *map(_published, PUBLISHED),
    )
}
