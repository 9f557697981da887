"""Encoders and decoders as modules: built from their description, with initial weights from a seed; and their cost.

An encoder maps `[batch, pixel]` in [0, 1] to `[batch, 2 latent]`, a decoder `[batch, latent]` to `[batch, pixel]`
logits, or what else the likelihood reads; a pixel axis is `channel, row, column` flattened. Any pair of `nn.Module`s
that does this can be trained.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from rdstudy.model.architectures import describe
from rdstudy.model.description import (
    KERNEL,
    PADDING,
    STRIDE,
    Convolution,
    Dense,
    Flatten,
    LayerCounts,
    NetworkCost,
    NetworkShape,
    Operation,
    Relu,
    Reshape,
)
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.priors import Prior, PriorTerms, make_prior
from rdstudy.study import parts
from rdstudy.study.seeds import derive_seed

__all__ = [
    "PARTS_OF_NETWORK",
    "VAE",
    "NetworkShape",
    "build",
    "cost_of_modules",
    "cost_of_shape",
    "load_weights",
    "modules_of",
]

PARTS_OF_NETWORK = ("architecture", "prior", "likelihood")
"""The kinds of parts of which a network is made; the others are those of its training."""


class VAE(nn.Module):
    """An encoder, a decoder and a prior; what is done with them is the business of `rdstudy.model.objective`."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: Prior) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.prior = prior

    @property
    def prior_terms(self) -> PriorTerms | None:
        """What the prior says of codes and draws, a module of prior and encoder; None for N(0, I)."""
        return None if self.prior.is_standard_normal else PriorTerms(self.prior, self.encoder)


def modules_of(shape: NetworkShape) -> VAE:
    """The modules of an architecture, a likelihood and a prior, each initialized as it is made.

    Raises:
        ValueError: a user's own architecture makes something else than two modules.
    """
    description = describe(shape)
    if description is None:
        encoder, decoder = _own_modules(shape)
    else:
        encoder, decoder = (nn.Sequential(*map(_module, layers)) for layers in description)
    numbers = likelihood(shape.likelihood).parameters
    if numbers:
        decoder = nn.Sequential(decoder, _Appended(numbers))
    return VAE(encoder, decoder, make_prior(shape))


def _run_own_files(shape: NetworkShape) -> None:
    """Run the files of a user's own parts, once in a process, where their tensors are ordinary ones."""
    for kind in PARTS_OF_NETWORK:
        if parts.is_own(level := getattr(shape, kind)):
            parts.load(kind, level)


def _own_modules(shape: NetworkShape) -> tuple[nn.Module, nn.Module]:
    made = parts.load("architecture", shape.architecture)(shape)
    if not (isinstance(made, tuple) and len(made) == 2 and all(isinstance(part, nn.Module) for part in made)):
        raise ValueError(
            f"architecture {shape.architecture} makes a {type(made).__name__}; allowed: (encoder, decoder)"
        )
    return made


def _module(part: Operation) -> nn.Module:
    match part:
        case Dense(inputs, outputs):
            return nn.Linear(inputs, outputs)
        case Convolution():
            kind = nn.ConvTranspose2d if part.transposed else nn.Conv2d
            return kind(part.inputs, part.outputs, KERNEL, STRIDE, PADDING)
        case Relu():
            return nn.ReLU()
        case Reshape(shape):
            return _Reshape(shape)
        case Flatten():
            return nn.Flatten()


class _Reshape(nn.Module):
    """`[batch, feature]` to `[batch, *shape]`."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.view(-1, *self.shape)


class _Appended(nn.Module):
    """Numbers of a likelihood behind the pixels of every image; they start at 0."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers = nn.Parameter(torch.zeros(numbers))

    def forward(self, output: Tensor) -> Tensor:
        return torch.cat([output, self.numbers.expand(*output.shape[:-1], -1)], dim=-1)


