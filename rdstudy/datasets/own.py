"""A user's own images as a data set: one call in a study file, whose result is a level of the factor `dataset`.

A worker in another process gets a member's settings and not the study file. So the images are written once into the
node's cache, under a name that ends in a hash of their contents: the name alone finds them, and it is part of a
member's identity, so that other images are other members. `own_files` says what another node needs, and `install_own`
puts it into the cache there, from wherever whoever calls it has carried it.

    faces = own_dataset("faces", images)  # uint8 [image, channel, row, column]
    STUDY = Study(name="mine", experiments=[Experiment("faces", grid={"dataset": [faces], ...})])
"""

import functools
import hashlib
import json
import logging
import os
import re
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from rdstudy.datasets.cache import FOLDER_VARIABLE, cache_folder, cached_images
from rdstudy.datasets.dataset import Dataset, DatasetInfo

logger = logging.getLogger(__name__)

_HASH_DIGITS = 16
_NAME = rf"[A-Za-z0-9][A-Za-z0-9_-]*-[0-9a-f]{{{_HASH_DIGITS}}}"


def own_dataset(
    name: str,
    images: NDArray[np.uint8],
    *,
    factors: NDArray[np.float64] | None = None,
    factor_names: Sequence[str] = (),
) -> str:
    """Keep images in this node's cache.

    Args:
        name: letters, digits, `-` and `_`.
        images: uint8 `[image, channel, row, column]`, two or more.
        factors: `[image, factor]` in the unit cube, where there are any; `checkerboard` and `cd(N)` need them.
        factor_names: one for each factor.

    Returns:
        The name under which studies know the data set: `name`, and a hash of all that was given.

    Raises:
        ValueError: arrays that are no data set, or a cache that cannot be written.
    """
    _check(name, images, factors, factor_names)
    images = np.ascontiguousarray(images)
    factors = None if factors is None else np.ascontiguousarray(factors, np.float64)
    full_name = f"{name}-{_contents_hash(images, factors, factor_names)}"

    def copy(out: NDArray[np.uint8]) -> None:
        out[:] = images

    cached_images(f"own-{full_name}", images.shape, copy)
    known = {"factors": None if factors is None else factors.tolist()}
    text = json.dumps({**_shape_columns(images, factor_names), **known})
    _write_whole(_info_path(full_name), text)
    return full_name


def own_info(name: str) -> DatasetInfo | None:
    """What is known of an own data set, or None where this node has none of that name."""
    path = _info_path(name)
    if not re.fullmatch(_NAME, name) or not path.exists():
        return None
    return _read_info(name, path)


def own_files(name: str) -> dict[str, Path]:
    """The files of an own data set in this node's cache, by their names; empty where it is no such data set."""
    if own_info(name) is None:
        return {}
    return {path.name: path for path in (_images_path(name), _info_path(name))}


def install_own(name: str, fetch: Callable[[str, Path], None]) -> None:
    """Put an own data set that this node lacks into its cache; nothing happens where it is there, or is no such name.

    One process of a node fetches, the others wait. What came is held against the hash in the name.

    Args:
        name: of the data set.
        fetch: (a name of `own_files`, a path) writes a copy of that file there; FileNotFoundError where there is none,
            and then the data set stays unknown here.

    Raises:
        ValueError: what came is something else, or the cache cannot be written.
    """
    paths = (_images_path(name), _info_path(name))
    if not re.fullmatch(_NAME, name) or all(path.exists() for path in paths):
        return
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"own-{name}.fetch.lock")
        lock.acquire()
    except OSError as error:
        raise ValueError(f"cache folder {folder} cannot be used: {error}; set {FOLDER_VARIABLE} to another") from None
    try:
        if not all(path.exists() for path in paths):
            _fetch(name, paths, fetch)
    except FileNotFoundError:
        logger.warning("data set %r is neither in %s nor where the results are", name, folder)
    finally:
        lock.release()


