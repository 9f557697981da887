"""Checkpoints of a unit of training: bytes with a checksum, the last two kept.

Safe to lose: whoever finds none starts again, a damaged one falls back to the one before, and one that cannot be
written costs a warning. What the bytes mean is the business of `rdstudy.training`.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from rdstudy.results.files import StorageError
from rdstudy.results.store import Store

_KEPT = 2
_DIGEST_BYTES = 16

logger = logging.getLogger(__name__)


@dataclass
class Checkpoints:
    """The checkpoints of one unit: members that are trained at the same time.

    Args:
        store: where they are kept.
        unit: a name made from the members' ids.
    """

    store: Store
    unit: str
    _failing: bool = field(default=False, init=False)  # a fault is told once, and not at every checkpoint

    def load(self) -> bytes | None:
        """The newest undamaged checkpoint, or None."""
        for number in reversed(self.store.checkpoint_names(self.unit)):
            try:
                content = self.store.read_checkpoint(self.unit, number)
            except FileNotFoundError:  # another process that trains the unit is a checkpoint ahead
                continue
            digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if digest == _digest(body):
                return body
        return None

    def save(self, body: bytes) -> None:
        """Keep a checkpoint, and forget all but the newest two; a warning where that cannot be done."""
        self._try("written", lambda: self._save(body))

    def clear(self) -> None:
        """Forget all checkpoints of the unit; a warning where that cannot be done."""
        self._try("deleted", lambda: self.store.delete_checkpoints(self.unit))

    def _save(self, body: bytes) -> None:
        store = self.store.hurried()  # training does not wait for what may be lost
        numbers = store.checkpoint_names(self.unit)
        number = numbers[-1] + 1 if numbers else 1
        store.write_checkpoint(self.unit, number, _digest(body) + body)
        for old in [*numbers, number][:-_KEPT]:
            store.delete_checkpoint(self.unit, old)

    def _try(self, done: str, action: Callable[[], None]) -> None:
        try:
            action()
        except StorageError as error:
            if not self._failing:
                logger.warning("checkpoints of unit %s cannot be %s, training goes on: %s", self.unit, done, error)
            self._failing = True
        else:
            if self._failing:
                logger.warning("checkpoints of unit %s are kept again", self.unit)
            self._failing = False


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
