"""How products and convolutions of training steps are rounded, see `recipe.precision`; measures are always float32.

TF32 is what the tensor cores of NVIDIA's GPUs from compute capability 8.0 read instead of float32: the sign, 8 bits of
exponent and 10 bits behind the point, rounded to nearest; products are added in float32. A CPU has none: there the
operands are rounded before each product, which gives the numbers and not the speed. The layers at the latent code keep
float32, see `rdstudy.model.full_precision`.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED_BITS = 23 - 10  # of float32's that TF32 has not
_LEAST_CAPABILITY = (8, 0)
_LATENT = ", float32 at the latent code"


@contextlib.contextmanager
def training_products(precision: str, device: torch.device) -> Iterator[str]:
    """Products and convolutions of training steps as asked, for a while; within `training_settings`.

    Args:
        precision: `float32` or `tf32`.
        device: that trains.

    Yields:
        What is used, in words: for the rows of the members.

    Raises:
        ValueError: a GPU that has no TF32.
    """
    if precision == "float32":
        yield _used(device)
    elif device.type == "cuda":
        if torch.cuda.get_device_capability(device) < _LEAST_CAPABILITY:
            name = torch.cuda.get_device_name(device)
            raise ValueError(f"recipe.precision is tf32, which {name} does not have; allowed there: float32")
        with _switched_on():
            yield _used(device)
    else:
        with RoundedOperands():  # type: ignore[no-untyped-call]
            yield f"tf32 by rounded operands{_LATENT}"


@contextlib.contextmanager
def _switched_on() -> Iterator[None]:
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = True
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def _used(device: torch.device) -> str:
    """What the switches say now, and not what was asked for."""
    if device.type != "cuda" or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":  # read by NVIDIA's libraries
        return "float32"
    products, convolutions = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    if products != convolutions:
        return f"products {_name(products)}, convolutions {_name(convolutions)}"
    return f"tf32{_LATENT}" if products else "float32"


def _name(is_tf32: bool) -> str:
    return "tf32" if is_tf32 else "float32"


def rounded(x: Tensor) -> Tensor:
    """Float32 rounded to TF32: to nearest, ties away from zero (`cvt.rna.tf32.f32` of NVIDIA's PTX).

    Infinities and the NaN of arithmetic stay what they are; a number nearest to 2^128 is infinite.
    """
    bits = x.detach().view(torch.int32)
    return (bits + (1 << (_DROPPED_BITS - 1))).bitwise_and_(-1 << _DROPPED_BITS).view(torch.float32)


class RoundedOperands(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Operands of float32 products and convolutions are rounded to TF32, forward and backward, in any module."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = _ROUNDING.get(func.overloadpacket)
        return func(*args, **(kwargs or {})) if call is None else call(func, args, kwargs or {})


def _round_from(first: int) -> Callable[..., Any]:
    """Round two operands, the rest as it is."""

    def call(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        operands = [_of_float32(operand) for operand in args[first : first + 2]]
        return func(*args[:first], *operands, *args[first + 2 :], **kwargs)

    return call


def _convolution_backward(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The gradient of the bias is a sum and no product."""
    gradient, *operands = args[:3]
    rest = args[3:]
    of_input, of_weight, of_bias = func(_of_float32(gradient), *map(_of_float32, operands), *rest, **kwargs)
    if of_bias is not None:
        of_bias = gradient.sum([0, *range(2, gradient.ndim)])
    return of_input, of_weight, of_bias


def _of_float32(operand: Tensor) -> Tensor:
    return rounded(operand) if operand.dtype == torch.float32 else operand


_aten = torch.ops.aten
_ROUNDING = {
    **dict.fromkeys((_aten.mm, _aten.bmm, _aten.mv, _aten.dot, _aten.convolution), _round_from(0)),
    **dict.fromkeys((_aten.addmm, _aten.baddbmm, _aten.addmv, _aten.addbmm), _round_from(1)),
    _aten.convolution_backward: _convolution_backward,
}
