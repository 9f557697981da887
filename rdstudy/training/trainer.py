"""What the training loop asks of members that learn together: the seam between the sequential and any other path.

Values have a leading `member` axis, of length one on the sequential path.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from rdstudy.model.full_precision import keep_latent_layers
from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.study import Member
from rdstudy.study.seeds import derive_seed


@dataclass(frozen=True)
class Measured:
    """Means over images, in nats per image, one entry a member."""

    distortion: tuple[float, ...]  # [member]
    rate: tuple[float, ...]  # [member]


class Trainer(Protocol):
    """Members that take their steps together."""

    members: tuple[Member, ...]
    device: torch.device  # where they train
    step_mode: str  # how they take a step, as a column of their rows says
    parameter_count: int  # trained numbers of one member

    @property
    def nonfinite_steps(self) -> tuple[int | None, ...]:
        """Per member: the first step whose forward pass was not finite, counted from 0, or None."""

    def advance(self, first_step: int, steps: int) -> None:
        """Take training steps. Two calls for a and b steps do what one call for a + b steps does."""

    def keep(self, chosen: Sequence[bool]) -> None:
        """Keep the present weights of these members beside those that go on being trained, in place of earlier ones.

        Args:
            chosen: one entry a member; the first call chooses all.
        """

    def measure(self, blocks: Iterable[Tensor], *, purpose: str, kept: bool = False) -> Measured:
        """Mean rate and distortion over images given in blocks, uint8 `[block, pixel]`, of the present or kept weights.

        The noise depends on the members' seeds, the purpose and the number of the block only. Memory is that of one
        block, for one member or for as many as a bound allows: `planning.packs.members_at_once`.
        """

    def weights(self, at: int) -> dict[str, Tensor]:
        """The present weights of one member, as `rdstudy.model.networks.VAE.state_dict` names them."""

    def state(self) -> dict[str, Any]:
        """All that training has changed: tensors, numbers, and dictionaries of these."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave."""

    def close(self) -> None:
        """Train no more: the memory of tensors is free as soon as nobody holds the trainer, without a collection."""


def network_of(member: Member, image_shape: tuple[int, int, int]) -> VAE:
    """The network that a member starts from, on the CPU, for images of `channel, row, column`."""
    vae = build(
        NetworkShape.of(member, image_shape),
        seed=derive_seed(member.seed, "initial weights"),
        initialization=member.recipe.initialization,
    )
    return vae if member.recipe.precision == "float32" else keep_latent_layers(vae, member.latent_dim)
