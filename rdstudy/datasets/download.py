"""A published file over HTTP: several mirrors in turn, resumed where a connection broke, checked before it is there.

Knows nothing of data sets or of where files lie. What a mirror sends counts only once its checksum is right, so bytes
of a broken download may be continued by another mirror, and a file that is in place is whole.
"""

import hashlib
import http.client
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_ATTEMPTS = 3  # at one mirror, as long as each brings something
_BLOCK_BYTES = 1 << 18
_PLAIN_LINE_SECONDS = 60.0
_TERMINAL_LINE_SECONDS = 0.2
_MB = 1e6


@dataclass(frozen=True)
class RemoteFile:
    """A published file."""

    dataset: str  # the folder in which it lies
    name: str
    urls: tuple[str, ...]  # mirrors, in the order in which they are tried
    checksum: str  # "sha256:..." or "md5:...", as published
    bytes: int | None  # None where nobody published it

    def problem(self, path: Path) -> str | None:
        """Why the file at `path` is not this one, in words; None where it is."""
        try:
            size = path.stat().st_size
            if self.bytes is not None and size != self.bytes:
                return f"it has {size:,} bytes, not {self.bytes:,}"
            checksum = _checksum(path, self.checksum.partition(":")[0])
        except OSError as error:
            return f"it cannot be read: {error.strerror}"
        return None if checksum == self.checksum else f"its checksum is {checksum}, not {self.checksum}"


@dataclass(frozen=True)
class Patience:
    """When a mirror is left for the next one."""

    silence_seconds: float = 30.0  # without a connection, an answer or a byte
    slowest_bytes_per_second: float = 1_000.0  # over a stretch of that length


class _TooSlowError(TimeoutError):
    """A mirror that sends, but next to nothing."""


@dataclass(frozen=True)
class _Attempt:
    received_bytes: int
    failure: str | None  # None: the mirror has sent all it has


def part_path(path: Path) -> Path:
    """Where a download collects the bytes of the file that is to lie at `path`."""
    return path.with_name(f"{path.name}.part")


def download(file: RemoteFile, path: Path, *, patience: Patience | None = None) -> None:
    """Bring `file` to `path`, whose folder exists. Only one process may do so at a time: the caller holds a lock.

    Raises:
        ValueError: no mirror has it, or the disk does not take it; one line that says what can be done.
    """
    part = part_path(path)
    if file.bytes is not None:
        held = part.stat().st_size if part.exists() else 0
        _check_room(path.parent, file.bytes - held)
    failures = []
    for url in file.urls:
        failure = _try_mirror(file, url, part, patience or Patience())
        if failure is None:
            with _disk(path):
                os.replace(part, path)
            return
        failures.append(f"{url}: {failure}")
    raise ValueError(
        f"{file.name} of {file.dataset} cannot be downloaded ({'; '.join(failures)}); "
        f"put it at {path} by hand ({file.checksum})"
    )


def _try_mirror(file: RemoteFile, url: str, part: Path, patience: Patience) -> str | None:
    """Fill `part` from one mirror; why that did not work, or None."""
    failure = "not tried"
    for _ in range(_ATTEMPTS):
        resumed = part.exists() and part.stat().st_size > 0
        if resumed and file.problem(part) is None:  # whole already: a kill came before the rename
            return None
        attempt = _receive(file, url, part, patience)
        if attempt.failure is not None:
            failure = attempt.failure
            if not attempt.received_bytes:
                return failure
            continue
        problem = file.problem(part)
        if problem is None:
            return None
        part.unlink()
        failure = f"what it sends is something else: {problem}"
        if not resumed:  # else the bytes from before may be the wrong ones
            return failure
    return failure


