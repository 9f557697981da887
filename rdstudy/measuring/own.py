"""A measure of a user's own: a function of a trained network and images, mean and error over a sample of a subset.

    UNIT = "nats"

    def sharpness(model, images, *, k: int = 3):
        ...

`model` is a `rdstudy.model.networks.VAE` on its device, `images` are `[image, pixel]` in [0, 1] on the same, and the
result is a number for each image, whatever other images it is called with. The file has a constant `UNIT`; a constant
`IMAGES` says on how many images of each subset, 1,000 without it.
"""

import torch
from torch import Tensor

from rdstudy.measures.estimate import estimate_mean
from rdstudy.measuring.trained import TrainedMember
from rdstudy.model.networks import VAE
from rdstudy.study import parts
from rdstudy.training.subsets import to_unit

_IMAGES = 1_000


def take_own(trained: TrainedMember, subset: str, *, level: str) -> None:
    """Note mean and standard error of a measure over a fixed random sample of a subset.

    Raises:
        ValueError: its values are not one finite number an image.
    """
    name = parts.short_name(level)
    sample = trained.sample(subset, parts.constant("measure", level, "IMAGES", default=_IMAGES), "own measures")
    blocks = (to_unit(block.to(trained.device)) for block in sample.blocks())
    values = torch.cat([own_values(level, trained.vae, x) for x in blocks])
    if not torch.isfinite(values).all():
        raise ValueError(f"{int((~torch.isfinite(values)).sum())} of {len(values)} values are not finite")
    estimate = estimate_mean(values.double())
    trained.own.append(
        {
            "subset": subset,
            "name": name,
            "unit": counted_in(level),
            "value": estimate.value,
            "value_se": estimate.standard_error if estimate.samples > 1 else None,
            "images": len(sample),
        }
    )


@torch.no_grad()
def own_values(level: str, model: VAE, images: Tensor) -> Tensor:
    """A measure of each image.

    Raises:
        ValueError: it gives something else than a number an image.
    """
    values = parts.load("measure", level)(model, images)
    if not isinstance(values, Tensor) or values.shape != images.shape[:1]:
        given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"it gives {given}; allowed: a number an image, {list(images.shape[:1])}")
    return values


def counted_in(level: str) -> str:
    """What the values of a measure are counted in.

    Raises:
        ValueError: its file does not say.
    """
    name = parts.constant("measure", level, "UNIT", default=None)
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"UNIT is {name!r}; allowed: a constant of the file, such as UNIT = 'nats'")
    return name
