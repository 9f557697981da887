"""3dShapes (Burgess & Kim 2018): 480,000 colour pictures of a thing in a room, 64 × 64 averaged to 32 × 32.

One HDF5 file: `images`, uint8 `[image, row, column, channel]`, and `labels`, the values of six factors `[image,
factor]`, of which every combination is there once: hue of floor, wall and object, scale, shape, orientation.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.factors import check_grid, levels_of_values
from rdstudy.datasets.reading import BLOCK_BYTES, damage_named
from rdstudy.datasets.resize import area_average

if TYPE_CHECKING:
    import h5py

_MOST_BLOCK_IMAGES = 20_000


def read_images(paths: Sequence[Path], out: NDArray[np.uint8]) -> None:
    """Put the images of the only file into `out`, `[image, channel, row, column]`, averaged to its size.

    Raises:
        ValueError: no such HDF5 file, or other images than `out` has room for.
    """
    (path,) = paths
    with damage_named(path), _open(path) as file:
        images = _dataset(file, "images", path)
        count, channels, side, _ = out.shape
        factor = images.shape[1] // side if images.ndim == 4 else 0
        if images.dtype != np.uint8 or not factor or images.shape != (count, factor * side, factor * side, channels):
            raise ValueError(
                f"{path} holds {images.dtype} images of shape {images.shape}; allowed: uint8, "
                f"{(count, '', '', channels)} with square sides a multiple of {side}".replace("''", "side")
            )
        step = _block_images(images)
        for start in range(0, count, step):
            block = images[start : start + step].transpose(0, 3, 1, 2)
            out[start : start + step] = area_average(block, factor)


def read_levels(paths: Sequence[Path], sizes: Sequence[int]) -> NDArray[np.int64]:
    """The levels `[image, factor]` of the factors.

    Raises:
        ValueError: no such HDF5 file, or labels that are no full grid.
    """
    (path,) = paths
    with damage_named(path), _open(path) as file:
        labels = np.asarray(_dataset(file, "labels", path))
    if labels.ndim != 2 or labels.dtype.kind not in "fiu" or not np.isfinite(labels).all():
        raise ValueError(
            f"{path} holds {labels.dtype} labels of shape {labels.shape}; allowed: numbers [image, factor]"
        )
    levels = levels_of_values(labels)
    check_grid(levels, sizes, path)
    return levels


def need_h5py() -> None:
    """Hold that files can be read, before they are downloaded.

    Raises:
        ValueError: what to install.
    """
    try:
        import h5py  # noqa: F401 (late: nothing else needs it)
    except ImportError:
        raise ValueError("3dshapes is read with h5py; python -m pip install 'rdstudy[h5]'") from None


def _open(path: Path) -> "h5py.File":
    import h5py

    return h5py.File(path, "r")


def _dataset(file: "h5py.File", name: str, path: Path) -> Any:
    import h5py

    array = file.get(name)
    if not isinstance(array, h5py.Dataset):
        raise ValueError(f"{path} has no data set {name!r}; allowed: an HDF5 file with 'images' and 'labels'")
    return array


def _block_images(images: Any) -> int:
    """Images to read at a time: whole chunks of the file, each of which is unpacked as often as it is touched."""
    chunk = images.chunks[0] if images.chunks else 1
    block = max(1, BLOCK_BYTES // int(np.prod(images.shape[1:])))
    return int(min(chunk * max(1, block // chunk), _MOST_BLOCK_IMAGES))
