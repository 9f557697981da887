"""One model in a plain PyTorch loop, as anybody would write it: the loss of the paper, automatic gradients, Adam."""

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks import networks
from benchmarks.contenders import Task


class Eager:
    """One model. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task) -> None:
        torch.manual_seed(0)
        self._images = torch.from_numpy(np.load(task.images)).float() / 255
        self._batch_size = task.size.batch_size
        self._encoder, self._decoder = networks.encoder(task.size), networks.decoder(task.size)
        parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=1e-3)
        self.parameter_count = sum(parameter.numel() for parameter in parameters)

    def take_steps(self, steps: int, *, beta: float = 1.0) -> None:
        """Train on random batches."""
        for _ in range(steps):
            x = self._images[torch.randint(len(self._images), (self._batch_size,))]
            mean, log_var = self._encoder(x).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
            logits = self._decoder(z)
            distortion = binary_cross_entropy_with_logits(logits, x.flatten(1), reduction="sum")
            rate = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum()
            loss = (distortion + beta * rate) / len(x)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()


def build(task: Task) -> Eager:
    torch.set_num_threads(task.threads)
    return Eager(task)
