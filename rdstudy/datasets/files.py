"""Where the published files lie on this machine, and how they come there.

`$RDSTUDY_DATA` is a folder of files put there by hand, `<data set>/<file>`; it is only read. What is not in it is
downloaded once per node into the cache, `files/<data set>/<file>`. With `RDSTUDY_OFFLINE=1` nothing is downloaded, and
the error says which file to put where. Every file is held against its published checksum before it is read.
"""

import logging
import os
from pathlib import Path

from rdstudy.datasets.cache import cache_errors, cache_folder, cache_lock, clear_beside
from rdstudy.datasets.download import RemoteFile, download, part_path

logger = logging.getLogger(__name__)

DATA_VARIABLE = "RDSTUDY_DATA"
"""The environment variable that names the folder of files put there by hand."""
OFFLINE_VARIABLE = "RDSTUDY_OFFLINE"
"""The environment variable that forbids downloads."""


def offline() -> bool:
    """Whether `$RDSTUDY_OFFLINE` forbids downloads.

    Raises:
        ValueError: it is something else than 0 or 1.
    """
    value = os.environ.get(OFFLINE_VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{OFFLINE_VARIABLE} is {value!r}; allowed: 0, 1")
    return value == "1"


def local_path(file: RemoteFile) -> Path:
    """Where `file` lies on this machine, whole: downloaded by one process while the others wait.

    Raises:
        ValueError: it is not there and cannot be had; one line that says what to put where.
    """
    folder = os.environ.get(DATA_VARIABLE)
    by_hand = Path(folder) / file.dataset / file.name if folder else None
    if by_hand is not None and by_hand.exists():
        problem = file.problem(by_hand)
        if problem is not None:
            raise ValueError(f"{by_hand} is not that file of {file.dataset}: {problem}; it is at {file.urls[0]}")
        return by_hand
    path = cache_folder() / "files" / file.dataset / file.name
    with cache_errors(path):
        if path.exists() and file.problem(path) is None:  # a cache that can only be read serves
            clear_beside(path, part_path(path).name)  # a file may have come another way than its broken download
            return path
        with cache_lock(path):
            if not _is_whole(file, path):
                if offline():
                    raise ValueError(
                        f"{file.name} of {file.dataset} is not on this machine, and {OFFLINE_VARIABLE} is set; "
                        f"put it at {by_hand or path} (from {file.urls[0]}, {file.checksum})"
                    )
                download(file, path)
    return path


def _is_whole(file: RemoteFile, path: Path) -> bool:
    if not path.exists():
        return False
    problem = file.problem(path)
    if problem is not None:
        logger.warning("%s is damaged (%s): it has to be had again", path, problem)
    return problem is None
