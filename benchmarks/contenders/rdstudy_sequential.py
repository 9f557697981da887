"""This project's own path on a CPU: the trainer that a study runs, in a process prepared as a study prepares it."""

import numpy as np
import torch

from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for
from benchmarks.sizes import Size
from rdstudy.study import Member, Recipe
from rdstudy.training.process import prepare_process
from rdstudy.training.sequential import SequentialTrainer


class Sequential:
    """One member. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task, device: torch.device) -> None:
        images = torch.from_numpy(np.load(task.images)).flatten(1)
        self._device = device
        self._trainer = SequentialTrainer(
            member(task.size, beta=1.0, seed=0), images, image_shape=task.size.image_shape, device=device
        )
        self._step = 0
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


def member(size: Size, *, beta: float, seed: int, precision: str = Recipe.precision) -> Member:
    """A member of the paper's study with a network of this size."""
    return Member(
        dataset="tetrominoes",
        split="default",
        beta=beta,
        seed=seed,
        architecture=size.architecture,
        depth=size.depth,
        width=size.width,
        latent_dim=size.latent_dim,
        recipe=Recipe(batch_size=size.batch_size, precision=precision),
    )


def build(task: Task) -> Sequential:
    prepare_process()
    return Sequential(task, prepare(task))  # a study has one thread; here the same number as every contender
