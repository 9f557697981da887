"""PyTorch's compiler lowers graphs for an H100 that is not there: code to read and to count, not to run.

The compiler asks the driver about the card, and Triton for its target; the answers stand here. Lowering is inside of
PyTorch, where names change from version to version: tried with PyTorch 2.13.0 and Triton 3.7.1.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
import torch._inductor.config as inductor_config
from torch import Tensor
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.device_interface import CudaInterface
from torch._functorch.aot_autograd import make_boxed_func  # type: ignore[attr-defined]
from torch._functorch.partitioners import min_cut_rematerialization_partition
from torch._inductor.compile_fx import _recursive_post_grad_passes
from torch._inductor.debug import DebugContext
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.fx_passes.post_grad import view_to_reshape
from torch._inductor.graph import GraphLowering
from torch._inductor.virtualized import V
from torch._subclasses import fake_tensor
from torch.fx.passes.fake_tensor_prop import FakeTensorProp
from torch.utils import _triton as triton_support

from benchmarks.kernel_counts import Counter, counted_apart

_CARD = SimpleNamespace(
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    gcnArchName="",
    warp_size=32,
    multi_processor_count=132,
    max_threads_per_block=1024,
    max_threads_per_multi_processor=2048,
    regs_per_multiprocessor=65_536,
    shared_memory_per_block=49_152,
    shared_memory_per_block_optin=232_448,
    shared_memory_per_multiprocessor=233_472,
    L2_cache_size=50 * 2**20,
    total_memory=80 * 2**30,
    is_integrated=0,
    is_multi_gpu_board=0,
    memory_bus_width=5_120,
    memory_clock_rate=2_619_000,
    clock_rate=1_980_000,
)
_LAUNCH = re.compile(r"^\s+(?:\w+ = )?(?P<call>triton_\w+\.run|extern_kernels\.\w+|torch\.ops\.\S+)\(", re.MULTILINE)


def lowering(counter: Counter) -> Any:
    """A backend for `torch.compile` that counts a graph, each time it is run, as what it was lowered to.

    Args:
        counter: where the kernels are noted, `of the compiler` and `of libraries`.
    """

    def compiler(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> Any:
        with _absent_card():
            kinds, moved = lower(graph, inputs)

        def run(*arguments: Any) -> Any:
            for kind, kernels in kinds.items():
                counter.add(kind, 0, kernels=kernels)
            counter.bytes += moved
            with counted_apart():
                return graph(*arguments)

        return make_boxed_func(run)

    return aot_autograd(
        fw_compiler=compiler,
        bw_compiler=compiler,
        inference_compiler=compiler,
        partition_fn=min_cut_rematerialization_partition,
        decompositions=select_decomp_table,
    )


def lower(graph: torch.fx.GraphModule, inputs: Sequence[Any]) -> tuple[dict[str, int], int]:
    """Launches in the code of a graph, of the compiler's kernels and of libraries', and the bytes that they move."""
    mode = next(each.fake_mode for each in inputs if isinstance(each, fake_tensor.FakeTensor))
    moved_to_card = _copy(graph)
    with V.set_fake_mode(mode), mode, DebugContext(), torch.no_grad():
        on_card = [_on_card(each) for each in inputs]
        view_to_reshape(moved_to_card)  # type: ignore[no-untyped-call]
        FakeTensorProp(moved_to_card, mode=mode).propagate(*on_card)
        _recursive_post_grad_passes(moved_to_card, is_inference=False)
        lowered = GraphLowering(moved_to_card, example_inputs=on_card)
        with V.set_graph_handler(lowered), V.set_extern_kernel_nodes([]):
            lowered.run(*on_card)
            code: Any = lowered.codegen()[0]
            moved, *_ = lowered.count_bytes()
    calls = [match["call"] for match in _LAUNCH.finditer(getattr(code, "value", code))]
    of_compiler = sum(call.startswith("triton_") for call in calls)
    return {"of the compiler": of_compiler, "of libraries": len(calls) - of_compiler}, int(moved)


def _copy(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    copied = torch.fx.GraphModule(graph, torch.fx.Graph())
    copied.graph.output(copied.graph.graph_copy(graph.graph, {}))
    for node in copied.graph.nodes:
        if "device" in node.kwargs:
            node.kwargs = {**node.kwargs, "device": torch.device("cuda", 0)}
    copied.recompile()
    return copied


def _on_card(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")


class _Target:
    """What Triton asks its driver."""

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)

    def get_current_device(self) -> int:
        return 0


@contextlib.contextmanager
def _absent_card() -> Iterator[None]:
    """Answers of a driver, for a while."""
    from triton.runtime import driver

    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "get_device_properties": lambda *_: _CARD,
        "get_device_capability": lambda *_: (9, 0),
        "synchronize": lambda *_: None,
    }
    of_interface = {
        **{name: answers[name] for name in ("is_available", "current_device", "device_count", "synchronize")},
        "get_device_properties": answers["get_device_properties"],
        "get_compute_capability": lambda *_: 90,
        "is_triton_capable": lambda *_: True,
        "raise_if_triton_unavailable": lambda *_: None,
    }
    of_worker = {name: staticmethod(answers[name]) for name in ("current_device", "get_device_properties")}
    with contextlib.ExitStack() as patches:
        for target, values in (
            (torch.cuda, answers),
            (CudaInterface, {name: staticmethod(value) for name, value in of_interface.items()}),
            (CudaInterface.Worker, of_worker),
            (fake_tensor, {"init_gpu_context": lambda *_: None}),
            (driver, {"_active": _Target()}),
        ):
            for name, value in values.items():
                patches.enter_context(mock.patch.object(target, name, value))
        patches.enter_context(inductor_config.patch(fx_graph_cache=False, compile_threads=1))
        patches.callback(_forget_answers)
        _forget_answers()
        yield


def _forget_answers() -> None:
    """Those that PyTorch keeps of what Triton can do here."""
    for function in vars(triton_support).values():
        if hasattr(function, "cache_clear"):
            function.cache_clear()
