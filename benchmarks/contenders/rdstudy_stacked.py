"""This project's own path on a GPU: the trainer of a pack, all its members in one step."""

import itertools

import numpy as np
import torch

from benchmarks.contenders import Task
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.devices import prepare, wait_for
from rdstudy.study import PAPER_BETAS
from rdstudy.training.process import prepare_process
from rdstudy.training.stacked import StackedTrainer

MOST_MEMBERS = 5 * len(PAPER_BETAS)
"""Of a pack: the paper's values of β, and its seeds."""


class Stacked:
    """A pack, β changing fastest: 12 members share one seed. Implements `benchmarks.contenders.Trainer`."""

    def __init__(self, task: Task, device: torch.device) -> None:
        pairs = itertools.product(range(5), PAPER_BETAS)
        members = [member(task.size, beta=beta, seed=seed) for seed, beta in itertools.islice(pairs, task.members)]
        images = torch.from_numpy(np.load(task.images)).flatten(1)
        self._device = device
        self._trainer = StackedTrainer(members, images, image_shape=task.size.image_shape, device=device)
        self._step = 0
        self.models = len(members)
        self.parameter_count = self._trainer.parameter_count

    @property
    def step_mode(self) -> str:
        """How steps are taken now: a slower way may have taken the place of one that failed."""
        return self._trainer.step_mode

    def take_steps(self, steps: int) -> None:
        """Go on where the last call ended."""
        self._trainer.advance(self._step, steps)
        self._step += steps
        wait_for(self._device)


def build(task: Task) -> Stacked:
    prepare_process()
    return Stacked(task, prepare(task))
