"""How a training step is taken: compiled, and captured once as a CUDA graph that is replayed without the host.

What is captured reads and writes tensors that keep their place: parameters, the optimizer's state, buffers of inputs. A
number of the host that changes from step to step has no place in it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

Step = Callable[[], None]

WARM_UP_STEPS = 3
"""Steps taken one by one before the capture: libraries choose kernels and allocate in their first calls."""


@dataclass(frozen=True)
class Capture:
    """How steps are recorded."""

    warm_up: Callable[[Step], Step]  # a step -> the same step, taken as a warm-up has to
    record: Callable[[Step], Step]  # records a step without taking it -> what takes it


@dataclass(frozen=True)
class StepMode:
    """How a training step is taken."""

    name: str  # for messages
    backend: str | None  # of `torch.compile`; None for not compiling
    capture: Capture | None  # None for taking every step anew
    patches: bool = False  # whether convolutions are products of patches, see `rdstudy.model.patches`
    kernels: str | None = None  # of this project: `updates`, or `all` for the products too; None for PyTorch's


class Replayed:
    """A step that is taken a few times, then recorded, then replayed: every call takes it once.

    The first calls are steps like any other and not thrown away, so that nothing has to be put back before recording.

    Args:
        step: takes one step; asks the device for nothing, and reads no number of the host that changes.
        capture: how it is recorded.
    """

    def __init__(self, step: Step, capture: Capture) -> None:
        self._step, self._capture = step, capture
        self._warm_up = capture.warm_up(step)
        self._warm_up_left = WARM_UP_STEPS
        self._replay: Step | None = None

    def __call__(self) -> None:
        """Take the step once."""
        if self._warm_up_left:
            self._warm_up_left -= 1
            self._warm_up()
            return
        if self._replay is None:
            self._replay = self._capture.record(self._step)
        self._replay()


def _on_side_stream(step: Step) -> Step:
    """A step taken on a stream of its own, as PyTorch's notes on CUDA graphs ask of a warm-up."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def take() -> None:
        current = torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            step()
        current.wait_stream(side)

    return take


def _cuda_graph(step: Step) -> Step:
    """A step as a CUDA graph; its temporaries come from memory of the graph's own."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


_CUDA_GRAPH = Capture(_on_side_stream, _cuda_graph)
_PLAIN = StepMode("plain steps", None, None)

GPU_MODES = (
    StepMode("a compiled network in a CUDA graph", "inductor", _CUDA_GRAPH),
    StepMode("a CUDA graph", None, _CUDA_GRAPH),
    _PLAIN,
)
CPU_MODES = (_PLAIN,)
"""The best first: compiling needs a C compiler on the machine, and a graph all of a step on one stream."""

FUSED_MODES = (
    StepMode("fused updates in a CUDA graph", "inductor", _CUDA_GRAPH, kernels="updates"),
    StepMode("fused products and updates in a CUDA graph", "inductor", _CUDA_GRAPH, kernels="all"),
)
"""For networks of fully connected layers, see `rdstudy.training.dense_step`. Not among the modes that are tried: their
kernels have been interpreted on a CPU, and no GPU has run them."""

PATCHES = StepMode("a compiled network of patches in a CUDA graph", "inductor", _CUDA_GRAPH, patches=True)
"""For networks with convolutions. Not among the modes that are tried: whether it is faster has not been measured, and
the estimate of a pack's memory knows nothing of patches."""
