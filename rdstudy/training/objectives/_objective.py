"""What training asks of an objective."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rdstudy.model.objective import ForwardPass


@dataclass(frozen=True)
class Terms:
    """What an objective of one's own is a function of; all of it is differentiable in the networks."""

    distortion: Tensor  # [..., batch], nats
    rate: Tensor  # [..., batch], nats: the closed form where the prior has one, else of the z drawn
    z: Tensor  # [..., batch, latent]
    code: Tensor  # [..., batch, 2 latent]
    x: Tensor  # [..., batch, pixel] in [0, 1]
    beta: Tensor  # [..., 1]
    step: Tensor  # [], counted from 0
    steps: int  # of training
    images: int  # of the training subset


@dataclass(frozen=True)
class Objective:
    """D + s β (R - removed), averaged over the batch; or any other loss, at the price of slower steps.

    Attributes:
        removed: (outputs, images of the training subset) -> a part of the rate that is taken out of it, `[..., batch]`,
            nats, differentiable in the code and in z; None for nothing.
        scale: (step from 0, steps of training) -> the factor s of β; None for 1.
        loss: terms -> the loss of each image, `[..., batch]`, in place of all that; None for the sum above.
    """

    removed: Callable[[ForwardPass, int], Tensor] | None = None
    scale: Callable[[int, int], float] | None = None
    loss: Callable[[Terms], Tensor] | None = None
