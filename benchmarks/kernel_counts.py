"""Operations of PyTorch, counted as kernels with the bytes that they read and write. Knows torch alone.

Every operation that makes new numbers counts as one kernel. Linear algebra of small matrices counts as one, and is
more; drawing noise counts, and is the CPU's work where the generator is there.
"""

from collections import Counter as Tally
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves

_aten = torch.ops.aten
_SELECTIONS = (_aten.index, _aten.index_select, _aten.gather, _aten.embedding)
"""Of their first argument they read as many numbers as they give."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts kernels by kind, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kernels: Tally[str] = Tally()
        self.bytes = 0

    @classmethod
    def is_infra_mode(cls) -> bool:
        """Compiled functions are run as such while this counts."""
        return True

    def add(self, kind: str, moved: int, *, kernels: int = 1) -> None:
        """Note kernels, and the bytes that they move together."""
        self.kernels[kind] += kernels
        self.bytes += moved

    def clear(self) -> None:
        """Begin anew."""
        self.kernels.clear()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.add("others", _moved(func, args, kwargs or {}, out))
        return out


def counted_apart() -> AbstractContextManager[Any]:
    """Whoever knows better what is done within counts it."""
    return _disable_current_modes()


def _moved(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Bytes that an operation reads and writes: what it changes in place too, which it need not return.

    Fused optimizers say that they change gradients, which they do where those are scaled.
    """
    changed = [
        value
        for argument, value in zip(func._schema.arguments, args, strict=False)
        if argument.alias_info is not None and argument.alias_info.is_write and argument.name != "grads"
    ]
    written = _bytes(changed or out)
    if func.overloadpacket in _SELECTIONS:
        return _bytes([args[1:], kwargs]) + 2 * written
    return _bytes([args, kwargs]) + written


def _bytes(tree: Any) -> int:
    return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
