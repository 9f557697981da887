"""A user's own images as a data set: one call in a study file, whose result is a level of the factor `dataset`.

A worker in another process gets a member's settings and not the study file. So the images are written once into the
node's cache, under a name that ends in a hash of their contents: the name alone finds them, and it is part of a
member's identity, so that other images are other members. `own_files` says what another node needs, and `install_own`
puts it into the cache there, from wherever whoever calls it has carried it. Files are held against the hash in their
name before they are read, sent or kept, and again when they have changed.

    faces = own_dataset("faces", images)  # uint8 [image, channel, row, column]
    STUDY = Study(name="mine", experiments=[Experiment("faces", grid={"dataset": [faces], ...})])
"""

import functools
import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.cache import (
    FOLDER_VARIABLE,
    DamagedError,
    Stamp,
    cache_errors,
    cache_folder,
    cache_lock,
    clear_beside,
    map_images,
    remove_leftovers,
    stamp,
    write_images,
)
from rdstudy.datasets.dataset import Dataset, DatasetInfo
from rdstudy.datasets.own_arrays import LONGEST_NAME, check_arrays
from rdstudy.whole_files import replaced_whole

logger = logging.getLogger(__name__)

_HASH_DIGITS = 16
_NAME = rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}-[0-9a-f]{{{_HASH_DIGITS}}}"


@dataclass(frozen=True)
class _Files:
    """The two files of a data set; `description` has all but the images, and what is found by name is found by it."""

    images: Path
    description: Path

    @property
    def temporary(self) -> str:
        """The pattern of what is not in place yet."""
        return f"{self.images.stem}.*.tmp"


