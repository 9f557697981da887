"""The pack of `explicit` with its step captured once in a CUDA graph and replayed."""

import torch

from benchmarks.contenders import Task
from benchmarks.contenders.cudagraph import captured
from benchmarks.contenders.explicit import step_of
from benchmarks.devices import prepare, wait_for
from rdstudy.training.process import prepare_process


class ExplicitGraph:
    """A pack, β changing fastest. Implements `benchmarks.contenders.Trainer`."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._device, self._step = device, step_of(task, device, capturable=True)
        self._graph = captured(self._step, device)
        self.models, self.parameter_count = task.members, self._step.parameter_count

    def take_steps(self, steps: int) -> None:
        """Replay the step on the batches and noise that are drawn for it."""
        for _ in range(steps):
            self._step.draw()
            self._graph.replay()
        wait_for(self._device)


def build(task: Task) -> ExplicitGraph:
    prepare_process()
    return ExplicitGraph(task, prepare(task))
