"""One model in a plain PyTorch loop, as anybody would write it: the loss of the paper, automatic gradients, Adam."""

import numpy as np
import torch

from benchmarks import networks
from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for


class Eager:
    """One model. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task, device: torch.device) -> None:
        torch.manual_seed(0)
        self._device = device
        self._images = (torch.from_numpy(np.load(task.images)).float() / 255).to(device)
        self._noise_shape = (task.size.batch_size, task.size.latent_dim)
        self._encoder, self._decoder = networks.encoder(task.size).to(device), networks.decoder(task.size).to(device)
        parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._optimizer = torch.optim.Adam(parameters, lr=1e-3)
        self.parameter_count = sum(parameter.numel() for parameter in parameters)

    def take_steps(self, steps: int) -> None:
        """Train on random batches."""
        for _ in range(steps):
            x = self._images[torch.randint(len(self._images), self._noise_shape[:1], device=self._device)]
            noise = torch.randn(self._noise_shape, device=self._device)
            loss = networks.loss(self._encoder, self._decoder, x, noise, beta=1.0)
            self._optimizer.zero_grad()
            torch.autograd.backward(loss)
            self._optimizer.step()
        wait_for(self._device)


def build(task: Task) -> Eager:
    return Eager(task, prepare(task))
