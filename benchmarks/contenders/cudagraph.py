"""One model, its step captured once in a CUDA graph and replayed: the usual cure for a GPU that waits for its host.

The network and loss are those of `eager`, Adam is fused. Inputs lie in buffers that keep their place: indices of images
and noise are drawn into them before each replay; gathering the images is part of the graph.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from benchmarks import networks
from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for

_WARM_UP_STEPS = 3  # libraries choose kernels and allocate in their first calls, which cannot be captured


class Capturable(Protocol):
    """A training step on buffers that keep their place."""

    def draw(self) -> None:
        """Fill the buffers with the next batch and noise."""

    def forget_gradients(self) -> None:
        """Have the next backward pass allocate gradients: during a capture, from the memory of the graph."""

    def take(self) -> None:
        """Forward, backward, Adam. Gradients are written anew by each replay."""


class Step:
    """The step of one model. Implements `Capturable`; plain PyTorch: runs uncaptured on any device."""

    def __init__(self, task: Task, device: torch.device) -> None:
        torch.manual_seed(0)
        size, on_gpu = task.size, device.type == "cuda"
        self._images: Tensor = torch.from_numpy(np.load(task.images)).to(device)
        self._index = torch.zeros(size.batch_size, dtype=torch.int64, device=device)
        self._noise = torch.zeros(size.batch_size, size.latent_dim, device=device)
        self._encoder, self._decoder = networks.encoder(size).to(device), networks.decoder(size).to(device)
        self.parameters = [*self._encoder.parameters(), *self._decoder.parameters()]
        self._optimizer = torch.optim.Adam(self.parameters, lr=1e-3, fused=True, capturable=on_gpu)

    def draw(self) -> None:
        """Fill the buffers with the next batch and noise."""
        self._index.random_(len(self._images))
        self._noise.normal_()

    def forget_gradients(self) -> None:
        """Have the next backward pass allocate gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def take(self) -> None:
        """Forward, backward, Adam."""
        x = self._images[self._index].float().div_(255)
        torch.autograd.backward(networks.loss(self._encoder, self._decoder, x, self._noise, beta=1.0))
        self._optimizer.step()


class CudaGraph:
    """One model. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, task: Task, device: torch.device) -> None:
        self._device = device
        self._step = Step(task, device)
        self._graph = captured(self._step, device)
        self.parameter_count = sum(parameter.numel() for parameter in self._step.parameters)

    def take_steps(self, steps: int) -> None:
        """Replay the step on random batches."""
        for _ in range(steps):
            self._step.draw()
            self._graph.replay()
        wait_for(self._device)


def captured(step: Capturable, device: torch.device) -> torch.cuda.CUDAGraph:
    """A step as a graph. Warm-up is on a side stream, as PyTorch's notes on CUDA graphs ask for."""
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP_STEPS):
            step.draw()
            step.forget_gradients()
            step.take()
    torch.cuda.current_stream(device).wait_stream(side)
    step.forget_gradients()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step.take()
    return graph


def build(task: Task) -> CudaGraph:
    return CudaGraph(task, prepare(task))
