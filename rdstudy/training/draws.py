"""Batches and noise as functions of (seed, step): nothing to save, nothing that depends on where a training stopped.

A chunk of steps is drawn from a generator of its own, so that any step can be had without those before it. Axis
order: `step, batch`, then the latent dimension.
"""

import torch
from torch import Tensor

from rdstudy.planning.packs import CHUNK_STEPS
from rdstudy.study.seeds import derive_seed


class BatchDraws:
    """Which images a step reads: epoch after epoch of all images in a new order each, cut into batches.

    A batch may straddle two epochs; no image is left out.
    """

    def __init__(self, *, seed: int, images: int, batch_size: int, device: torch.device) -> None:
        self._seed, self._images, self._batch_size = seed, images, batch_size
        self._generator = torch.Generator(device)
        self._orders: dict[int, Tensor] = {}

    def batches(self, first_step: int, steps: int) -> Tensor:
        """Indices of the images of `steps` steps from `first_step` on, `[step, batch]`."""
        start, end = first_step * self._batch_size, (first_step + steps) * self._batch_size
        epochs = range(start // self._images, (end - 1) // self._images + 1)
        self._orders = {epoch: self._order(epoch) for epoch in epochs}
        drawn = torch.cat([self._orders[epoch] for epoch in epochs])
        offset = start - epochs[0] * self._images
        return drawn[offset : offset + end - start].view(steps, self._batch_size)

    def _order(self, epoch: int) -> Tensor:
        if epoch in self._orders:
            return self._orders[epoch]
        generator = self._generator.manual_seed(derive_seed(self._seed, "batch order", epoch))
        return torch.randperm(self._images, generator=generator, device=generator.device)


class NoiseDraws:
    """The standard normal noise of the reparameterization at each step."""

    def __init__(self, *, seed: int, batch_size: int, latent_dim: int, device: torch.device) -> None:
        self._seed, self._shape = seed, (batch_size, latent_dim)
        self._generator = torch.Generator(device)

    def chunk(self, first_step: int) -> Tensor:
        """Noise from `first_step` to the end of its chunk, `[step, batch, latent]`: at most `CHUNK_STEPS` steps."""
        index, offset = divmod(first_step, CHUNK_STEPS)
        noise = seeded_noise((CHUNK_STEPS, *self._shape), self._generator, self._seed, "noise", index)
        return noise[offset:]


def seeded_noise(shape: tuple[int, ...], generator: torch.Generator, seed: int, purpose: str, index: int) -> Tensor:
    """Standard normal noise that depends on the seed, the purpose and the index only, on the generator's device."""
    generator.manual_seed(derive_seed(seed, purpose, index))
    return torch.randn(shape, generator=generator, device=generator.device)
