"""SmallNORB (LeCun, Huang & Bottou 2004): 48,600 grey photographs of 50 toys, 96 × 96 averaged to 32 × 32.

Each of two parts (training: instances 4, 6, 7, 8, 9; testing: 0, 1, 2, 3, 5) has three files: `dat`, the images
`[pair, camera, row, column]`; `cat`, the category of each pair; `info`, its instance, elevation, azimuth (tens of
degrees: 0, 2, ..., 34) and lighting. The images of the left camera, the first of each pair, of both parts are one data
set here, as is usual where SmallNORB is used without stereo. Five factors then make up a full grid: category, instance,
elevation, azimuth, lighting.

The binary matrix format (https://cs.nyu.edu/~ylclab/data/norb-v1.0-small): a magic number for the type, the number of
axes, and the length of each axis but of at least three, all little-endian 32-bit integers; then the values, last
axis fastest.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.factors import check_grid
from rdstudy.datasets.reading import BLOCK_BYTES, Stream, expect_end, gunzipped, take
from rdstudy.datasets.resize import area_average

_DTYPES = {0x1E3D4C51: "<f4", 0x1E3D4C53: "<f8", 0x1E3D4C54: "<i4", 0x1E3D4C55: "|u1", 0x1E3D4C56: "<i2"}
_LEAST_LENGTHS = 3
_MOST_AXES = 8
_AZIMUTH_STEP = 2


@dataclass(frozen=True)
class MatrixHeader:
    """What a binary matrix file holds."""

    dtype: np.dtype
    shape: tuple[int, ...]


def read_header(stream: Stream, path: Path) -> MatrixHeader:
    """Read the header, leaving the stream at the first value.

    Raises:
        ValueError: not a binary matrix file, or cut short.
    """
    magic, axes = struct.unpack("<2I", take(stream, 8, path))
    if magic not in _DTYPES or not 1 <= axes <= _MOST_AXES:
        raise ValueError(
            f"{path} is no binary matrix: magic number {magic:#010x}, {axes} axes; "
            f"allowed: {', '.join(f'{number:#010x}' for number in _DTYPES)}, 1 to {_MOST_AXES} axes"
        )
    lengths = max(axes, _LEAST_LENGTHS)
    shape = struct.unpack(f"<{lengths}I", take(stream, 4 * lengths, path))[:axes]
    return MatrixHeader(np.dtype(_DTYPES[magic]), shape)


def read_images(paths: Sequence[Path], out: NDArray[np.uint8]) -> None:
    """Put the left images of all parts into `out`, `[image, 1, row, column]`, averaged to its size.

    Args:
        paths: `dat`, `cat` and `info` of one part after the other.
        out: to be filled whole.

    Raises:
        ValueError: a file that cannot be read, or that holds other images than `out` has room for.
    """
    start = 0
    for path in paths[::3]:
        with gunzipped(path) as stream:
            header = read_header(stream, path)
            _check_images(header, path, out, start)
            pairs, *pair_shape = header.shape
            pair_bytes = int(np.prod(pair_shape))
            factor = pair_shape[1] // out.shape[2]
            step = max(1, BLOCK_BYTES // pair_bytes)
            for begin in range(0, pairs, step):
                count = min(step, pairs - begin)
                block = np.frombuffer(take(stream, count * pair_bytes, path), np.uint8).reshape(count, *pair_shape)
                out[start + begin : start + begin + count] = area_average(block[:, :1], factor)
            expect_end(stream, path)
        start += pairs
    if start != len(out):
        raise ValueError(f"{', '.join(map(str, paths[::3]))}: {start:,} images; allowed: {len(out):,}")


def read_levels(paths: Sequence[Path], sizes: Sequence[int]) -> NDArray[np.int64]:
    """The levels `[image, factor]` of category, instance, elevation, azimuth and lighting.

    Args:
        paths: `dat`, `cat` and `info` of one part after the other.
        sizes: number of levels of each factor.

    Raises:
        ValueError: a file that cannot be read, or levels that are no full grid.
    """
    parts = []
    for category_path, info_path in zip(paths[1::3], paths[2::3], strict=True):
        category = _read_integers(category_path, axes=1)
        info = _read_integers(info_path, axes=2)
        if len(info) != len(category) or info.shape[1] != len(sizes) - 1:
            raise ValueError(f"{info_path} has shape {info.shape}; allowed: {(len(category), len(sizes) - 1)}")
        parts.append(np.column_stack([category, info]))
    levels = np.concatenate(parts)
    azimuth = levels[:, 3]
    if (azimuth % _AZIMUTH_STEP).any():
        raise ValueError(f"{paths[2]} or its like has an odd azimuth; allowed: 0, 2, ..., 34")
    levels[:, 3] = azimuth // _AZIMUTH_STEP
    check_grid(levels, sizes, paths[2])
    return levels


def _check_images(header: MatrixHeader, path: Path, out: NDArray[np.uint8], start: int) -> None:
    side = out.shape[2]
    fits = (
        header.dtype == np.uint8
        and len(header.shape) == 4
        and header.shape[0] <= len(out) - start
        and header.shape[1] == 2
        and header.shape[2] == header.shape[3]
        and header.shape[2] >= side
        and header.shape[2] % side == 0
    )
    if not fits:
        raise ValueError(
            f"{path} holds {header.dtype} values of shape {header.shape}; allowed: bytes, up to {len(out) - start:,} "
            f"pairs of square images, sides a multiple of {side}"
        )


def _read_integers(path: Path, *, axes: int) -> NDArray[np.int64]:
    with gunzipped(path) as stream:
        header = read_header(stream, path)
        if header.dtype != np.dtype("<i4") or len(header.shape) != axes:
            raise ValueError(
                f"{path} holds {header.dtype} values of shape {header.shape}; allowed: int32 along {axes} axes"
            )
        size = int(np.prod(header.shape, dtype=np.int64)) * header.dtype.itemsize
        values = np.frombuffer(take(stream, size, path), header.dtype).reshape(header.shape)
        expect_end(stream, path)
    return values.astype(np.int64)
