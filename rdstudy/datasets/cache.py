"""A node's cache of generated images: one uint8 file per data set, mapped into memory by every process that reads it.

A file is written under a temporary name and moved into place, by one process while the others wait on a file lock,
which the operating system lifts when its holder is killed. Its SHA-256 lies beside it and is moved into place before
it: a file counts only as long as it has that digest. Each process holds a file against its digest once, and again when
the file has changed. Who finds a whole file needs no lock: a folder that can only be read serves.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from rdstudy.whole_files import replaced_whole

logger = logging.getLogger(__name__)

FOLDER_VARIABLE = "RDSTUDY_CACHE"
"""The environment variable that names the cache folder."""

Stamp = tuple[int, int, int, int]
"""Device, inode, size in bytes and time of the last change in ns: as long as they stay, so do a file's contents."""

# Of files that this process has read whole. SHA-256 takes eight times as long as a plain read of the 503 MB of the
# Tetrominoes from memory (0.33 s, where the processor has instructions for it), BLAKE2b fourteen times.
_digests: dict[Stamp, str] = {}

LARGEST_READ_BYTES = 64 * 2**20
"""Up to here each process may have a copy of its own; more is shared by all of a node, in a mapping."""

_mapped: dict[Path, Stamp] = {}
"""What each file was when this process mapped it last."""


class DamagedError(ValueError):
    """A cache file is not what was written."""


def cache_folder() -> Path:
    """`$RDSTUDY_CACHE`, or `rdstudy` in the user's cache folder.

    Raises:
        ValueError: the variable is not set, and the user has no home folder.
    """
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "rdstudy"
    try:
        return Path.home() / ".cache" / "rdstudy"
    except RuntimeError:
        raise ValueError(
            f"there is no home folder for the cache of images; set {FOLDER_VARIABLE} to a folder"
        ) from None


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
        ValueError: the images are not there whole, and the folder cannot be written.
    """
    path = (folder or cache_folder()) / f"{name}.npy"
    with cache_errors(path):
        with contextlib.suppress(FileNotFoundError, DamagedError):  # looked at again by whoever holds the lock
            images = _map_whole(path, shape)
            clear_beside(path, f"{path.name}.*.tmp")
            return images
        with cache_lock(path):
            try:
                return _map_whole(path, shape)
            except FileNotFoundError:
                pass
            except DamagedError as damage:
                logger.warning("%s: making it again", damage)
            remove_leftovers(path, f"{path.name}.*.tmp")
            write_images(path, shape, generate, write_digest=True)
            return _map_whole(path, shape)


def map_images(path: Path) -> NDArray[np.uint8]:
    """Map a file of images read-only; a small one is read, so that nothing that happens to it later is seen.

    A mapped file that is cut short by somebody ends the process, and its changes are seen: see `changed_files`.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it holds no uint8 array in C order.
    """
    is_small = path.stat().st_size <= LARGEST_READ_BYTES
    try:
        if is_small:
            with open(path, "rb") as file:
                images = np.lib.format.read_array(file, allow_pickle=False)
            images.flags.writeable = False
        else:
            _mapped[path] = stamp(path)
            images = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise DamagedError(f"cache file {path} is damaged ({' '.join(str(error).split())})") from None
    if images.dtype != np.uint8 or not images.flags.c_contiguous:
        raise DamagedError(f"cache file {path} holds something else")
    return np.asarray(images)


def changed_files() -> list[Path]:
    """Files that were changed, replaced or removed since this process mapped them; each is told once.

    What was computed of their images meanwhile cannot be trusted: whoever holds a mapping sees changes of the file.
    """
    changed = [path for path, before in _mapped.items() if _stamp_or_none(path) != before]
    for path in changed:
        del _mapped[path]
    return changed


def _stamp_or_none(path: Path) -> Stamp | None:
    try:
        return stamp(path)
    except OSError:
        return None


def write_images(
    path: Path, shape: tuple[int, ...], generate: Callable[[NDArray[np.uint8]], None], *, write_digest: bool
) -> None:
    """Write a file of images, and before it its digest where it is to have one; the caller holds the lock."""
    with replaced_whole(path) as temporary:
        images = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here; in the mapping it would be a dead process
            with open(temporary, "r+b") as file:
                os.posix_fallocate(file.fileno(), 0, temporary.stat().st_size)
        generate(images)
        images.flush()
        del images
        if write_digest:
            with replaced_whole(_digest_path(path)) as digest_file:
                digest_file.write_text(f"{file_digest(temporary)}  {path.name}\n")  # what `sha256sum -c` reads


def remove_leftovers(path: Path, pattern: str) -> None:
    """Delete what killed processes left beside a file, by a pattern of names; the caller holds the file's lock."""
    for leftover in path.parent.glob(pattern):
        leftover.unlink(missing_ok=True)


def clear_beside(path: Path, pattern: str) -> None:
    """Delete leftovers beside a file that is whole, where one may: it serves with them too."""
    if any(path.parent.glob(pattern)):
        with contextlib.suppress(OSError, ValueError), cache_lock(path):
            remove_leftovers(path, pattern)


@contextmanager
def cache_errors(path: Path) -> Iterator[None]:
    """Turn what the disk raises about a cache file into one line that names the folder."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"cache folder {path.parent} cannot be used: {error}; set {FOLDER_VARIABLE} to another"
        ) from None


@contextmanager
def cache_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a cache file, as everyone does who writes it.

    Raises:
        ValueError: the lock cannot be had; one line that says why it was needed.
    """
    lock = FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError) as error:  # the second: a file system without locks
        why = f"{path.name} is {'not whole' if os.path.exists(path) else 'not there'}, and cannot be written: "
        raise ValueError(
            f"cache folder {path.parent} cannot be used: {why}{error}; set {FOLDER_VARIABLE} to another"
        ) from None
    try:
        yield
    finally:
        lock.release()


def stamp(path: Path) -> Stamp:
    """What changes when the file does."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def file_digest(path: Path) -> str:
    """The SHA-256 of a file in hexadecimal digits, read again only after it has changed."""
    key = stamp(path)
    if key not in _digests:
        with open(path, "rb") as file:  # not the mapping: there, a disk that cannot be read is a dead process
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def _map_whole(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The images of a file that agrees with the digest beside it.

    A file that is replaced meanwhile is looked at again: a damaged one may have been read, and a new one checked.
    """
    while True:
        before = stamp(path)
        images = map_images(path)
        if images.shape != shape:
            raise DamagedError(f"cache file {path} holds something else")
        _check_digest(path)
        if stamp(path) == before:
            return images


def _check_digest(path: Path) -> None:
    try:
        written = _digest_path(path).read_bytes().split()
    except FileNotFoundError:
        raise DamagedError(f"cache file {path} has no digest beside it") from None
    if written[:1] != [file_digest(path).encode()]:
        raise DamagedError(f"cache file {path} is damaged (its SHA-256 is not the one beside it)")


def _digest_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