def _fetch(name: str, paths: tuple[Path, Path], fetch: Callable[[str, Path], None]) -> None:
    """Fetch both files under temporary names and move them into place, the description, by which it is found, last."""
    temporary = [path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp") for path in paths]
    try:
        for path, copy in zip(paths, temporary, strict=True):
            fetch(path.name, copy)
        if not _is_named_by_its_contents(name, *temporary):
            raise ValueError(f"the copy of data set {name!r} that came here is damaged; run its study file again")
        for path, copy in zip(paths, temporary, strict=True):
            os.replace(copy, path)
    finally:
        for copy in temporary:
            copy.unlink(missing_ok=True)


def _is_named_by_its_contents(name: str, images_file: Path, info_file: Path) -> bool:
    try:
        known = json.loads(info_file.read_text())
        images = np.load(images_file, mmap_mode="r")
        factors = None if known["factors"] is None else np.array(known["factors"], np.float64)
        return name.endswith(f"-{_contents_hash(images, factors, known['factor_names'])}")
    except (ValueError, EOFError, KeyError, TypeError):
        return False


def _contents_hash(images: NDArray[np.uint8], factors: NDArray[np.float64] | None, factor_names: Sequence[str]) -> str:
    digest = hashlib.sha256(json.dumps(_shape_columns(images, factor_names)).encode())
    digest.update(images.data)
    if factors is not None:
        digest.update(factors.data)
    return digest.hexdigest()[:_HASH_DIGITS]


def _shape_columns(images: NDArray[np.uint8], factor_names: Sequence[str]) -> dict[str, object]:
    return {"images": len(images), "image_shape": list(images.shape[1:]), "factor_names": list(factor_names)}


@functools.lru_cache(maxsize=32)
def _read_info(name: str, path: Path) -> DatasetInfo:
    known = json.loads(path.read_text())
    channels, rows, columns = known["image_shape"]
    factors = None if known["factors"] is None else np.array(known["factors"])
    shape = (channels, rows, columns)
    return DatasetInfo(
        name,
        known["images"],
        shape,
        tuple(known["factor_names"]),
        partial(_load, name, known["images"], shape, factors),
    )


def _load(name: str, count: int, shape: tuple[int, int, int], factors: NDArray[np.float64] | None) -> Dataset:
    def absent(out: NDArray[np.uint8]) -> None:
        raise ValueError(
            f"the images of data set {name!r}, {len(out):,}, are not in {cache_folder()}; run the study file on this "
            f"node, or set {FOLDER_VARIABLE} to a folder that all nodes reach"
        )

    return Dataset(cached_images(f"own-{name}", (count, *shape), absent), factors)


def _images_path(name: str) -> Path:
    return cache_folder() / f"own-{name}.npy"


def _info_path(name: str) -> Path:
    return cache_folder() / f"own-{name}.json"


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error}; set {FOLDER_VARIABLE} to another folder") from None


def _check(
    name: str, images: NDArray[np.uint8], factors: NDArray[np.float64] | None, factor_names: Sequence[str]
) -> None:
    where = f"own data set {name!r}"
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise ValueError(f"{where}; allowed: a name of up to 64 letters, digits, - and _")
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"{where}: images are {found}; allowed: uint8 [image, channel, row, column]")
    if len(images) < 2 or 0 in images.shape:
        raise ValueError(f"{where}: images have shape {images.shape}; allowed: two images or more, of a pixel or more")
    if isinstance(factor_names, str) or len(set(factor_names)) != len(factor_names):
        raise ValueError(f"{where}: factor_names are {factor_names!r}; allowed: a list of distinct names")
    found_shape = None if factors is None else np.shape(factors)
    wanted_shape = (len(images), len(factor_names)) if factor_names else None
    if found_shape != wanted_shape:
        raise ValueError(f"{where}: factors have shape {found_shape}; allowed with its factor_names: {wanted_shape}")
    if factors is not None and not ((np.asarray(factors) >= 0) & (np.asarray(factors) <= 1)).all():
        raise ValueError(f"{where}: factors leave the unit cube; allowed: numbers from 0 to 1")
