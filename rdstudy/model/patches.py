"""Convolutions as products of patches: mapped over members by `torch.func`, one batched product.

Mapped over members a convolution is a grouped one, whose inputs are copied into another order. Here an image is cut
into its patches, of which each is a row, and patches times weights are the output; the other way round in a transposed
convolution, where patches overlap and are added. A number is then in as many patches as a kernel is larger than its
stride, each way: four times the memory of an input for kernels of 4 and strides of 2.
The gradients of cutting and of adding are slices and sums alone, without atomic additions.

Axis order: `batch, channel, row, column`, between layers as views of `batch, row, column, channel`.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rdstudy.model.networks import VAE


class _OfPatches(nn.Module):
    """A convolution that `is_convertible` as a product. It takes over the parameters of a layer, not copied."""

    def __init__(self, layer: nn.Conv2d | nn.ConvTranspose2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self._kernel, self._stride, self._padding = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])


class PatchConvolution(_OfPatches):
    """`nn.Conv2d` as a product."""

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in, row, column]` to `[batch, out, row, column]`."""
        patches = _cut(pad(x, 4 * (self._padding,)), kernel=self._kernel, stride=self._stride)
        by_patch = self.weight.permute(2, 3, 1, 0).flatten(0, 2)  # [row × column × in, out]
        output = (patches.flatten(0, 2) @ by_patch).reshape(*patches.shape[:3], -1)
        return _channels_first(output if self.bias is None else output + self.bias)


class PatchTransposedConvolution(_OfPatches):
    """`nn.ConvTranspose2d` as a product."""

    def forward(self, x: Tensor) -> Tensor:
        """`[batch, in, row, column]` to `[batch, out, row, column]`."""
        rows = x.permute(0, 2, 3, 1)
        by_patch = self.weight.permute(0, 2, 3, 1).flatten(1)  # [in, row × column × out]
        patches = (rows.flatten(0, 2) @ by_patch).reshape(*rows.shape[:3], -1)
        output = pad(_added(patches, kernel=self._kernel, stride=self._stride), 4 * (-self._padding,))
        return output if self.bias is None else output + self.bias[:, None, None]


def convolve_patches(vae: VAE) -> VAE:
    """Put products of patches in the place of convolutions: parameters and their names stay what they are.

    The network is changed, and returned. Those that are not `is_convertible`, of a user's own architecture, stay.
    """
    for path, module in list(vae.named_modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and is_convertible(module):
            kind = PatchConvolution if isinstance(module, nn.Conv2d) else PatchTransposedConvolution
            vae.set_submodule(path, kind(module))
    return vae


def is_convertible(layer: nn.Conv2d | nn.ConvTranspose2d) -> bool:
    """Whether a layer, and no subclass of one, is plain and square: its kernel a multiple of its stride."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    same_each_way = all(len(set(value)) == 1 for value in (layer.kernel_size, layer.stride, layer.padding))
    plain = layer.groups == 1 and set(layer.dilation) == {1} and set(layer.output_padding) == {0}
    is_exact = type(layer) in (nn.Conv2d, nn.ConvTranspose2d) and layer.padding_mode == "zeros"
    return is_exact and plain and same_each_way and not isinstance(layer.padding, str) and kernel % stride == 0


def _cut(x: Tensor, *, kernel: int, stride: int) -> Tensor:
    """The patches of images, `[batch, row, column, kernel row × kernel column × channel]`."""
    rows, columns = ((side - kernel) // stride + 1 for side in x.shape[-2:])
    overlap = kernel // stride
    blocks = _blocks(x, rows + overlap - 1, columns + overlap - 1, stride)
    down = torch.stack([blocks[:, at : at + rows] for at in range(overlap)], dim=2)
    both = torch.stack([down[:, :, :, :, at : at + columns] for at in range(overlap)], dim=5)
    # [batch, row, block, row in block, column, block, column in block, channel]
    return both.permute(0, 1, 4, 2, 3, 5, 6, 7).flatten(3)


def _blocks(x: Tensor, rows: int, columns: int, stride: int) -> Tensor:
    """Images as `[batch, row, row in block, column, column in block, channel]`, what is left over cut off."""
    inner = x[..., : rows * stride, : columns * stride].permute(0, 2, 3, 1)
    return inner.reshape(len(x), rows, stride, columns, stride, x.shape[1])


def _added(patches: Tensor, *, kernel: int, stride: int) -> Tensor:
    """Images `[batch, channel, row, column]` from patches that overlap: what `_cut` is the transpose of."""
    batch, rows, columns, _ = patches.shape
    overlap = kernel // stride
    apart = patches.reshape(batch, rows, columns, overlap, stride, overlap, stride, -1)
    down = _sum_shifted(apart.permute(0, 1, 4, 2, 6, 7, 3, 5), axis=1)  # [batch, row, _, column, _, channel, block]
    both = _sum_shifted(down, axis=3)
    sides = [(side + overlap - 1) * stride for side in (rows, columns)]
    return both.reshape(batch, *sides, -1).permute(0, 3, 1, 2)


def _sum_shifted(blocks: Tensor, *, axis: int) -> Tensor:
    """The sum over blocks `[..., block, other]`, or `[..., block]`, each moved along an axis by its number."""
    at_block = 6  # behind batch, row, row in block, column, column in block, channel
    count = blocks.shape[at_block]
    total: Tensor | None = None
    for at, block in enumerate(blocks.unbind(at_block)):
        behind = [0] * (2 * (block.ndim - axis))
        behind[-2:] = [at, count - 1 - at]
        moved = pad(block, behind)
        total = moved if total is None else total + moved
    assert total is not None, "a kernel is at least as large as its stride"
    return total


def _channels_first(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)
