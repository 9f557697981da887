"""A device's memory bandwidth: one large buffer copied to another."""

import torch

from benchmarks.bounds import COPY_BUFFER_BYTES
from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for


class Copy:
    """One copy a step. Implements `benchmarks.contenders.Trainer`."""

    models = 1
    parameter_count = 0

    def __init__(self, buffer_bytes: int, device: torch.device) -> None:
        self._device = device
        self._source = torch.ones(buffer_bytes // 4, device=device)
        self._target = torch.empty_like(self._source)

    def take_steps(self, steps: int) -> None:
        """Copy."""
        for _ in range(steps):
            self._target.copy_(self._source)
        wait_for(self._device)


def build(task: Task) -> Copy:
    return Copy(COPY_BUFFER_BYTES, prepare(task))
