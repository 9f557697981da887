"""dSprites (Matthey et al. 2017): 737,280 white shapes on black, 64 × 64 averaged to 32 × 32.

One npz archive: `imgs`, 0 or 1, `[image, row, column]`, and `latents_classes`, the levels of six factors `[image,
factor]`, of which every combination is there once: colour (one level, left out here), shape, scale, orientation, x, y.
Averaging 2 × 2 pixels leaves five grey levels. Its pickled `metadata` is never read.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.factors import check_grid
from rdstudy.datasets.reading import BLOCK_BYTES, Stream, damage_named, expect_end, take
from rdstudy.datasets.resize import area_average

_WHITE = 255


@dataclass(frozen=True)
class _Array:
    """An array of an archive, not read yet."""

    stream: Stream
    dtype: np.dtype
    shape: tuple[int, ...]
    in_columns: bool  # the first axis varies fastest

    def rows(self, path: Path) -> Iterator[NDArray[Any]]:
        """All of it, in blocks along the first axis; in one where it lies in columns."""
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        step = len(self) if self.in_columns else max(1, BLOCK_BYTES // row_bytes)
        for start in range(0, len(self), step):
            size = min(step, len(self) - start)
            values = np.frombuffer(take(self.stream, size * row_bytes, path), self.dtype)
            yield values.reshape((size, *self.shape[1:]), order="F" if self.in_columns else "C")
        expect_end(self.stream, path)

    def __len__(self) -> int:
        return self.shape[0]


def read_images(paths: Sequence[Path], out: NDArray[np.uint8]) -> None:
    """Put the images of the only file into `out`, `[image, 1, row, column]`, averaged to its size.

    The three GB that the archive unpacks to are not in memory at once.

    Raises:
        ValueError: no such archive, or other images than `out` has room for.
    """
    (path,) = paths
    with _array(path, "imgs") as images:
        count, _, side, _ = out.shape
        factor = images.shape[1] // side if len(images.shape) == 3 else 0
        if images.dtype != np.uint8 or not factor or images.shape != (count, factor * side, factor * side):
            raise ValueError(
                f"{path} holds {images.dtype} images of shape {images.shape}; allowed: uint8, {count:,} square ones "
                f"with sides a multiple of {side}"
            )
        start = 0
        for block in images.rows(path):
            if block.max() > 1:
                raise ValueError(f"{path} has pixels of {block.max()}; allowed: 0, 1")
            out[start : start + len(block)] = area_average(_WHITE * block[:, None], factor)
            start += len(block)


def read_levels(paths: Sequence[Path], sizes: Sequence[int]) -> NDArray[np.int64]:
    """The levels `[image, factor]` of the factors, colour left out.

    Raises:
        ValueError: no such archive, or levels that are no full grid.
    """
    (path,) = paths
    with _array(path, "latents_classes") as classes:
        if classes.dtype.kind not in "iu" or len(classes.shape) != 2:
            raise ValueError(
                f"{path} holds {classes.dtype} classes of shape {classes.shape}; allowed: integers [image, factor]"
            )
        levels = np.concatenate(list(classes.rows(path))).astype(np.int64)
    check_grid(levels, (1, *sizes), path)
    return levels[:, 1:]


@contextmanager
def _array(path: Path, name: str) -> Iterator[_Array]:
    """One array of the archive, its stream at the first value."""
    with damage_named(path), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise ValueError(f"{path} has no array {name!r}; allowed: an npz archive with 'imgs' and 'latents_classes'")
        with archive.open(f"{name}.npy") as stream:
            yield _header(stream, path)


def _header(stream: Stream, path: Path) -> _Array:
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, in_columns, dtype = read(stream)
    except ValueError as error:
        raise ValueError(f"{path} holds no array that can be read: {' '.join(str(error).split())}") from None
    if dtype.hasobject or not shape:
        raise ValueError(f"{path} holds {dtype} values of shape {shape}; allowed: numbers along one axis or more")
    return _Array(stream, dtype, shape, in_columns)
