"""What the readers of file formats share: streams that end where they should, and errors that name the file."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

BLOCK_BYTES = 32 * 2**20
"""How much of a large file is unpacked at a time."""


Stream = IO[bytes] | gzip.GzipFile


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn what the decompressors raise about a damaged file into one line about `path`."""
    try:
        yield
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        raise ValueError(f"{path} is damaged or cut short: {' '.join(str(error).split())}") from None


@contextmanager
def gunzipped(path: Path) -> Iterator[gzip.GzipFile]:
    """The contents of a .gz file, as a stream."""
    with damage_named(path), gzip.open(path) as stream:
        yield stream


def take(stream: Stream, size: int, path: Path) -> bytes:
    """Exactly `size` bytes.

    Raises:
        ValueError: the stream of `path` ends before.
    """
    data = stream.read(size)
    if len(data) != size:
        raise ValueError(f"{path} is cut short: {size - len(data):,} bytes are missing")
    return data


def expect_end(stream: Stream, path: Path) -> None:
    """Hold that nothing follows; a .gz file's own checksum is read here too.

    Raises:
        ValueError: something does.
    """
    if stream.read(1):
        raise ValueError(f"{path} goes on behind its last image")
