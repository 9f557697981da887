"""Checkpoints of a unit of training: bytes with a checksum, the last two kept.

Safe to lose: whoever finds none starts again. A damaged one falls back to the one before. What the bytes mean is the
business of `rdstudy.training`.
"""

import hashlib
from dataclasses import dataclass

from rdstudy.results.store import Store

_KEPT = 2
_DIGEST_BYTES = 16


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one unit: members that are trained at the same time.

    Args:
        store: where they are kept.
        unit: a name made from the members' ids.
    """

    store: Store
    unit: str

    def load(self) -> bytes | None:
        """The newest undamaged checkpoint, or None."""
        for number in reversed(self.store.checkpoint_names(self.unit)):
            content = self.store.read_checkpoint(self.unit, number)
            digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
            if digest == _digest(body):
                return body
        return None

    def save(self, body: bytes) -> None:
        """Keep a checkpoint, and forget all but the newest two."""
        numbers = self.store.checkpoint_names(self.unit)
        number = numbers[-1] + 1 if numbers else 1
        self.store.write_checkpoint(self.unit, number, _digest(body) + body)
        for old in [*numbers, number][:-_KEPT]:
            self.store.delete_checkpoint(self.unit, old)

    def clear(self) -> None:
        """Forget all checkpoints of the unit."""
        self.store.delete_checkpoints(self.unit)


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
