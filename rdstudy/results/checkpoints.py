"""Checkpoints of a pack in training: bytes with a checksum, the last two kept.

A checkpoint is gigabytes of a GPU's memory: it is written, and hashed, as it comes, and is nowhere in one piece.
Safe to lose: whoever finds none starts again, a damaged one falls back to the one before, and one that cannot be
written costs a warning. What the bytes mean is the business of `rdstudy.training`.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from rdstudy.results.files import StorageError
from rdstudy.results.store import FolderGoneError, Store

_KEPT = 2
_DIGEST_BYTES = 16

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Where bytes go."""

    def write(self, piece: bytes) -> int:
        """Take some, and say how many."""

    def flush(self) -> None:
        """Hand on what was taken."""


@dataclass
class Checkpoints:
    """The checkpoints of one pack, members that are trained at the same time, in a store."""

    store: Store
    pack_id: str
    _failing: bool = field(default=False, init=False)  # a fault is told once, and not at every checkpoint

    def load(self) -> bytes | None:
        """The newest undamaged checkpoint, or None."""
        for number in reversed(self.store.blobs.checkpoint_names(self.pack_id)):
            try:
                content = self.store.blobs.read_checkpoint(self.pack_id, number)
            except FileNotFoundError:  # another process that trains the pack is a checkpoint ahead
                continue
            body, digest = memoryview(content)[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
            if digest == _hash(body).digest():
                return bytes(body)
        return None

    def save(self, write: Callable[[Sink], object]) -> None:
        """Keep a checkpoint as `write` writes it, and forget all but the newest two; a warning where that fails."""
        self._try("written", lambda: self._save(write))

    def clear(self) -> None:
        """Forget all checkpoints of the pack; a warning where that cannot be done."""
        self._try("deleted", lambda: self.store.blobs.delete_checkpoints(self.pack_id))

    def _save(self, write: Callable[[Sink], object]) -> None:
        blobs = self.store.hurried().blobs  # training does not wait for what may be lost
        numbers = blobs.checkpoint_names(self.pack_id)
        number = numbers[-1] + 1 if numbers else 1
        blobs.write_checkpoint(self.pack_id, number, lambda stream: _write_hashed(write, stream))
        for old in [*numbers, number][:-_KEPT]:
            blobs.delete_checkpoint(self.pack_id, old)

    def _try(self, done: str, action: Callable[[], None]) -> None:
        try:
            action()
        except FolderGoneError:  # with it went what the rows were to be stored beside
            raise
        except StorageError as error:
            if not self._failing:
                logger.warning("checkpoints of pack %s cannot be %s, training goes on: %s", self.pack_id, done, error)
            self._failing = True
        else:
            if self._failing:
                logger.warning("checkpoints of pack %s are kept again", self.pack_id)
            self._failing = False


def _write_hashed(write: Callable[[Sink], object], stream: pa.NativeFile) -> None:
    """Write a checkpoint, and behind it the digest of its bytes."""
    sink = _HashingSink(stream)
    write(sink)
    if sink.fault is not None:
        raise sink.fault
    stream.write(sink.digest.digest())


class _HashingSink:
    """Hashes what passes. A fault is kept for whoever asked: `torch.save` does not let one pass as it is."""

    def __init__(self, stream: pa.NativeFile) -> None:
        self._stream = stream
        self.digest = _hash(b"")
        self.fault: OSError | None = None

    def write(self, piece: bytes) -> int:
        if self.fault is None:
            try:
                self._stream.write(piece)
                self.digest.update(piece)
            except OSError as error:
                self.fault = error
        return len(piece)

    def flush(self) -> None:
        """All has been handed on."""


def _hash(body: bytes | memoryview) -> "hashlib.blake2b":
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES)
