"""Kernels and bytes of a training step on an H100, counted in the code that PyTorch's compiler writes for one.

    python -m benchmarks.lowered [--sizes mlp-1 ...] [--members 12]

Needs Triton, and no GPU. A step is taken on the CPU; what would be compiled on a GPU is lowered for an H100 that is not
there (`benchmarks.absent_card`), and the launches in the code and the bytes that its kernels move are counted in its
place. A kernel of this project counts as one, which reads and writes each number once. Every other operation that makes
new numbers counts as one kernel.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._dynamo.exc import BackendCompilerFailed

from benchmarks.absent_card import lowering
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.kernel_counts import Counter, counted_apart
from benchmarks.options import whole
from benchmarks.sizes import SIZES, Size
from benchmarks.tables import number, text_table
from rdstudy.model.likelihoods import Likelihood
from rdstudy.study import PAPER_BETAS
from rdstudy.study.words import one_line
from rdstudy.training.dense_step import Adam, DenseLayer, PyTorch, Rates, Shared
from rdstudy.training.process import prepare_process, training_settings
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import StepMode

_HEAD = ("network", "step", "kernels", "of the compiler", "of libraries", "of this project", "others", "MB a member")
_IMAGES = 256
_WARM_UP = 2  # steps, in which all is compiled


class CountedKernels:
    """What `dense_kernels.Kernels` does, by PyTorch: each call counts as the one kernel that it is there."""

    def __init__(self, counter: Counter) -> None:
        self._counter, self._reference = counter, PyTorch()

    def outputs(self, layer: DenseLayer, x: Shared) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.outputs`."""
        out: Tensor = self._count(self._reference.outputs, (layer, x), (x.values, layer.weight, layer.bias))
        return out

    def output_gradient(self, layer: DenseLayer, x: Shared, images: Shared, likelihood: Likelihood) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.output_gradient`."""
        read = (x.values, layer.weight, layer.bias, images.values)
        out: Tensor = self._count(self._reference.output_gradient, (layer, x, images, likelihood), read)
        return out

    def input_gradient(self, layer: DenseLayer, gradient: Tensor, x: Tensor) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.input_gradient`."""
        out: Tensor = self._count(self._reference.input_gradient, (layer, gradient, x), (layer.weight, gradient, x))
        return out

    def update(self, layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
        """Implements `rdstudy.training.dense_step.Operations.update`."""
        moved = (x.values, gradient, *layer.numbers, *layer.numbers)  # read, and written
        self._count(self._reference.update, (layer, x, gradient, rates, adam), moved)

    def _count(self, function: Callable[..., Any], arguments: tuple[Any, ...], read: Sequence[Tensor]) -> Any:
        with counted_apart():
            out = function(*arguments)
        written = [out] if isinstance(out, Tensor) else []
        self._counter.add("of this project", sum(each.numel() * each.element_size() for each in [*read, *written]))
        return out


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    prepare_process()
    lines = []
    for name in options.sizes:
        for mode in modes_of(SIZES[name]):
            print(f"{name}, {mode.name} ...", file=sys.stderr)
            try:
                counter = count(SIZES[name], mode, members=options.members)
            except BackendCompilerFailed as error:  # the compiler's passes, on tensors of a card that is not there
                print(f"{name}, {mode.name}: not lowered: {one_line(error)}", file=sys.stderr)
            else:
                lines.append(_line(SIZES[name], mode, counter, options.members))
    print(text_table(_HEAD, lines, left=2))


def modes_of(size: Size) -> Iterator[StepMode]:
    """The ways of taking a step that members of this size have, all compiled."""
    yield StepMode("as built", "inductor", None)
    if size.architecture == "mlp":
        yield StepMode("fused updates", "inductor", None, kernels="updates")
        yield StepMode("fused products and updates", "inductor", None, kernels="all")
    else:
        yield StepMode("patches", "inductor", None, patches=True)


def count(size: Size, mode: StepMode, *, members: int) -> Counter:
    """The kernels of one step of so many members, β changing fastest, twelve of a seed."""
    betas = itertools.islice(itertools.cycle(PAPER_BETAS), members)
    pack = [member(size, beta=beta, seed=at // len(PAPER_BETAS)) for at, beta in enumerate(betas)]
    images = torch.zeros(_IMAGES, size.pixels, dtype=torch.uint8)
    counter = Counter()
    lowered = StepMode(mode.name, lowering(counter), None, patches=mode.patches, kernels=mode.kernels)
    with _counted_kernels(counter), training_settings():
        trainer = StackedTrainer(
            pack, images, image_shape=size.image_shape, device=torch.device("cpu"), modes=[lowered]
        )
        trainer.advance(0, _WARM_UP)
        counter.clear()
        with counter:
            trainer._take_step()
    return counter


def _counted_kernels(counter: Counter) -> Any:
    return mock.patch("rdstudy.training.dense_kernels.Kernels", return_value=CountedKernels(counter))


def _line(size: Size, mode: StepMode, counter: Counter, members: int) -> tuple[str, ...]:
    kinds = ("of the compiler", "of libraries", "of this project", "others")
    counts = [str(counter.kernels[kind]) for kind in kinds]
    return size.name, mode.name, str(counter.kernels.total()), *counts, number(counter.bytes / members / 1e6, 1)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lowered", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", choices=list(SIZES), nargs="+", default=["mlp-1", "mlp-3", "cnn-1"])
    parser.add_argument("--members", type=whole(1_000), default=len(PAPER_BETAS), help="of the pack, twelve of a seed")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
