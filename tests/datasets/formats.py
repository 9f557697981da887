"""Writers of the published file formats, from their descriptions, for tests. They share nothing with the readers."""

import gzip
import struct
from pathlib import Path

import h5py
import numpy as np

MAGIC = {"uint8": 0x1E3D4C55, "int32": 0x1E3D4C54, "float32": 0x1E3D4C51}


def idx_bytes(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim])
    for length in values.shape:
        header += length.to_bytes(4, "big")
    return header + values.tobytes()


def matrix_bytes(values: np.ndarray) -> bytes:
    lengths = [*values.shape, 1, 1][: max(3, values.ndim)]
    return struct.pack(f"<II{len(lengths)}I", MAGIC[values.dtype.name], values.ndim, *lengths) + values.tobytes()


def write_gz(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content, compresslevel=1))
    return path


def write_hdf5(path: Path, arrays: dict[str, np.ndarray], *, chunks: tuple[int, ...] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            compression = "gzip" if chunks and name == "images" else None
            file.create_dataset(name, data=values, chunks=chunks if compression else None, compression=compression)
    return path


def grid(sizes: tuple[int, ...]) -> np.ndarray:
    """Every combination of levels, the last factor fastest."""
    return np.indices(sizes).reshape(len(sizes), -1).T


def slow_mean(image: np.ndarray, factor: int) -> np.ndarray:
    """`[row, column]` averaged over squares, one after the other, halves up."""
    small = np.empty((image.shape[0] // factor, image.shape[1] // factor), np.uint8)
    for row in range(small.shape[0]):
        for column in range(small.shape[1]):
            square = image[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            small[row, column] = int(square.mean() + 0.5)
    return small
