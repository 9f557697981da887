"""Encoders and decoders (paper, 4.3): MLP and CNN of any depth, with ReLU; and affine maps, which have closed forms.

An encoder maps `[batch, pixel]` in [0, 1] to `[batch, 2 latent]`, a decoder `[batch, latent]` to `[batch, pixel]`
logits, or what else the likelihood reads; a pixel axis is `channel, row, column` flattened. Any pair of `nn.Module`s
that does this can be trained.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_KERNEL, _STRIDE, _PADDING = 4, 2, 1  # halves an image's side exactly (paper, 4.3)


class VAE(nn.Module):
    """An encoder and a decoder; what is done with them is the business of `rdstudy.model.objective`."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder


@dataclass(frozen=True)
class NetworkShape:
    """What fixes the shapes of all tensors of a network."""

    architecture: str  # mlp, cnn or linear
    depth: int  # hidden layers of the encoder, and of the decoder; a linear VAE has none, whatever stands here
    width: int  # hidden units of an MLP layer, channels of a CNN layer
    latent_dim: int
    image_shape: tuple[int, int, int]  # channel, row, column


def build(shape: NetworkShape, *, seed: int, initialization: str = "default") -> VAE:
    """Build a network on the CPU with initial weights that depend on the arguments only, from a generator of their own.

    Args:
        shape: of the network.
        seed: of the weights.
        initialization: `default`: weights and biases uniform in ±1/sqrt(fan in), PyTorch's own; `he`: weights normal
            with variance 2 / fan in and biases 0, which keeps the scale of what passes through ReLUs (He et al. 2015).
    """
    initialize = _INITIALIZATIONS[initialization]
    with torch.device("meta"):
        vae = _NETWORKS[shape.architecture](shape)
    vae.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in vae.modules():
            if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                assert module.bias is not None
                initialize(module.weight, module.bias, module, generator)
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions: half as fast again
    return vae


def _uniform(weight: Tensor, bias: Tensor, _: nn.Module, generator: torch.Generator) -> None:
    bound = weight[0].numel() ** -0.5  # of a transposed convolution too: what PyTorch takes for its fan in
    weight.uniform_(-bound, bound, generator=generator)
    bias.uniform_(-bound, bound, generator=generator)


def _he(weight: Tensor, bias: Tensor, module: nn.Module, generator: torch.Generator) -> None:
    fan_in = weight[0].numel()
    if isinstance(module, nn.ConvTranspose2d):  # [in, out, row, column]: a place is fed by a part of the kernel
        fan_in = weight.shape[0] * weight[0, 0].numel() // math.prod(module.stride)
    weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)
    bias.zero_()


_INITIALIZATIONS = {"default": _uniform, "he": _he}


def load_vae(shape: NetworkShape, weights: Mapping[str, Tensor], *, device: torch.device) -> VAE:
    """A network with given weights, such as those of a member that was trained.

    Args:
        shape: of the network that the weights are of.
        weights: by name, as in `VAE.state_dict`.
        device: where it is put.
    """
    with torch.device("meta"):
        vae = _NETWORKS[shape.architecture](shape)
    vae = vae.to_empty(device=device)
    vae.load_state_dict(dict(weights))
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return vae.requires_grad_(requires_grad=False)


def _mlp(shape: NetworkShape) -> VAE:
    channels, rows, columns = shape.image_shape
    pixels = channels * rows * columns
    hidden = [shape.width] * shape.depth
    encoder = _perceptron([pixels, *hidden, 2 * shape.latent_dim])
    return VAE(encoder, _perceptron([shape.latent_dim, *hidden, pixels]))


def _linear(shape: NetworkShape) -> VAE:
    """One affine layer each way: with a Gaussian likelihood, the model of `rdstudy.model.linear_gaussian`."""
    pixels = math.prod(shape.image_shape)
    return VAE(_perceptron([pixels, 2 * shape.latent_dim]), _perceptron([shape.latent_dim, pixels]))


def _perceptron(sizes: list[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _cnn(shape: NetworkShape) -> VAE:
    channels, rows, columns = shape.image_shape
    inner = (shape.width, rows >> shape.depth, columns >> shape.depth)
    flat = inner[0] * inner[1] * inner[2]
    sizes = [channels] + [shape.width] * shape.depth
    down: list[nn.Module] = [_Reshape(shape.image_shape)]
    for inputs, outputs in itertools.pairwise(sizes):
        down += [nn.Conv2d(inputs, outputs, _KERNEL, _STRIDE, _PADDING), nn.ReLU()]
    encoder = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, 2 * shape.latent_dim))
    up: list[nn.Module] = [nn.Linear(shape.latent_dim, flat), nn.ReLU(), _Reshape(inner)]
    for inputs, outputs in itertools.pairwise(reversed(sizes)):
        up += [nn.ConvTranspose2d(inputs, outputs, _KERNEL, _STRIDE, _PADDING), nn.ReLU()]
    return VAE(encoder, nn.Sequential(*up[:-1], nn.Flatten()))


class _Reshape(nn.Module):
    """`[batch, feature]` to `[batch, *shape]`."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, *self.shape)


_NETWORKS = {"mlp": _mlp, "cnn": _cnn, "linear": _linear}
