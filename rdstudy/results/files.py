"""The files of one results folder, on this machine or in a bucket: the only door to `pyarrow.fs`.

Names are paths below the folder, with `/`; what they mean is the business of `rows`, `blobs` and `studies`. A file is
there whole or not at all: a PUT to a bucket is atomic, on a disk a temporary file is moved into place. A passing fault
of the network is waited out; what fails in the end is a `StorageError`.
"""

import copy
import errno
import logging
import os
import random
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.fs as pafs

from rdstudy.results.address import without_keys
from rdstudy.study.words import one_line
from rdstudy.whole_files import replaced_whole

RETRY_SECONDS = 120.0
"""How long a bucket may be out of reach before it is an error: a restarted router or gateway takes a minute or so."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 15.0
_BUCKETS = ("s3://", "gs://", "gcs://")
_LASTING = re.compile(  # faults of a bucket that waiting does not mend
    r"ACCESS_DENIED|NO_SUCH_|INVALID_|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|MALFORMED|"
    r"PERMISSION_DENIED|UNAUTHENTICATED|NOT_FOUND|HTTP status 4(?!08|29)|not found"
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
_CHUNK_BYTES = 16 * 2**20

logger = logging.getLogger(__name__)
Result = TypeVar("Result")


class StorageError(OSError):
    """The results folder cannot be read or written: one line with the file, what is wrong, and what to do.

    `errno` is set where the system named a number: ENOENT is a file that is not there.
    """


class Files:
    """The files below one folder.

    Nothing puts the folder itself there but `make`: one that is moved away while files are written is not begun anew.
    Names that begin with a dot are not ours: file managers and sync clients put them beside every file.

    Args:
        uri: a path, or a URI that `pyarrow.fs` knows: s3://, gs://, file://; keys in it are taken out.

    Raises:
        ValueError: no such kind of place.
    """

    def __init__(self, uri: str) -> None:
        uri = without_keys(uri)
        self.place = urlsplit(uri).scheme + "://" if "://" in uri else ""
        self._retry_seconds = RETRY_SECONDS
        self._in_bucket = self.place.lower() in _BUCKETS  # until it is known
        self._answers = True
        self._fs, root = self._patiently("opened", "", lambda: _resolve(uri))
        self._in_bucket = self._fs.type_name != "local"  # a file appears there when its last byte has come
        self._root = root.rstrip("/")
        if self.place.lower() in _BUCKETS and not self._root:
            raise ValueError(f"results folder {uri!r} names no bucket; allowed: {self.place}BUCKET/FOLDER")
        self.place += self._root
        """The folder in words: without the credentials and options that a URI may carry."""

    def make(self) -> None:
        """Make the folder itself; a bucket needs none."""
        if not self._in_bucket:
            self._patiently("made", "", lambda: self._fs.create_dir(self._root))

    def hurried(self) -> "Files":
        """The same files for somebody who would rather have an error than wait."""
        files = copy.copy(self)
        files._retry_seconds = 0
        return files

    def path(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self.place}/{name}" if name else self.place

    def kind(self, name: str) -> str:
        """What is there: `file`, `folder` or `nothing`; an empty name is the folder itself."""
        info = self._patiently("read", name, lambda: self._fs.get_file_info(self._inner(name)))
        return {pafs.FileType.NotFound: "nothing", pafs.FileType.File: "file"}.get(info.type, "folder")

    def inside(self, folder: str) -> list[pafs.FileInfo]:
        """What lies in a folder, its folders too; nothing where there is no such folder."""
        selector = pafs.FileSelector(self._inner(folder), allow_not_found=True)
        infos: list[pafs.FileInfo] = self._patiently("listed", folder, lambda: self._fs.get_file_info(selector))
        return [info for info in infos if not info.base_name.startswith(".")]

    def names(self, folder: str, ending: str) -> list[str]:
        """The files of a folder whose names end so, in order."""
        files = [info.base_name for info in self.inside(folder) if info.type == pafs.FileType.File]
        return sorted(f"{folder}/{name}" for name in files if name.endswith(ending))

    def read(self, name: str) -> bytes:
        """The bytes of a file."""

        def read() -> bytes:
            with self._fs.open_input_stream(self._inner(name)) as stream:
                content: bytes = stream.read()
            return content

        return self._patiently("read", name, read)

    def write(self, name: str, content: bytes) -> None:
        """Put a file there, in place of one of that name."""
        self.stream(name, lambda stream: stream.write(content))

    def stream(self, name: str, send: Callable[[pa.NativeFile], object]) -> None:
        """Put a file there as `send` writes it, piece by piece; it is called again where a fault of a bucket passes."""
        put = self._put_object if self._in_bucket else self._put_file
        self._patiently("written", name, lambda: put(name, send))

    def upload(self, file: Path, name: str) -> None:
        """Put a copy of a local file there, piece by piece."""

        def send(stream: pa.NativeFile) -> None:
            with file.open("rb") as source:
                while piece := source.read(_CHUNK_BYTES):
                    stream.write(piece)

        self.stream(name, send)

    def holds(self, file: Path, name: str) -> bool:
        """Whether a file has the bytes of a local one; in a bucket, which keeps checksums, whether it has as many."""

        def compare() -> bool:
            with self._fs.open_input_stream(self._inner(name)) as stream, file.open("rb") as source:
                while piece := source.read(_CHUNK_BYTES):
                    if stream.read(_CHUNK_BYTES) != piece:
                        return False
                return not stream.read(1)

        info = self._patiently("read", name, lambda: self._fs.get_file_info(self._inner(name)))
        if info.size != file.stat().st_size:
            return False
        return self._in_bucket or self._patiently("read", name, compare)

    def download(self, name: str, file: Path) -> None:
        """Write a copy of a file to a local path, piece by piece."""

        def fetch() -> None:
            with self._fs.open_input_stream(self._inner(name)) as stream, file.open("wb") as target:
                while piece := stream.read(_CHUNK_BYTES):
                    target.write(piece)

        self._patiently("read", name, fetch)

    def move(self, name: str, to: str) -> None:
        """Rename a file; nothing happens where somebody else did."""
        with suppress(FileNotFoundError):
            self._patiently("moved", name, lambda: self._fs.move(self._inner(name), self._inner(to)))

    def delete(self, name: str) -> None:
        """Delete a file; nothing happens where there is none."""
        with suppress(FileNotFoundError):
            self._patiently("deleted", name, lambda: self._fs.delete_file(self._inner(name)))

    def delete_folder(self, name: str) -> None:
        """Delete a folder and all in it; nothing happens where there is none."""
        with suppress(FileNotFoundError):
            self._patiently("deleted", name, lambda: self._fs.delete_dir(self._inner(name)))

    def _inner(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _put_object(self, name: str, send: Callable[[pa.NativeFile], object]) -> None:
        stream = self._fs.open_output_stream(self._inner(name))
        send(stream)
        stream.close()  # no `with`: it would close, which is to publish, what an exception cut short

    def _put_file(self, name: str, send: Callable[[pa.NativeFile], object]) -> None:
        self._make_folders("tmp")
        self._make_folders(name.rpartition("/")[0])
        temporary = Path(self._inner(f"tmp/{uuid.uuid4().hex}"))
        with (
            replaced_whole(Path(self._inner(name)), temporary=temporary),
            self._fs.open_output_stream(str(temporary)) as stream,
        ):
            send(stream)

    def _make_folders(self, folder: str) -> None:
        """Make a folder, and those between it and the root, which must be there."""
        parts = folder.split("/") if folder else []
        for at in range(len(parts)):
            self._fs.create_dir(self._inner("/".join(parts[: at + 1])), recursive=False)

    def _patiently(self, done: str, name: str, action: Callable[[], Result]) -> Result:
        """Try until it works, until a fault that waiting does not mend, or until the time for passing ones is over.

        The client of S3 tries several times by itself, for some six seconds: enough for a request that is throttled,
        not for a network that is gone. That of Google tries for a quarter of an hour.
        """
        end, pause = time.monotonic() + self._retry_seconds, _FIRST_PAUSE_SECONDS
        while True:
            try:
                result = action()
            except pa.ArrowInvalid as error:  # a name that this kind of place cannot have
                raise StorageError(f"{self.path(name)} cannot be {done}: {one_line(error)}") from error
            except OSError as error:
                if not self._is_passing(error) or time.monotonic() + pause > end:
                    raise self._error(done, name, error) from error
                if self._answers:
                    logger.warning("%s; tried again for %.0f s", self._said(done, name, error), self._retry_seconds)
                self._answers = False
                time.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # many processes do not come back at once
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            else:
                if not self._answers:
                    logger.warning("%s answers again", self.place)
                self._answers = True
                return result

    def _is_passing(self, error: OSError) -> bool:
        return self._in_bucket and error.errno is None and not _LASTING.search(str(error))

    def _said(self, done: str, name: str, error: OSError) -> str:
        reason = os.strerror(error.errno) if error.errno else one_line(error).rpartition("AWS Error ")[2]
        return f"{self.path(name)} cannot be {done}: {reason}"

    def _error(self, done: str, name: str, error: OSError) -> OSError:
        if isinstance(error, FileNotFoundError) or "NO_SUCH_KEY" in str(error):
            said: OSError = _MissingError(self._said(done, name, error))
        else:
            said = StorageError(f"{self._said(done, name, error)}; {self._advice(error)}")
            said.errno = error.errno
        return said

    def _advice(self, error: OSError) -> str:
        if error.errno in _FULL:
            return "nothing that was stored is lost: free some space there, and the same command goes on"
        if error.errno in _REFUSED or "ACCESS_DENIED" in str(error):
            return "allowed: a place where this user may read and write"
        if self._is_passing(error):
            return "nothing that was stored is lost: when the storage answers again, the same command goes on"
        return "nothing that was stored is lost"


class _MissingError(StorageError, FileNotFoundError):
    """A file that is not there."""


def _resolve(uri: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a URI and the path in it; the endpoint of S3 is in the URI or in AWS_ENDPOINT_URL."""
    if "://" not in uri:
        return pafs.LocalFileSystem(), os.path.abspath(os.path.expanduser(uri))
    if uri.startswith("s3://") and "allow_delayed_open=" not in uri:
        uri += ("&" if "?" in uri else "?") + "allow_delayed_open=true"  # a small file is one request, not three
    try:
        fs, root = pafs.FileSystem.from_uri(uri)
    except pa.ArrowInvalid as error:
        raise ValueError(f"results folder {uri!r} cannot be opened: {one_line(error)}") from None
    return fs, root
