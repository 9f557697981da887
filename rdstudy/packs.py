"""Members to packs: a pure partition, and what one training step of a member costs.

A pack holds members of one cell, whose tensors have equal shapes and which read the same images. It is the unit of
work: one Ray trial.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from rdstudy.study import Member

GPU_PACK_SIZE = 60
"""Members of a pack on a GPU unless a study says otherwise: the paper's 12 β × 5 seeds."""


@dataclass(frozen=True)
class Pack:
    """Members of one cell, in a fixed order."""

    members: tuple[Member, ...]

    @property
    def pack_id(self) -> str:
        """16 hex digits: a hash of the members' ids."""
        ids = ",".join(member.member_id for member in self.members)
        return hashlib.sha256(ids.encode()).hexdigest()[:16]


def make_packs(members: Iterable[Member], *, size: int) -> tuple[Pack, ...]:
    """Divide members into packs of at most `size`, the most costly first so that no device waits at the end.

    Every member is in exactly one pack. The order of `members` changes neither the packs nor their order.
    """
    ordered = sorted(set(members), key=lambda member: (member.seed, member.beta, member.member_id))
    cells: dict[Member, list[Member]] = {}
    for member in ordered:
        cells.setdefault(member.cell, []).append(member)
    packs = [Pack(tuple(cell[start : start + size])) for cell in cells.values() for start in range(0, len(cell), size)]
    return tuple(sorted(packs, key=lambda pack: (-pack_cost(pack), pack.members[0].seed, pack.pack_id)))


def pack_cost(pack: Pack) -> float:
    """Relative cost of a pack: hidden-layer weights × batch × steps, for the order of packs only."""
    member = pack.members[0]
    layers = member.width**2 * (member.depth - 1) + member.width * 3_000
    return len(pack.members) * layers * member.recipe.batch_size * member.recipe.steps
