"""This project's own path on a CPU: the learner that a study runs, in a process prepared as a study prepares it."""

import numpy as np
import torch

from benchmarks.contenders import Task
from rdstudy.study import Member, Recipe
from rdstudy.training.process import prepare_process
from rdstudy.training.sequential import SequentialLearner


class Sequential:
    """One member. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task) -> None:
        size = task.size
        member = Member(
            dataset="tetrominoes",
            split="default",
            beta=1.0,
            seed=0,
            architecture=size.architecture,
            depth=size.depth,
            width=size.width,
            latent_dim=size.latent_dim,
            recipe=Recipe(batch_size=size.batch_size),
        )
        images = torch.from_numpy(np.load(task.images)).flatten(1)
        self._learner = SequentialLearner(member, images, image_shape=size.image_shape, device=torch.device("cpu"))
        self._step = 0
        self.parameter_count = self._learner.parameter_count

    def take_steps(self, steps: int) -> None:
        """Go on where the last call ended."""
        self._learner.advance(self._step, steps)
        self._step += steps


def build(task: Task) -> Sequential:
    prepare_process()
    torch.set_num_threads(task.threads)  # a study has one; the same number for every contender
    return Sequential(task)
