"""MNIST and Fashion-MNIST: 70,000 grey images of 28 × 28 in two IDX files, padded with zeros to 32 × 32.

The IDX format (LeCun, http://yann.lecun.com/exdb/mnist): two zero bytes, a byte for the type (0x08: unsigned byte), a
byte for the number of axes, the length of each axis as a big-endian 32-bit integer, then the values, last axis
fastest. The published train and test files are one data set here, train first: a study's splits are rules over all
images. Labels are not generative factors and are not read.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.reading import gunzipped
from rdstudy.datasets.resize import paste_centred

_UNSIGNED_BYTE = 0x08
_IMAGE_AXES = 3


def parse_idx_images(data: bytes, path: Path) -> NDArray[np.uint8]:
    """Read the contents of an IDX file of images, unpacked: `[image, row, column]`. Errors name its path.

    Raises:
        ValueError: not an IDX file, one of labels, one that is cut short, or one with something behind its images.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise ValueError(f"{path} is no IDX file: it starts with {data[:4].hex() or 'nothing'}; allowed: 0000")
    kind, axes = data[2], data[3]
    if (kind, axes) != (_UNSIGNED_BYTE, _IMAGE_AXES):
        raise ValueError(
            f"{path} has values of type {kind:#04x} along {axes} axes; allowed: type 0x08 along 3 (images, not labels)"
        )
    header = 4 + 4 * axes
    if len(data) < header:
        raise ValueError(f"{path} is cut short in its header")
    shape = struct.unpack(f">{axes}I", data[4:header])
    expected = header + int(np.prod(shape, dtype=np.int64))
    if len(data) != expected:
        raise ValueError(f"{path} has {len(data):,} bytes unpacked; allowed for {shape} images: {expected:,}")
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape)


def read_images(paths: Sequence[Path], out: NDArray[np.uint8]) -> None:
    """Put the images of all files into `out`, zeros `[image, 1, row, column]`, one file after the other.

    Raises:
        ValueError: a file that cannot be read, or that holds other images than `out` has room for.
    """
    start = 0
    for path in paths:
        with gunzipped(path) as stream:
            images = parse_idx_images(stream.read(), path)
        if start + len(images) > len(out) or any(np.array(images.shape[1:]) > out.shape[2:]):
            raise ValueError(f"{path} has {images.shape} images; allowed: up to {(len(out) - start, *out.shape[2:])}")
        paste_centred(images, out[start : start + len(images), 0])
        start += len(images)
    if start != len(out):
        raise ValueError(f"{', '.join(map(str, paths))}: {start:,} images; allowed: {len(out):,}")
