"""Where noise of images comes from: one generator, or one for each of several members whose images lie side by side.

Drawn in float64, so that it is the same numbers whatever type the networks work in, and where its generator is. What a
member's generator gives does not depend on the members beside it. Axis order: `sample, image`, then features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class MemberNoise:
    """Noise of images of several members, each drawn from its member's own generator."""

    generators: tuple[torch.Generator, ...]
    counts: tuple[int, ...]  # images of each member, side by side in this order

    def of(self, counts: Sequence[int]) -> "MemberNoise":
        """The same generators for other numbers of images; a member without images draws nothing."""
        return MemberNoise(self.generators, tuple(counts))


Noise = torch.Generator | MemberNoise


def normal(noise: Noise, shape: Sequence[int]) -> Tensor:
    """Standard normal numbers of a shape `[sample, image, ...]`."""
    return _drawn(torch.randn, noise, shape)


def uniform(noise: Noise, shape: Sequence[int]) -> Tensor:
    """Numbers uniform in [0, 1), of a shape `[sample, image, ...]`."""
    return _drawn(torch.rand, noise, shape)


def _drawn(draw: Callable[..., Tensor], noise: Noise, shape: Sequence[int]) -> Tensor:
    if isinstance(noise, torch.Generator):
        return draw(tuple(shape), generator=noise, device=noise.device, dtype=torch.float64)
    assert sum(noise.counts) == shape[1], "noise is drawn for the images that it belongs to"
    samples, _, *features = shape
    pairs = zip(noise.generators, noise.counts, strict=True)
    return torch.cat([_drawn(draw, generator, (samples, count, *features)) for generator, count in pairs], dim=1)
