"""Checkpoints of a pack in training: bytes with a checksum, the last two kept.

Safe to lose: whoever finds none starts again, a damaged one falls back to the one before, and one that cannot be
written costs a warning. What the bytes mean is the business of `rdstudy.training`.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from rdstudy.results.files import StorageError
from rdstudy.results.store import FolderGoneError, Store

_KEPT = 2
_DIGEST_BYTES = 16

logger = logging.getLogger(__name__)


@dataclass
class Checkpoints:
    """The checkpoints of one pack: members that are trained at the same time.

    Args:
        store: where they are kept.
        pack_id: of the pack.
    """

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
            digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if digest == _digest(body):
                return body
        return None

    def save(self, body: bytes) -> None:
        """Keep a checkpoint, and forget all but the newest two; a warning where that cannot be done."""
        self._try("written", lambda: self._save(body))

    def clear(self) -> None:
        """Forget all checkpoints of the pack; a warning where that cannot be done."""
        self._try("deleted", lambda: self.store.blobs.delete_checkpoints(self.pack_id))

    def _save(self, body: bytes) -> None:
        blobs = self.store.hurried().blobs  # training does not wait for what may be lost
        numbers = blobs.checkpoint_names(self.pack_id)
        number = numbers[-1] + 1 if numbers else 1
        blobs.write_checkpoint(self.pack_id, number, _digest(body) + body)
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


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
