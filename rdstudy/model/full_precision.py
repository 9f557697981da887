"""Fully connected layers whose products are float32 wherever they stand, in a network whose other products are not.

The layers at the latent code are: σ of a code is below TF32's rounding of its μ for many codes. What other products are
rounded to is the business of `rdstudy.training.precision`; nothing here changes a network that nobody asks to be
changed.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rdstudy.model.networks import VAE


class FullPrecisionLinear(nn.Linear):
    """y = x Wᵀ + b with products in float32, forward and backward. It takes over a layer's parameters, not copied."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: Tensor) -> Tensor:
        """`[..., in]` to `[..., out]`."""
        rows: Tensor = full_precision_product(input.reshape(-1, self.in_features), self.weight.mT).view(
            *input.shape[:-1], -1
        )
        return rows if self.bias is None else rows + self.bias


def keep_latent_layers(vae: VAE, latent_dim: int) -> VAE:
    """Put full precision where latent codes come and go: parameters and their names stay what they are.

    Those are the layers of the encoder that put out no more numbers than a code has, those of the decoder that read no
    more than a latent vector has, and those of the prior. The network is changed, and returned.

    Raises:
        ValueError: the encoder, or the decoder, has no such layer: only fully connected ones can be kept.
    """
    latent = {
        "encoder": [name for name, layer in _linear(vae.encoder) if layer.out_features <= 2 * latent_dim],
        "decoder": [name for name, layer in _linear(vae.decoder) if layer.in_features <= latent_dim],
    }
    for part, names in latent.items():
        if not names:
            raise ValueError(
                f"recipe.precision tf32 needs a fully connected layer at the latent code, and the {part} has none; "
                "allowed for this architecture: float32"
            )
    latent["prior"] = [name for name, _ in _linear(vae.prior)]
    for part, names in latent.items():
        for name in names:
            path = f"{part}.{name}".rstrip(".")
            layer = vae.get_submodule(path)
            assert isinstance(layer, nn.Linear), "it was found as one"
            vae.set_submodule(path, FullPrecisionLinear(layer))
    return vae


def _linear(network: nn.Module) -> list[tuple[str, nn.Linear]]:
    """Fully connected layers by name; a subclass may compute something else, and is left alone."""
    return [(name, layer) for name, layer in network.named_modules() if type(layer) is nn.Linear]


@contextlib.contextmanager
def float32_products() -> Iterator[None]:
    """Products of a GPU are float32 for a while."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


# An operation of its own: compilers and dispatch modes see it as a whole, and what it calls is out of their sight. The
# switch for TF32 is the process's, and is read when a product is launched, or captured: a module cannot set it where
# its network is compiled.
@torch.library.custom_op("rdstudy::full_precision_product", mutates_args=())
def full_precision_product(left: Tensor, right: Tensor) -> Tensor:
    """`[..., row, inner]` times `[..., inner, column]` in float32, the leading axes equal."""
    with float32_products():
        return torch.matmul(left, right)


@full_precision_product.register_fake
def _(left: Tensor, right: Tensor) -> Tensor:
    return left.new_empty(*left.shape[:-1], right.shape[-1])


def _save(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:  # noqa: ARG001 - as it is called
    ctx.save_for_backward(*inputs)


def _gradients(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    left, right = ctx.saved_tensors
    of_left, of_right = ctx.needs_input_grad
    return (
        full_precision_product(gradient, right.mT) if of_left else None,
        full_precision_product(left.mT, gradient) if of_right else None,
    )


full_precision_product.register_autograd(_gradients, setup_context=_save)


@full_precision_product.register_vmap
def _(info: Any, in_dims: tuple[int | None, int | None], left: Tensor, right: Tensor) -> tuple[Tensor, int]:
    both = [
        factor.expand(info.batch_size, *factor.shape) if axis is None else factor.movedim(axis, 0)
        for factor, axis in zip((left, right), in_dims, strict=True)
    ]
    return full_precision_product(*both), 0
