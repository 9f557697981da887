"""What the training loop asks of members that learn together: the seam between the sequential and any other path.

Values have a leading `member` axis, of length one on the sequential path.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from rdstudy.study import Member


@dataclass(frozen=True)
class Measured:
    """Means over images, in nats per image, one entry a member."""

    distortion: tuple[float, ...]  # [member]
    rate: tuple[float, ...]  # [member]


class Learner(Protocol):
    """Members that take their steps together."""

    members: tuple[Member, ...]
    parameter_count: int  # trained numbers of one member

    @property
    def nonfinite_steps(self) -> tuple[int | None, ...]:
        """Per member: the first step whose forward pass was not finite, counted from 0, or None."""

    def advance(self, first_step: int, steps: int) -> None:
        """Take training steps. Two calls for a and b steps do what one call for a + b steps does."""

    def measure(self, blocks: Iterable[Tensor], *, purpose: str) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`.

        The noise depends on the members' seeds, the purpose and the number of the block only. Memory is that of one
        block, for one member or for as many as a bound allows: `rdstudy.packs.evaluation_numbers` for each image.
        """

    def state(self) -> dict[str, Any]:
        """All that training has changed: tensors, numbers, and dictionaries of these."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""
