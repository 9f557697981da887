"""The published data sets: what is known of each, where its files are, and who reads them.

Where checksums come from: those of MNIST, Fashion-MNIST, SmallNORB and 3dShapes (SHA-256 and size) are the ones that
TensorFlow Datasets records; that of dSprites (MD5, no size) is the one that several libraries which load it agree on.
Those of MNIST's test files were held against the files themselves; the others have not been.

MNIST and Fashion-MNIST are on hosts that fail apart. SmallNORB (New York University), 3dShapes (Google) and dSprites
(GitHub) are each on one host under two addresses: no other is known that sends the same file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets import dsprites, idx, shapes3d, smallnorb
from rdstudy.datasets.download import RemoteFile

SIDE = 32
"""Height and width of an image, in pixels."""


@dataclass(frozen=True)
class Published:
    """A data set that others have published."""

    name: str
    version: int  # raised when reading changes, so that no cached file of older images is taken for new ones
    images: int
    channels: int
    levels: dict[str, int]  # factor -> number of its levels; empty where there are none
    files: tuple[RemoteFile, ...]
    read_images: Callable[[Sequence[Path], NDArray[np.uint8]], None]
    read_levels: Callable[[Sequence[Path]], NDArray[np.int64]] | None  # None where there are no factors
    need: Callable[[], None] = lambda: None  # raises a ValueError where what reads the files is not installed


def _files(
    dataset: str, mirrors: Sequence[str], files: dict[str, tuple[int | None, str]], *, algorithm: str = "sha256"
) -> tuple[RemoteFile, ...]:
    """The files of a data set, name -> size and checksum, each under its name at all mirrors."""
    return tuple(
        RemoteFile(dataset, name, tuple(f"{mirror}/{name}" for mirror in mirrors), f"{algorithm}:{digest}", size)
        for name, (size, digest) in files.items()
    )


def _idx(name: str, mirrors: Sequence[str], files: dict[str, tuple[int | None, str]]) -> Published:
    return Published(name, 1, 70_000, 1, {}, _files(name, mirrors, files), idx.read_images, None)


_MNIST = _idx(
    "mnist",
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        "http://yann.lecun.com/exdb/mnist",
    ),
    {
        "train-images-idx3-ubyte.gz": (
            9_912_422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        "t10k-images-idx3-ubyte.gz": (
            1_648_877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
    },
)

_FASHION = _idx(
    "fashion-mnist",
    (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
    ),
    {
        "train-images-idx3-ubyte.gz": (
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        "t10k-images-idx3-ubyte.gz": (
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
    },
)

_NORB_MIRRORS = ("https://cs.nyu.edu/~ylclab/data/norb-v1.0-small", "https://cs.nyu.edu/~yann/data/norb-v1.0-small")
_NORB_FILES: dict[str, tuple[int | None, str]] = {
    "46789x9x18x6x2x96x96-training-dat": (
        131_896_188,
        "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    ),
    "46789x9x18x6x2x96x96-training-cat": (
        348,
        "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
    ),
    "46789x9x18x6x2x96x96-training-info": (
        71_052,
        "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
    ),
    "01235x9x18x6x2x96x96-testing-dat": (
        130_799_817,
        "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
    ),
    "01235x9x18x6x2x96x96-testing-cat": (
        347,
        "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
    ),
    "01235x9x18x6x2x96x96-testing-info": (
        10_428,
        "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
    ),
}
_NORB_LEVELS = {"category": 5, "instance": 10, "elevation": 9, "azimuth": 18, "lighting": 6}
_NORB = Published(
    "smallnorb",
    1,
    48_600,
    1,
    _NORB_LEVELS,
    _files("smallnorb", _NORB_MIRRORS, {f"smallnorb-5x{part}.mat.gz": known for part, known in _NORB_FILES.items()}),
    smallnorb.read_images,
    partial(smallnorb.read_levels, sizes=tuple(_NORB_LEVELS.values())),
)

_SHAPES_LEVELS = {"floor_hue": 10, "wall_hue": 10, "object_hue": 10, "scale": 8, "shape": 4, "orientation": 15}
_SHAPES = Published(
    "3dshapes",
    1,
    480_000,
    3,
    _SHAPES_LEVELS,
    _files(
        "3dshapes",
        ("https://storage.googleapis.com/3d-shapes", "https://3d-shapes.storage.googleapis.com"),
        {"3dshapes.h5": (267_573_662, "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785")},
    ),
    shapes3d.read_images,
    partial(shapes3d.read_levels, sizes=tuple(_SHAPES_LEVELS.values())),
    shapes3d.need_h5py,
)

_DSPRITES_LEVELS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
_DSPRITES = Published(
    "dsprites",
    1,
    737_280,
    1,
    _DSPRITES_LEVELS,
    _files(
        "dsprites",
        (
            "https://github.com/google-deepmind/dsprites-dataset/raw/master",
            "https://raw.githubusercontent.com/google-deepmind/dsprites-dataset/master",
        ),
        {"dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz": (None, "7da33b31b13a06f4b04a70402ce90c2e")},
        algorithm="md5",
    ),
    dsprites.read_images,
    partial(dsprites.read_levels, sizes=tuple(_DSPRITES_LEVELS.values())),
)

PUBLISHED = (_MNIST, _FASHION, _NORB, _SHAPES, _DSPRITES)
