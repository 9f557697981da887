"""The kernels of `rdstudy.training.dense_step` in Triton, which PyTorch brings where it is built for CUDA.

Imported only where they are used. A kernel is a grid of tiles for each member; numbers are summed in the type of the
weights. TF32 is rounded here as `rdstudy.training.precision` says: tensor cores by themselves cut off what they do not
read. With `TRITON_INTERPRET=1` in the environment as this module is imported, kernels run on a CPU, slowly.
"""

import dataclasses

import torch
import triton
import triton.language as tl
from torch import Tensor

from rdstudy.model.likelihoods import Likelihood, bernoulli
from rdstudy.training.dense_step import Adam, DenseLayer, Rates, Shared

TILE, BATCH, INNER, WARPS = 64, 128, 32, 8
"""Most rows and columns of a tile; most images of a tile of outputs, which reads each weight once then; most numbers of
the sum that are read at once; warps of a tile. Larger tiles of weights need more registers than there are, as they are
compiled for compute capability 9.0. Not measured."""


@triton.jit  # type: ignore[untyped-decorator]
def _rounded(x: tl.tensor, is_tf32: tl.constexpr) -> tl.tensor:
    """To TF32, to nearest, ties away from zero."""
    if is_tf32:
        x = ((x.to(tl.int32, bitcast=True) + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return x


@triton.jit  # type: ignore[untyped-decorator]
def _product(
    left: tl.tensor,
    left_row: tl.tensor,
    left_inner: tl.tensor,
    right: tl.tensor,
    right_inner: tl.tensor,
    right_column: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    inner: tl.tensor,
    row_at: tl.tensor,
    column_at: tl.tensor,
    block: tl.constexpr,
    is_tf32: tl.constexpr,
) -> tl.tensor:
    """A tile of left times right, `[row, inner]` and `[inner, column]`, by pointers and steps between numbers."""
    total = tl.full((row_at.shape[0], column_at.shape[0]), 0.0, dtype=left.dtype.element_ty)
    for start in range(0, inner, block):
        at = start + tl.arange(0, block)
        left_tile = tl.load(
            left + row_at[:, None] * left_row + at[None, :] * left_inner,
            mask=(row_at < rows)[:, None] & (at < inner)[None, :],
            other=0.0,
        )
        right_tile = tl.load(
            right + at[:, None] * right_inner + column_at[None, :] * right_column,
            mask=(at < inner)[:, None] & (column_at < columns)[None, :],
            other=0.0,
        )
        total = tl.dot(
            _rounded(left_tile, is_tf32),
            _rounded(right_tile, is_tf32),
            total,
            input_precision="tf32" if is_tf32 else "ieee",
            out_dtype=total.dtype,
        )
    return total


@triton.jit  # type: ignore[untyped-decorator]
def _adam(
    parameter: tl.tensor,
    mean: tl.tensor,
    square: tl.tensor,
    at: tl.tensor,
    mask: tl.tensor,
    gradient: tl.tensor,
    size: tl.tensor,
    root: tl.tensor,
    decay: tl.tensor,
    beta_mean: tl.constexpr,
    beta_square: tl.constexpr,
    epsilon: tl.constexpr,
    is_decoupled: tl.constexpr,
) -> None:
    """Adam for a tile, by its gradient."""
    value = tl.load(parameter + at, mask=mask, other=0.0)
    if is_decoupled:
        value -= decay * value
    else:
        gradient += decay * value
    first = tl.load(mean + at, mask=mask, other=0.0)
    second = tl.load(square + at, mask=mask, other=0.0)
    first += (1 - beta_mean) * (gradient - first)
    second += (1 - beta_square) * (gradient * gradient - second)
    value -= size * first / (tl.sqrt(second) / root + epsilon)
    tl.store(parameter + at, value, mask=mask)
    tl.store(mean + at, first, mask=mask)
    tl.store(square + at, second, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _update(
    x: tl.tensor,
    row_of_member: tl.tensor,
    gradient: tl.tensor,
    weight: tl.tensor,
    weight_mean: tl.tensor,
    weight_square: tl.tensor,
    bias: tl.tensor,
    bias_mean: tl.tensor,
    bias_square: tl.tensor,
    sizes: tl.tensor,
    roots: tl.tensor,
    decays: tl.tensor,
    batch: tl.tensor,
    inputs: tl.tensor,
    outputs: tl.tensor,
    beta_mean: tl.constexpr,
    beta_square: tl.constexpr,
    epsilon: tl.constexpr,
    is_decoupled: tl.constexpr,
    is_tf32: tl.constexpr,
    input_block: tl.constexpr,
    output_block: tl.constexpr,
    batch_block: tl.constexpr,
) -> None:
    """A tile of a weight; the first tiles of its columns train the bias too."""
    tiles = (outputs + output_block - 1) // output_block
    input_tile, output_tile, member = tl.program_id(0) // tiles, tl.program_id(0) % tiles, tl.program_id(1).to(tl.int64)
    x += tl.load(row_of_member + member) * batch * inputs
    gradient += member * batch * outputs
    size, root, decay = tl.load(sizes + member), tl.load(roots + member), tl.load(decays + member)
    input_at = input_tile * input_block + tl.arange(0, input_block)
    output_at = output_tile * output_block + tl.arange(0, output_block)
    of_weight = _product(
        x, 1, inputs, gradient, outputs, 1, inputs, outputs, batch, input_at, output_at, batch_block, is_tf32
    )
    at = member * inputs * outputs + input_at[:, None] * outputs + output_at[None, :]
    mask = (input_at < inputs)[:, None] & (output_at < outputs)[None, :]
    _adam(
        weight, weight_mean, weight_square, at, mask, of_weight, size, root, decay,
        beta_mean, beta_square, epsilon, is_decoupled,
    )  # fmt: skip
    if input_tile == 0:  # sums over the batch are a product with ones, of which one row is kept
        row_at = tl.arange(0, 16)
        of_bias = tl.full((16, output_block), 0.0, dtype=gradient.dtype.element_ty)
        for start in range(0, batch, batch_block):
            batch_at = start + tl.arange(0, batch_block)
            rows = tl.load(
                gradient + batch_at[:, None] * outputs + output_at[None, :],
                mask=(batch_at < batch)[:, None] & (output_at < outputs)[None, :],
                other=0.0,
            )
            ones = tl.full((16, batch_block), 1.0, dtype=rows.dtype)
            of_bias = tl.dot(ones, rows, of_bias, input_precision="ieee", out_dtype=of_bias.dtype)
        _adam(
            bias, bias_mean, bias_square, member * outputs + output_at[None, :] + 0 * row_at[:, None],
            (row_at == 0)[:, None] & (output_at < outputs)[None, :], of_bias, size, root, decay,
            beta_mean, beta_square, epsilon, is_decoupled,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _outputs(
    x: tl.tensor,
    row_of_member: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    images: tl.tensor,
    image_of_member: tl.tensor,
    result: tl.tensor,
    batch: tl.tensor,
    inputs: tl.tensor,
    outputs: tl.tensor,
    is_rectified: tl.constexpr,
    is_bernoulli: tl.constexpr,
    is_tf32: tl.constexpr,
    batch_block: tl.constexpr,
    output_block: tl.constexpr,
    input_block: tl.constexpr,
) -> None:
    """A tile of what a layer puts out; of the last one with Bernoulli pixels, of the gradient in it instead."""
    tiles = (outputs + output_block - 1) // output_block
    batch_tile, output_tile, member = tl.program_id(0) // tiles, tl.program_id(0) % tiles, tl.program_id(1).to(tl.int64)
    x += tl.load(row_of_member + member) * batch * inputs
    weight += member * inputs * outputs
    batch_at = batch_tile * batch_block + tl.arange(0, batch_block)
    output_at = output_tile * output_block + tl.arange(0, output_block)
    total = _product(
        x, inputs, 1, weight, outputs, 1, batch, outputs, inputs, batch_at, output_at, input_block, is_tf32
    )
    total += tl.load(bias + member * outputs + output_at, mask=output_at < outputs, other=0.0)[None, :]
    at = batch_at[:, None] * outputs + output_at[None, :]
    mask = (batch_at < batch)[:, None] & (output_at < outputs)[None, :]
    if is_rectified:
        total = tl.where(total <= 0, 0.0, total)  # NaN passes
    if is_bernoulli:
        images += tl.load(image_of_member + member) * batch * outputs
        total = (1 / (1 + tl.exp(-total)) - tl.load(images + at, mask=mask, other=0.0)) / batch
    tl.store(result + member * batch * outputs + at, total, mask=mask)


@triton.jit  # type: ignore[untyped-decorator]
def _input_gradient(
    gradient: tl.tensor,
    weight: tl.tensor,
    x: tl.tensor,
    result: tl.tensor,
    batch: tl.tensor,
    inputs: tl.tensor,
    outputs: tl.tensor,
    is_rectified: tl.constexpr,
    is_tf32: tl.constexpr,
    batch_block: tl.constexpr,
    input_block: tl.constexpr,
    output_block: tl.constexpr,
) -> None:
    """A tile of the gradient in what a layer reads, before the ReLU that it comes out of."""
    tiles = (inputs + input_block - 1) // input_block
    batch_tile, input_tile, member = tl.program_id(0) // tiles, tl.program_id(0) % tiles, tl.program_id(1).to(tl.int64)
    gradient += member * batch * outputs
    weight += member * inputs * outputs
    batch_at = batch_tile * batch_block + tl.arange(0, batch_block)
    input_at = input_tile * input_block + tl.arange(0, input_block)
    total = _product(
        gradient, outputs, 1, weight, 1, outputs, batch, inputs, outputs, batch_at, input_at, output_block, is_tf32
    )
    at = member * batch * inputs + batch_at[:, None] * inputs + input_at[None, :]
    mask = (batch_at < batch)[:, None] & (input_at < inputs)[None, :]
    if is_rectified:
        total = tl.where(tl.load(x + at, mask=mask, other=0.0) <= 0, 0.0, total)
    tl.store(result + at, total, mask=mask)


class Kernels:
    """Implements `rdstudy.training.dense_step.Operations` for members of one precision.

    Args:
        members: how many, at most.
        device: where they train.
        is_tf32: whether products of layers that are not at the latent code are TF32.
    """

    def __init__(self, members: int, device: torch.device, *, is_tf32: bool) -> None:
        self._own = torch.arange(members, device=device)
        self._is_tf32 = is_tf32

    def outputs(self, layer: DenseLayer, x: Shared) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.outputs`."""
        return self._outputs(layer, x, x, is_bernoulli=False)

    def output_gradient(self, layer: DenseLayer, x: Shared, images: Shared, likelihood: Likelihood) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.output_gradient`; at once of Bernoulli pixels alone."""
        if likelihood.gradient is bernoulli.gradient:
            return self._outputs(layer, x, images, is_bernoulli=True)
        return likelihood.derivative(self.outputs(layer, x), images.of_members).mul_(1 / images.values.shape[1])

    def _outputs(self, layer: DenseLayer, x: Shared, images: Shared, *, is_bernoulli: bool) -> Tensor:
        members, inputs, outputs = layer.weight.shape
        batch = x.values.shape[1]
        result = x.values.new_empty(members, batch, outputs)
        batch_block, output_block = _block(batch, BATCH), _block(outputs, TILE)
        tiles = triton.cdiv(batch, batch_block) * triton.cdiv(outputs, output_block)
        _outputs[tiles, members](
            *_in_order(x.values, self._rows(x), layer.weight, layer.bias, images.values, self._rows(images), result),
            batch,
            inputs,
            outputs,
            is_rectified=layer.is_rectified,
            is_bernoulli=is_bernoulli,
            is_tf32=self._is_tf32 and not layer.is_latent,
            batch_block=batch_block,
            output_block=output_block,
            input_block=_block(inputs, INNER),
            num_warps=WARPS,
        )
        return result

    def input_gradient(self, layer: DenseLayer, gradient: Tensor, x: Tensor) -> Tensor:
        """Implements `rdstudy.training.dense_step.Operations.input_gradient`."""
        members, inputs, outputs = layer.weight.shape
        batch = x.shape[1]
        result = torch.empty_like(x)
        batch_block, input_block = _block(batch, BATCH), _block(inputs, TILE)
        tiles = triton.cdiv(batch, batch_block) * triton.cdiv(inputs, input_block)
        _input_gradient[tiles, members](
            *_in_order(gradient, layer.weight, x, result),
            batch,
            inputs,
            outputs,
            is_rectified=layer.reads_rectified,
            is_tf32=self._is_tf32 and not layer.is_latent,
            batch_block=batch_block,
            input_block=input_block,
            output_block=_block(outputs, INNER),
            num_warps=WARPS,
        )
        return result

    def update(self, layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
        """Implements `rdstudy.training.dense_step.Operations.update`."""
        members, inputs, outputs = layer.weight.shape
        batch = x.values.shape[1]
        input_block, output_block = _block(inputs, TILE), _block(outputs, TILE)
        tiles = triton.cdiv(inputs, input_block) * triton.cdiv(outputs, output_block)
        _update[tiles, members](
            *_in_order(x.values, self._rows(x), gradient, layer.weight, *layer.of_weight, layer.bias, *layer.of_bias),
            *_in_order(*rates),
            batch,
            inputs,
            outputs,
            **dataclasses.asdict(adam),
            is_tf32=self._is_tf32 and not layer.is_latent,
            input_block=input_block,
            output_block=output_block,
            batch_block=_block(batch, INNER),
            num_warps=WARPS,
        )

    def _rows(self, x: Shared) -> Tensor:
        """Whose values each member reads."""
        return self._own if x.row_of_member is None else x.row_of_member


def _block(size: int, most: int) -> int:
    """A power of two, 16 at least: what tensor cores take."""
    return int(min(most, max(16, triton.next_power_of_2(size))))


def _in_order(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Kernels count from one number to the next."""
    assert all(tensor.is_contiguous() for tensor in tensors)
    return tensors
