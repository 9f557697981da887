"""A local file that is there whole or not at all.

Below all rooms: data sets, results and the report write files, and none of them knows another. Standard library alone.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replaced_whole(path: Path, *, temporary: Path | None = None) -> Iterator[Path]:
    """A temporary path, moved to `path` when the block has written it, and removed when the block failed.

    Whoever reads `path` sees the old file or the new one. The bytes are on the disk before the name is: a node that
    loses power leaves no empty file. The folder is not flushed: the name may be lost with the power.

    Args:
        path: of the file; its folder is there.
        temporary: on the same disk; beside `path`, as `<name>.<hex>.tmp`, unless given.

    Raises:
        OSError: as the disk says.
    """
    temporary = temporary or path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except BaseException:  # gigabytes, and whoever lacks a file may never come back for it
        with suppress(OSError):
            temporary.unlink()
        raise


def _flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
