"""The machine's peak: the product of two large square matrices in float32."""

import torch

from benchmarks.contenders import Task
from benchmarks.sizes import PEAK_SIDE


class Peak:
    """One product a step. Implements `benchmarks.contenders.Trainer`."""

    models = 1
    parameter_count = 0

    def __init__(self, side: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self._left = torch.randn(side, side, generator=generator)
        self._right = torch.randn(side, side, generator=generator)
        self._out = torch.empty(side, side)

    def take_steps(self, steps: int) -> None:
        """Multiply."""
        for _ in range(steps):
            torch.mm(self._left, self._right, out=self._out)


def build(task: Task) -> Peak:
    torch.set_num_threads(task.threads)
    return Peak(PEAK_SIDE)
