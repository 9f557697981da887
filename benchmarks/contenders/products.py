"""The bound on a CPU: a step's own matrix products or convolutions and nothing else, at the same shapes.

Per layer: forward, weight gradient, input gradient; the gradient of the images is needed by nobody. Matrix products
write into memory that is there already; convolutions have no such form in PyTorch and allocate their results.
"""

from typing import Protocol

import torch
from torch import Tensor

from benchmarks.contenders import Task
from benchmarks.sizes import KERNEL, PADDING, STRIDE, Convolution, Layer, Linear, Size, layers, parameter_count


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


class _LinearWork:
    def __init__(self, layer: Linear, batch_size: int, generator: torch.Generator) -> None:
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
        self._weight = torch.randn(*ends, KERNEL, KERNEL, generator=generator)
        self._x = torch.randn(batch_size, layer.inputs, layer.side, layer.side, generator=generator)
        y_shape = (batch_size, layer.outputs, layer.output_side, layer.output_side)
        self._y_gradient = torch.randn(y_shape, generator=generator)
        pair = [1, 1]
        self._geometry = ([STRIDE] * 2, [PADDING] * 2, pair, layer.transposed, [0, 0], 1)

    def forward(self) -> Tensor:
        return torch.convolution(self._x, self._weight, None, *self._geometry)

    def backward(self, *, input_gradient: bool) -> None:
        mask = [input_gradient, True, False]
        torch.ops.aten.convolution_backward(
            self._y_gradient, self._x, self._weight, None, *self._geometry, mask
        )


def _work(layer: Layer, batch_size: int, generator: torch.Generator) -> _Work:
    if isinstance(layer, Linear):
        return _LinearWork(layer, batch_size, generator)
    return _ConvolutionWork(layer, batch_size, generator)


def build(task: Task) -> Products:
    from rdstudy.worker import _prepare_process

    _prepare_process()  # the bound may use whatever rdstudy uses
    torch.set_num_threads(task.threads)
    return Products(task.size)
