"""The bound on a CPU: a step's own matrix products or convolutions and nothing else, at the same shapes.

Per layer: forward, weight gradient, input gradient; the gradient of the images is needed by nobody. Matrix products
write into memory that is there already; convolutions have no such form in PyTorch and allocate their results.
"""

from typing import Protocol

import torch
from torch import Tensor

from benchmarks.contenders import Task
from benchmarks.sizes import Size, layers, parameter_count
from rdstudy.model.description import KERNEL, PADDING, STRIDE, Convolution, Dense
from rdstudy.training.process import prepare_process


class _Work(Protocol):
    def forward(self) -> None: ...

    def backward(self, *, input_gradient: bool) -> None: ...


class Products:
    """All products of a training step. Implements `benchmarks.contenders.Trainer`."""

    models = 1

    def __init__(self, size: Size) -> None:
        generator = torch.Generator().manual_seed(0)
        self.parameter_count = parameter_count(size)
        self._work = [_work(layer, size.batch_size, generator) for layer in layers(size)]

    @torch.no_grad()
    def take_steps(self, steps: int) -> None:
        """Do the products in the order of a step: forward, then backward from the last layer to the first."""
        for _ in range(steps):
            for work in self._work:
                work.forward()
            for number, work in reversed(list(enumerate(self._work))):
                work.backward(input_gradient=number > 0)


class _DenseWork:
    def __init__(self, layer: Dense, batch_size: int, generator: torch.Generator) -> None:
        self._x = torch.randn(batch_size, layer.inputs, generator=generator)
        self._y_gradient = torch.randn(batch_size, layer.outputs, generator=generator)
        self._weight = torch.randn(layer.outputs, layer.inputs, generator=generator)
        self._y = torch.empty_like(self._y_gradient)
        self._x_gradient = torch.empty_like(self._x)
        self._weight_gradient = torch.empty_like(self._weight)

    def forward(self) -> None:
        torch.mm(self._x, self._weight.t(), out=self._y)

    def backward(self, *, input_gradient: bool) -> None:
        if input_gradient:
            torch.mm(self._y_gradient, self._weight, out=self._x_gradient)
        torch.mm(self._y_gradient.t(), self._x, out=self._weight_gradient)


class _ConvolutionWork:
    def __init__(self, layer: Convolution, batch_size: int, generator: torch.Generator) -> None:
        ends = (layer.inputs, layer.outputs) if layer.transposed else (layer.outputs, layer.inputs)
        x_shape = (batch_size, layer.inputs, layer.rows, layer.columns)
        y_shape = (batch_size, *layer.output_shape)
        self._weight = _channels_last((*ends, KERNEL, KERNEL), generator)
        self._x = _channels_last(x_shape, generator)
        self._y_gradient = _channels_last(y_shape, generator)
        self._geometry = ([STRIDE] * 2, [PADDING] * 2, [1, 1], layer.transposed, [0, 0], 1)

    def forward(self) -> None:
        torch.convolution(self._x, self._weight, None, *self._geometry)

    def backward(self, *, input_gradient: bool) -> None:
        mask = [input_gradient, True, False]
        torch.ops.aten.convolution_backward(self._y_gradient, self._x, self._weight, None, *self._geometry, mask)


def _channels_last(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """The faster layout by far: the products of the paper's CNNs take 1.6 times as long with channels first."""
    return torch.randn(shape, generator=generator).contiguous(memory_format=torch.channels_last)


def _work(layer: Dense | Convolution, batch_size: int, generator: torch.Generator) -> _Work:
    if isinstance(layer, Dense):
        return _DenseWork(layer, batch_size, generator)
    return _ConvolutionWork(layer, batch_size, generator)


def build(task: Task) -> Products:
    prepare_process()  # the bound may use whatever rdstudy uses
    torch.set_num_threads(task.threads)
    return Products(task.size)
