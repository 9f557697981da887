"""A node's cache of generated images: one uint8 file per data set, mapped into memory by every process that reads it.

Written under a temporary name and moved into place, by one process while the others wait on a file lock, which the
operating system lifts when its holder is killed.
"""

import logging
import os
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "RDSTUDY_CACHE"
"""The environment variable that names the cache folder."""


def cache_folder() -> Path:
    """`$RDSTUDY_CACHE`, or `rdstudy` in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rdstudy"
    return Path(os.environ.get(FOLDER_VARIABLE) or default)


def cached_images(
    name: str, shape: tuple[int, ...], generate: Callable[[NDArray[np.uint8]], None], *, folder: Path | None = None
) -> NDArray[np.uint8]:
    """The images of `name`, generated once per node, mapped read-only.

    Args:
        name: of the file, a version of what `generate` draws in it.
        shape: `(image, channel, row, column)`.
        generate: fills an array of zeros of that shape.
        folder: the cache, `cache_folder()` unless given.

    Raises:
        ValueError: the folder cannot be written.
    """
    folder = folder or cache_folder()
    path = folder / f"{name}.npy"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(str(path) + ".lock"):
            images = _map_if_whole(path, shape)
            if images is None:
                _remove_leftovers(path)
                _generate(path, shape, generate)
                images = _map_if_whole(path, shape)
    except OSError as error:
        raise ValueError(f"cache folder {folder} cannot be used: {error}; set {FOLDER_VARIABLE} to another") from None
    assert images is not None, f"{path} was just written whole"
    return images


def _map_if_whole(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    if not path.exists():
        return None
    try:
        images = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, OSError) as error:
        logger.warning("cache file %s is damaged (%s): making it again", path, error)
        return None
    if images.shape != shape or images.dtype != np.uint8:
        logger.warning("cache file %s holds something else: making it again", path)
        return None
    return np.asarray(images)


def _generate(path: Path, shape: tuple[int, ...], generate: Callable[[NDArray[np.uint8]], None]) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; in the mapping it would be a dead process
            with open(temporary, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        generate(images)
        images.flush()
        del images
        os.replace(temporary, path)
    except BaseException:  # gigabytes, and whoever lacks a file may never come back for it
        temporary.unlink(missing_ok=True)
        raise


def _remove_leftovers(path: Path) -> None:
    """Delete what killed processes left; the caller holds the lock, so nobody is writing."""
    for leftover in path.parent.glob(f"{path.name}.*.tmp"):
        leftover.unlink()
