"""Whether a measure of a user's own keeps to what is asked of it, seen on two images and an untrained network."""

import torch

from rdstudy.measuring.own import counted_in, own_values
from rdstudy.model.contract import IMAGES, alike, broken, guarded
from rdstudy.study import Member
from rdstudy.training.trainer import network_of


def check_own_measure(level: str, member: Member, image_shape: tuple[int, int, int]) -> None:
    """Hold the measure that a level names against its contract, by a call with a member's network.

    Raises:
        ValueError: it breaks a rule.
    """
    vae = network_of(member, image_shape).eval()
    pixels = image_shape[0] * image_shape[1] * image_shape[2]
    x = torch.rand(IMAGES, pixels, generator=torch.Generator().manual_seed(7))
    with guarded("measure", level):
        counted_in(level)
        both = own_values(level, vae, x)
        if not alike(own_values(level, vae, x[:1]), both[:1]):
            raise broken("its value of an image depends on the others", "a number for each image by itself")