def _receive(file: RemoteFile, url: str, part: Path, patience: Patience) -> _Attempt:
    """Append to `part` what the mirror sends, from where `part` ends."""
    held = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "rdstudy", **({"Range": f"bytes={held}-"} if held else {})}
    received, failure = 0, None
    try:
        request = Request(url, headers=headers)  # noqa: S310 (ours, all of them http or https: a test holds it)
        with urlopen(request, timeout=patience.silence_seconds) as response:  # noqa: S310
            held = held if response.status == http.client.PARTIAL_CONTENT else 0
            expected = response.length
            _check_answer(file, response, held)
            _check_room(part.parent, expected or 0)
            progress = _Progress(f"{file.dataset}: {file.name} from {urlsplit(url).hostname}", file.bytes)
            with _open(part, append=held > 0) as out:
                for block in _blocks(response, patience):
                    _write(out, block, part)
                    received += len(block)
                    progress.show(held + received)
            progress.end(held + received)
        if expected is not None and received < expected:
            failure = f"the connection ended after {received:,} of {expected:,} bytes"
    except HTTPError as error:
        # 416: it has no more than we have; the checksum tells whether that is all
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE or not held:
            failure = f"HTTP {error.code} {error.reason}"
    except (OSError, http.client.HTTPException) as error:
        failure = _words(error, patience)
    return _Attempt(received, failure)


def _check_answer(file: RemoteFile, response: http.client.HTTPResponse, held: int) -> None:
    """Hold, from its headers, that the body is worth receiving."""
    answered = response.headers.get("Content-Range", "nothing")
    if held and not answered.startswith(f"bytes {held}-"):
        raise ConnectionError(f"asked for bytes from {held:,}, it sends {answered}")
    total = None if response.length is None else held + response.length
    if file.bytes is not None and total is not None and total != file.bytes:
        raise ConnectionError(f"its file has {total:,} bytes, not {file.bytes:,}")


def _blocks(response: http.client.HTTPResponse, patience: Patience) -> Iterator[bytes]:
    """The body as it comes in; `read` would wait for a full block, and a mirror that drips could hold it for days."""
    since, received = time.monotonic(), 0
    while block := response.read1(_BLOCK_BYTES):
        yield block
        received += len(block)
        seconds = time.monotonic() - since
        if seconds > patience.silence_seconds:
            if received < patience.slowest_bytes_per_second * seconds:
                raise _TooSlowError(f"too slow: {received / seconds:,.0f} bytes a second")
            since, received = time.monotonic(), 0


def _words(error: Exception, patience: Patience) -> str:
    reason = getattr(error, "reason", None) or error
    if isinstance(reason, TimeoutError) and not isinstance(reason, _TooSlowError):
        return f"silent for {patience.silence_seconds:g} s"
    return " ".join(str(reason).split()) or type(reason).__name__


def _checksum(path: Path, algorithm: str) -> str:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{digest.hexdigest()}"


# --- the disk: its errors are the user's to mend, and no reason to try another mirror ---------------------------------


def _check_room(folder: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed_bytes > free:
        raise ValueError(
            f"{folder} has {free / _MB:,.1f} MB free, and a download needs {needed_bytes / _MB:,.1f} MB; "
            "make room, or set RDSTUDY_CACHE to another folder"
        )


def _open(part: Path, *, append: bool) -> BinaryIO:
    with _disk(part):  # unbuffered: no write is left for closing, where its failure would look like the network's
        return open(part, "ab" if append else "wb", buffering=0)  # type: ignore[return-value]


def _write(out: BinaryIO, block: bytes, part: Path) -> None:
    rest = memoryview(block)
    while rest:
        with _disk(part):
            rest = rest[out.write(rest) :]


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written: {error.strerror}; make room, or set RDSTUDY_CACHE to another folder"
        ) from None


class _Progress:
    """How far a download is, on standard error: a live line on a terminal, a plain line a minute otherwise."""

    def __init__(self, label: str, total_bytes: int | None) -> None:
        self._label = label
        self._of = "" if total_bytes is None else f" of {total_bytes / _MB:,.1f}"
        self._live = sys.stderr.isatty()
        self._shown = 0.0

    def show(self, done_bytes: int) -> None:
        now = time.monotonic()
        if now - self._shown >= (_TERMINAL_LINE_SECONDS if self._live else _PLAIN_LINE_SECONDS):
            self._shown = now
            self._print(done_bytes, "" if self._live else "\n")

    def end(self, done_bytes: int) -> None:
        self._print(done_bytes, "\n")

    def _print(self, done_bytes: int, end: str) -> None:
        start = "\r" if self._live else ""
        print(f"{start}{self._label}: {done_bytes / _MB:,.1f}{self._of} MB", end=end, file=sys.stderr, flush=True)
