"""A short folder of a run's own, for Ray's files and the records of Tune; the next run removes what a kill left.

Whether a run lives is asked of the kernel: it holds a lock on a file in its folder, and loses it however it ends.
The folder is closed to other users; Ray opens the one that it is given to all of them, so that one lies inside.
"""

import contextlib
import fcntl
import functools
import logging
import os
import platform
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

_PREFIX = "rd-"
_LOCK = "rdstudy.lock"
_LONGEST_SOCKET = 107 if sys.platform.startswith("linux") else 103  # bytes of a path, says the kernel
_RAY = "r"
_BELOW = (
    f"/{_PREFIX}12345678/{_RAY}/session_2026-01-31_12-34-56_123456_{2**22}/sockets/plasma_store"  # Ray's longest socket
)
_LEAST_FREE_BYTES = 64 * 2**20  # logs, and what else Ray writes


class NotStartedError(ValueError):
    """Ray did not start: its folder, which has its log, is left for whoever asks why, until the next run."""


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes away with the block, or with the next run where this process is killed.

    Raises:
        ValueError: no folder can be made there; names the variable that says where else.
    """
    parent = _parent(os.environ.get("RAY_TMPDIR"), os.environ.get("TMPDIR"))
    _remove_left(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = _mark(folder)
    except OSError as error:
        raise ValueError(f"no folder can be made in {parent}: {error}; RAY_TMPDIR says where else") from None
    try:
        yield folder
    except NotStartedError:
        raise
    except BaseException:
        _remove(folder)
        raise
    else:
        _remove(folder)
    finally:
        if lock is not None:
            os.close(lock)


def ray_folder(folder: Path) -> Path:
    """Where Ray's own files are in such a folder; short, as paths of sockets must be."""
    return folder / _RAY


@functools.cache  # what is wrong with a folder is said once
def _parent(named: str | None, usual: str | None) -> str:
    """The folder in which ours is made: RAY_TMPDIR, TMPDIR, /tmp, as with Ray itself, which leaves out the last."""
    if named:
        if problem := _problem(named):
            raise ValueError(f"RAY_TMPDIR is {named}, which {problem}; allowed: {_allowed()}")
        return os.path.abspath(named)
    parents = [usual] if usual and sys.platform.startswith("linux") else []  # elsewhere it is always a long one
    problems: list[str] = []
    for parent in (*parents, "/tmp"):  # noqa: S108 - mkdtemp makes a folder of a new name there, for this user alone
        problem = _problem(parent)
        if problem is None:
            if problems:
                logger.warning("%s: Ray's files are in %s", "; ".join(problems), parent)
            return os.path.abspath(parent)
        problems.append(f"{'TMPDIR' if parent == usual else 'the usual folder'} is {parent}, which {problem}")
    raise ValueError(f"no folder for Ray's files: {'; '.join(problems)}; allowed: RAY_TMPDIR set to {_allowed()}")


def _allowed() -> str:
    return f"a folder that can be written, of at most {_longest()} characters, on a disk that is not full"


def _longest() -> int:
    return _LONGEST_SOCKET - len(_BELOW)


def _problem(parent: str) -> str | None:
    """Why Ray's folder cannot be made in `parent`; None where it can."""
    path = os.path.abspath(parent)
    if len(os.fsencode(path)) > _longest():
        return f"is longer than the {_longest()} characters that sockets leave it"
    if not os.path.isdir(path):
        return "is no folder"
    if not os.access(path, os.W_OK | os.X_OK):
        return "cannot be written"
    if shutil.disk_usage(path).free < _LEAST_FREE_BYTES:
        return "is on a disk that is full"
    return None


def _mark(folder: Path) -> int | None:
    """Take the lock that says that this run lives; None where files cannot be locked: then nobody removes the folder.

    The lock is held before it has the name that others look for.
    """
    new = folder / f"{_LOCK}.new"
    new.write_text(platform.node())
    lock = os.open(new, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        new.unlink()
        return None
    new.rename(folder / _LOCK)
    return lock


def _remove_left(parent: str) -> None:
    """Remove what killed runs of this user on this machine left in `parent`."""
    for folder in Path(parent).glob(f"{_PREFIX}*"):
        try:
            status = folder.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
                continue
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:  # no folder of a run, or one that has just gone
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # another machine's lock in a shared folder may not be seen from here
            if os.read(lock, 1024).decode(errors="replace") == platform.node():
                _remove(folder)
                logger.warning("removed %s, which was left by a run that ended without removing it", folder)
        except OSError:  # that run lives
            continue
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: what cannot be removed now is left to the next run."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name == _LOCK:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if [path.name for path in folder.iterdir()] in ([], [_LOCK]):
            (folder / _LOCK).unlink(missing_ok=True)
            folder.rmdir()
