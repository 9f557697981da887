"""D, R and ELBO of a pack while it is trained and at its end, in nats per image, as experiment trackers see them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rdstudy.study import Member
from rdstudy.training.trainer import Measured


class PackValues:
    """The latest values of each member of a pack, and their means over members."""

    def __init__(self) -> None:
        self._latest: dict[str, dict[str, tuple[float, float]]] = {}  # subset -> member id -> D and R

    def measured(self, members: Sequence[Member], latest: Mapping[str, Measured]) -> None:
        """Take note of what members that are trained at once were measured at, per subset."""
        for subset, values in latest.items():
            for member, distortion, rate in zip(members, values.distortion, values.rate, strict=True):
                self._note(subset, member.member_id, distortion, rate)

    def finished(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take note of the rows of members that are done."""
        for row in rows:
            self._note(row["subset"], row["member_id"], row.get("distortion"), row.get("rate"))

    def means(self) -> dict[str, float]:
        """`<subset>/distortion`, `<subset>/rate` and `<subset>/elbo`: means over members, of which all are finite."""
        means: dict[str, float] = {}
        for subset, members in self._latest.items():
            distortion, rate = (math.fsum(column) / len(members) for column in zip(*members.values(), strict=True))
            values = {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}
            means |= {f"{subset}/{name}": value for name, value in values.items()}
        return means

    def _note(self, subset: str, member_id: str, distortion: float | None, rate: float | None) -> None:
        """Keep values that are finite; a member without them is not counted any more."""
        members = self._latest.setdefault(subset, {})
        members.pop(member_id, None)
        if distortion is not None and rate is not None and math.isfinite(distortion + rate):
            members[member_id] = (distortion, rate)
        if not members:
            del self._latest[subset]
