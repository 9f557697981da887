"""A device's peak: the product of two large square matrices in float32, without TF32."""

import torch

from benchmarks.bounds import PEAK_SIDE
from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for


class Peak:
    """One product a step. Implements `benchmarks.contenders.Trainer`."""

    models = 1
    parameter_count = 0

    def __init__(self, side: int, device: torch.device) -> None:
        generator = torch.Generator(device).manual_seed(0)
        self._device = device
        self._left = torch.randn(side, side, generator=generator, device=device)
        self._right = torch.randn(side, side, generator=generator, device=device)
        self._out = torch.empty(side, side, device=device)

    def take_steps(self, steps: int) -> None:
        """Multiply."""
        for _ in range(steps):
            torch.mm(self._left, self._right, out=self._out)
        wait_for(self._device)


def build(task: Task) -> Peak:
    return Peak(PEAK_SIDE[task.device], prepare(task))