@dataclass(frozen=True)
class _Description:
    images: int
    image_shape: tuple[int, int, int]  # channel, row, column
    factor_names: tuple[str, ...]
    factors: NDArray[np.float64] | None  # [image, factor]


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
        images: uint8 `[image, channel, row, column]`, two or more, of one channel or three, from 0 (black) to 255.
        factors: `[image, factor]` in the unit cube, where there are any; `checkerboard` and `cd(N)` need them.
        factor_names: one for each factor.

    Returns:
        The name under which studies know the data set: `name`, and a hash of all that was given.

    Raises:
        ValueError: arrays that are no data set, or a cache that cannot be written.
    """
    factor_names = factor_names if isinstance(factor_names, str) else tuple(factor_names)
    folder = cache_folder()
    check_arrays(name, images, factors, factor_names, folder)
    try:
        images = np.ascontiguousarray(images)
    except MemoryError:
        raise ValueError(
            f"own data set {name!r}: no memory to put {images.nbytes:,} bytes of images in order; allowed: an array in "
            "C order, as of np.load(file, mmap_mode='r')"
        ) from None
    factors = None if factors is None else np.ascontiguousarray(factors, np.float64)
    digest = _begin_hash(images, factor_names)
    digest.update(images.data)
    full_name = f"{name}-{_end_hash(digest, factors)}"
    files = _files(full_name, folder)
    with cache_errors(files.images):
        if _damage(full_name, files) is None:  # a cache that can only be read serves
            clear_beside(files.images, files.temporary)
        else:
            with cache_lock(files.images):
                _keep(full_name, files, images, factors, factor_names)
    return full_name


def is_own_name(name: str) -> bool:
    """Whether a name is one that `own_dataset` may have returned."""
    return re.fullmatch(_NAME, name) is not None


def own_info(name: str) -> DatasetInfo | None:
    """What is known of an own data set, or None where this node has none of that name.

    Raises:
        ValueError: its description cannot be read.
    """
    if not is_own_name(name):
        return None
    file = _files(name, cache_folder()).description
    with cache_errors(file):
        if not file.exists():
            return None
        try:
            known = _describe(file, stamp(file))
        except DamagedError as damage:
            raise _unusable(name, str(damage)) from None
    return DatasetInfo(name, known.images, known.image_shape, known.factor_names, partial(_load, name))


def own_files(name: str) -> dict[str, Path]:
    """The files of an own data set in this node's cache, by their names; empty where it is no such data set.

    Raises:
        ValueError: they are damaged.
    """
    if own_info(name) is None:
        return {}
    files = _files(name, cache_folder())
    _hold(name, files)
    return {path.name: path for path in (files.images, files.description)}


def install_own(name: str, fetch: Callable[[str, Path], object]) -> None:
    """Put an own data set that this node lacks, or has damaged, into its cache; nothing happens where it is there, or
    is no such name.

    One process of a node fetches, the others wait. What came is held against the hash in the name.

    Args:
        name: of the data set.
        fetch: (a name of `own_files`, a path) writes a copy of that file there; FileNotFoundError where there is none,
            and then the data set stays as it is here.

    Raises:
        ValueError: what came is something else, or the cache cannot be written.
    """
    if not is_own_name(name):
        return
    files = _files(name, cache_folder())
    with cache_errors(files.images):
        if _damage(name, files) is None:
            clear_beside(files.images, files.temporary)
            return
    with cache_lock(files.images):
        with cache_errors(files.images):  # and not what `fetch` raises: that is of another place
            damage = _damage(name, files)
            if damage is None:
                return
            if files.description.exists():
                logger.warning("data set %r: %s: fetching it again", name, damage)
            remove_leftovers(files.images, files.temporary)
        try:
            _fetch(name, files, fetch)
        except FileNotFoundError:
            logger.warning("data set %r is neither whole in %s nor where the results are", name, files.images.parent)


def _keep(
    name: str,
    files: _Files,
    images: NDArray[np.uint8],
    factors: NDArray[np.float64] | None,
    factor_names: Sequence[str],
) -> None:
    """Write both files, the description last, unless another process has done so; the caller holds the lock."""
    damage = _damage(name, files)
    if damage is None:
        return
    if files.description.exists():
        logger.warning("data set %r: %s: writing it again", name, damage)
    remove_leftovers(files.images, files.temporary)
    write_images(files.images, images.shape, lambda out: np.copyto(out, images), write_digest=False)
    known = {"factors": None if factors is None else factors.tolist()}
    with replaced_whole(files.description) as temporary:
        temporary.write_text(json.dumps({**_shape_columns(images, factor_names), **known}))


def _fetch(name: str, files: _Files, fetch: Callable[[str, Path], object]) -> None:
    """Fetch both files under temporary names and move them into place, the description last."""
    with ExitStack() as stack:  # left in the opposite order
        copies = [stack.enter_context(replaced_whole(path)) for path in (files.description, files.images)][::-1]
        for path, copy in zip((files.images, files.description), copies, strict=True):
            fetch(path.name, copy)
        if _damage(name, _Files(*copies)) is not None:
            raise ValueError(
                f"the copy of data set {name!r} that came here is damaged; delete it where the results are, and run "
                "its study file again"
            )


def _load(name: str) -> Dataset:
    files = _files(name, cache_folder())
    _hold(name, files)
    with cache_errors(files.images):
        return Dataset(map_images(files.images), _describe(files.description, stamp(files.description)).factors)


def _hold(name: str, files: _Files) -> None:
    """Hold that files are what their name says.

    Raises:
        ValueError: they are not, or are not there.
    """
    with cache_errors(files.images):
        damage = _damage(name, files)
    if damage is not None:
        raise _unusable(name, damage)


def _unusable(name: str, why: str) -> ValueError:
    return ValueError(
        f"data set {name!r}: {why}; run the study file on this node, or set {FOLDER_VARIABLE} to a folder that all "
        "nodes reach"
    )


def _damage(name: str, files: _Files) -> str | None:
    """Why files are not what their name says, in words; None where they are."""
    for path in (files.images, files.description):
        if not path.exists():
            return f"{path} is not there"
    try:
        digest = _hash_of_files(files, (stamp(files.images), stamp(files.description)))
    except DamagedError as damage:
        return str(damage)
    if name.endswith(f"-{digest}"):
        return None
    return f"{files.images} or its .json is damaged (they have the hash {digest})"


@functools.lru_cache(maxsize=64)
def _hash_of_files(files: _Files, stamps: tuple[Stamp, Stamp]) -> str:
    """The hash of what files hold; read once for each pair of stamps."""
    known = _describe(files.description, stamps[1])
    images = map_images(files.images)
    if images.shape != (known.images, *known.image_shape):
        raise DamagedError(f"{files.images} and its .json are damaged (their shapes differ)")
    digest = _begin_hash(images, known.factor_names)
    with open(files.images, "rb") as file:  # not the mapping: there, a disk that cannot be read is a dead process
        file.seek(-images.nbytes, os.SEEK_END)
        hashlib.file_digest(file, lambda: digest)
    return _end_hash(digest, known.factors)


@functools.lru_cache(maxsize=64)
def _describe(file: Path, changed: Stamp) -> _Description:  # noqa: ARG001 (`changed`: what was read before may be old)
    """Read a description.

    Raises:
        DamagedError: it is none.
    """
    try:
        known = json.loads(file.read_text())
        channels, rows, columns = (int(size) for size in known["image_shape"])
        names = tuple(known["factor_names"])
        factors = None if known["factors"] is None else np.array(known["factors"], np.float64)
        described = _Description(int(known["images"]), (channels, rows, columns), names, factors)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedError(f"{file} is damaged ({' '.join(str(error).split())})") from None
    if (None if factors is None else factors.shape) != ((described.images, len(names)) if names else None):
        raise DamagedError(f"{file} is damaged (other factors than names of factors)")
    return described


def _begin_hash(images: NDArray[np.uint8], factor_names: Sequence[str]) -> "hashlib._Hash":
    """Of all but images and factors; the bytes of the images come next."""
    return hashlib.sha256(json.dumps(_shape_columns(images, factor_names)).encode())


def _end_hash(digest: "hashlib._Hash", factors: NDArray[np.float64] | None) -> str:
    if factors is not None:
        digest.update(factors.data)
    return digest.hexdigest()[:_HASH_DIGITS]


def _shape_columns(images: NDArray[np.uint8], factor_names: Sequence[str]) -> dict[str, object]:
    return {"images": len(images), "image_shape": list(images.shape[1:]), "factor_names": list(factor_names)}


def _files(name: str, folder: Path) -> _Files:
    return _Files(folder / f"own-{name}.npy", folder / f"own-{name}.json")