def build(shape: NetworkShape, *, seed: int, initialization: str = "default") -> VAE:
    """Build a network on the CPU with initial weights that depend on the arguments only; no global generator is read.

    Args:
        shape: of the network.
        seed: of the weights.
        initialization: of `Linear`, `Conv2d` and `ConvTranspose2d`. `default`: weights and biases uniform in
            ±1/sqrt(fan in), PyTorch's own; `he`: weights normal with variance 2 / fan in and biases 0, which keeps the
            scale of what passes through ReLUs (He et al. 2015). Other layers are initialized as they are made.

    Raises:
        ValueError: a parameter or buffer that nothing has initialized.
    """
    _run_own_files(shape)
    with _seeded(derive_seed(seed, "layers as they are made")), _MarkUninitialized():  # type: ignore[no-untyped-call]
        vae = modules_of(shape)
    initialize = _INITIALIZATIONS[initialization]
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in vae.modules():
            if type(module) in get_args(_Weighted):  # a subclass has a rule of its own
                initialize(cast(_Weighted, module), generator)
    _check_initialized(vae)
    vae.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # convolutions: half as fast again
    return vae


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generator from which modules are initialized as they are made; afterwards it is where it was."""
    before = torch.random.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.random.set_rng_state(before)


class _MarkUninitialized(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Tensors of uninitialized memory are filled with what `_check_initialized` sees: NaN, or the least integer."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in _MEMORY and (mark := _mark(out)) is not None:
            out.fill_(mark)
        return out


_MEMORY = {
    getattr(torch.ops.aten, name)
    for name in ("empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided")
}


def _mark(tensor: Tensor) -> float | int | None:
    """None for types whose every value means something: bytes and truth values."""
    if tensor.is_floating_point() or tensor.is_complex():
        return math.nan
    return torch.iinfo(tensor.dtype).min if tensor.dtype in (torch.int16, torch.int32, torch.int64) else None


def _check_initialized(vae: VAE) -> None:
    """Refuse parameters and buffers that nothing has initialized: they would be whatever the memory held."""
    bare = [name for name, tensor in (*vae.named_parameters(), *vae.named_buffers()) if _is_marked(tensor)]
    if bare:
        raise ValueError(f"a network leaves {', '.join(bare)} uninitialized; allowed: layers that set all their values")


def _is_marked(tensor: Tensor) -> bool:
    if is_lazy(tensor):
        return True
    mark = _mark(tensor)
    return mark is not None and bool((tensor.isnan() if math.isnan(mark) else tensor == mark).any())


_Weighted = nn.Linear | nn.Conv2d | nn.ConvTranspose2d


def _uniform(module: _Weighted, generator: torch.Generator) -> None:
    bound = module.weight[0].numel() ** -0.5  # of a transposed convolution too: what PyTorch takes for its fan in
    for parameter in module.parameters(recurse=False):
        parameter.uniform_(-bound, bound, generator=generator)


def _he(module: _Weighted, generator: torch.Generator) -> None:
    weight = module.weight
    fan_in = weight[0].numel()
    if isinstance(module, nn.ConvTranspose2d):  # [in, out, row, column]: a place is fed by a part of the kernel
        fan_in = weight.shape[0] // module.groups * weight[0, 0].numel() // math.prod(module.stride)
    weight.normal_(0.0, (2 / fan_in) ** 0.5, generator=generator)
    if module.bias is not None:
        module.bias.zero_()


_INITIALIZATIONS = {"default": _uniform, "he": _he}


def load_weights(vae: VAE, weights: Mapping[str, Tensor], *, device: torch.device) -> VAE:
    """A network on a device with the weights of a member that was trained, which are trained no more.

    The network is built for the member, with any weights; the member's are named as in `VAE.state_dict`.
    """
    vae = vae.to(device).eval().requires_grad_(requires_grad=False)
    vae.load_state_dict(dict(weights))
    return vae


def cost_of_shape(shape: NetworkShape) -> NetworkCost:
    """What a network costs by its modules, which are made on the meta device."""
    _run_own_files(shape)
    with torch.device("meta"):
        return cost_of_modules(modules_of(shape), shape)


@torch.no_grad()
def cost_of_modules(vae: VAE, shape: NetworkShape) -> NetworkCost:
    """What a network of any layers costs, counted as images pass through it on the meta device, wherever it is."""
    counts = [*_counts(vae.encoder, shape.pixels), *_counts(vae.decoder, shape.latent_dim)]
    terms = vae.prior_terms
    if terms is None:
        return NetworkCost.of(counts, shape.pixels)
    parameters = sum(parameter.numel() for parameter in vae.prior.parameters())
    single, double = (_count_prior(terms, images, shape.latent_dim) for images in (1, 2))
    of_image = LayerCounts(parameters, *(later - earlier for earlier, later in zip(single, double, strict=True)))
    fixed = [earlier - each for earlier, each in zip(single, of_image[1:], strict=True)]
    return NetworkCost.of([*counts, of_image], shape.pixels, fixed_numbers=fixed[0], fixed_products=fixed[1])


def _counts(network: nn.Module, inputs: int) -> list[LayerCounts]:
    """The layers with weights, as they end; products between two of them are counted with the later one."""
    counts: list[LayerCounts] = []
    counter = FlopCounterMode(display=False)

    def note(module: nn.Module, _: object, output: object) -> None:
        parameters = sum(parameter.numel() for parameter in module.parameters(recurse=False))
        numbers = sum(leaf.numel() for leaf in tree_leaves(output) if isinstance(leaf, Tensor))
        products = counter.get_total_flops() // 2 - sum(layer.products for layer in counts)
        counts.append(LayerCounts(parameters, numbers, products))

    weighted = [module for module in network.modules() if list(module.parameters(recurse=False))]
    hooks = [module.register_forward_hook(note) for module in weighted]
    try:
        with counter:
            torch.func.functional_call(network, _on_meta(network), (torch.empty(1, inputs, device="meta"),))
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def _on_meta(module: nn.Module) -> dict[str, Tensor]:
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {name: tensor.detach().to("meta") for name, tensor in tensors.items()}


class _OutputNumbers(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that operations put out: a training step holds most of them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.numbers += sum(
            leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor) and not leaf._is_view()
        )
        return out


def _count_prior(terms: PriorTerms, images: int, latent_dim: int) -> tuple[int, int]:
    """Numbers that a prior puts out on its way for so many images, and its products."""
    code, z = (torch.empty(images, factor * latent_dim, device="meta") for factor in (2, 1))
    with _OutputNumbers() as outputs, FlopCounterMode(display=False) as counter:
        torch.func.functional_call(terms, _on_meta(terms), (code, z))
    return outputs.numbers, counter.get_total_flops() // 2
