"""A pack with its stacked layers written out: what `torch.func` has to be compared with.

The steps of `rdstudy.training.stacked.StackedTrainer`: same initial weights, batches, noise, gradients, check of
finiteness and fused Adam. Fully connected layers are one `baddbmm`, convolutions are grouped, a group a member. Axis
order: `member, batch`, then features; a folded feature map is `batch, member x channel, row, column`.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, relu

from benchmarks.contenders import Task
from benchmarks.devices import prepare, wait_for
from benchmarks.sizes import Size, layers
from rdstudy.model.description import PADDING, STRIDE, Convolution, Dense
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import build as build_network
from rdstudy.model.objective import accumulate_gradients, forward
from rdstudy.study import PAPER_BETAS
from rdstudy.study.seeds import derive_seed
from rdstudy.training.draws import BatchDraws, NoiseDraws
from rdstudy.training.process import prepare_process
from rdstudy.training.subsets import to_unit


class Step:
    """The step of a pack. Implements `benchmarks.contenders.cudagraph.Capturable`; runs uncaptured on any device.

    Args:
        size: the network and the batch.
        pairs: seed and β of each member.
        images: uint8 `[image, pixel]`.
        device: where they train.
        capturable: whether the step will be captured in a CUDA graph.
    """

    def __init__(
        self, size: Size, pairs: Sequence[tuple[int, float]], images: Tensor, *, device: torch.device, capturable: bool
    ) -> None:
        seeds = tuple(dict.fromkeys(seed for seed, _ in pairs))
        of_seed = [seeds.index(seed) for seed, _ in pairs]
        self._size, self._images = size, images.to(device)
        self._seed_of_member = torch.tensor(of_seed, device=device)
        self._beta = torch.tensor([beta for _, beta in pairs], device=device)[:, None, None]
        networks = [_modules(size, seed) for seed in seeds]
        self.weights = [_stacked([of_layer[at] for at in of_seed], device) for of_layer in zip(*networks, strict=True)]
        flat = list(itertools.chain(*self.weights))
        self.parameter_count = sum(parameter[0].numel() for parameter in flat)
        self._optimizer = torch.optim.Adam(flat, lr=1e-3, fused=True, capturable=capturable)
        self._index = torch.zeros(len(seeds), size.batch_size, dtype=torch.int64, device=device)
        self._noise = torch.zeros(len(seeds), size.batch_size, size.latent_dim, device=device)
        self._drawn = _draws(size, seeds, len(images), device)
        self.finite = torch.ones(len(pairs), dtype=torch.bool, device=device)

    def draw(self) -> None:
        """Fill the buffers with the next batch and noise of each seed."""
        index, noise = next(self._drawn)
        self._index.copy_(index)
        self._noise.copy_(noise)

    def forget_gradients(self) -> None:
        """Have the next backward pass allocate gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def accumulate(self) -> None:
        """Add the gradients of the batch in the buffers to those of the weights."""
        x = to_unit(self._images[self._index])[self._seed_of_member]
        outputs = forward(self.encode, self.decode, x, self._noise[self._seed_of_member])
        accumulate_gradients(outputs, x, beta=self._beta, likelihood=likelihood("bernoulli"))
        code = outputs.code.detach()
        self.finite &= torch.isfinite(code).flatten(1).all(dim=1)

    def take(self) -> None:
        """Forward, backward, Adam."""
        self.accumulate()
        self._optimizer.step()

    def encode(self, x: Tensor) -> Tensor:
        """Images `[member, batch, pixel]` to codes `[member, batch, 2 latent]`."""
        half = len(self.weights) // 2
        return _network(layers(self._size)[:half], self.weights[:half], x)

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes `[member, batch, latent]` to logits `[member, batch, pixel]`."""
        half = len(self.weights) // 2
        return _network(layers(self._size)[half:], self.weights[half:], z)


class Explicit:
    """A pack, β changing fastest, its step called anew each time. Implements `benchmarks.contenders.Trainer`."""

    def __init__(self, task: Task, device: torch.device) -> None:
        self._device, self._step = device, step_of(task, device, capturable=False)
        self.models, self.parameter_count = task.members, self._step.parameter_count

    def take_steps(self, steps: int) -> None:
        """Go on where the last call ended."""
        for _ in range(steps):
            self._step.draw()
            self._step.take()
            self._step.forget_gradients()
        wait_for(self._device)


def step_of(task: Task, device: torch.device, *, capturable: bool) -> Step:
    """The step of the pack that `stacked` trains for the same task."""
    pairs = list(itertools.islice(itertools.product(range(5), PAPER_BETAS), task.members))
    images = torch.from_numpy(np.load(task.images)).flatten(1)
    return Step(task.size, pairs, images, device=device, capturable=capturable)


def _draws(size: Size, seeds: Sequence[int], images: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Indices `[seed, batch]` and noise `[seed, batch, latent]` of one step after the other."""
    batch, latent = size.batch_size, size.latent_dim
    batches = [BatchDraws(seed=seed, images=images, batch_size=batch, device=device) for seed in seeds]
    noises = [NoiseDraws(seed=seed, batch_size=batch, latent_dim=latent, device=device) for seed in seeds]
    first_step = 0
    while True:
        noise = torch.stack([draws.chunk(first_step) for draws in noises], dim=1)
        index = torch.stack([draws.batches(first_step, len(noise)) for draws in batches], dim=1)
        yield from zip(index, noise, strict=True)
        first_step += len(noise)


def _modules(size: Size, seed: int) -> list[nn.Module]:
    """The layers with weights of the network that a member of this seed starts from."""
    vae = build_network(size.shape, seed=derive_seed(seed, "initial weights"))
    return [module for module in vae.modules() if list(module.parameters(recurse=False))]


def _stacked(modules: Sequence[nn.Module], device: torch.device) -> tuple[Tensor, Tensor]:
    """Weight and bias of a layer of all members.

    Returns:
        `[member, input, output]` and `[member, 1, output]` where connected fully; where convolved, `[member, ...]` and
        then the axes of PyTorch's modules.
    """
    pairs = [(module.get_parameter("weight").detach(), module.get_parameter("bias").detach()) for module in modules]
    if isinstance(modules[0], nn.Linear):
        pairs = [(weight.t(), bias[None]) for weight, bias in pairs]
    weight, bias = (torch.stack([value.contiguous() for value in values]) for values in zip(*pairs, strict=True))
    return weight.to(device).requires_grad_(), bias.to(device).requires_grad_()


def _network(layers: Sequence[Dense | Convolution], weights: Sequence[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    members = len(x)
    for number, (layer, (weight, bias)) in enumerate(zip(layers, weights, strict=True)):
        if number:
            x = relu(x)
        if isinstance(layer, Convolution):
            x = _convolution(layer, weight, bias, _folded(x, layer))
        else:
            x = torch.baddbmm(bias, _unfolded(x, members), weight)
    return _unfolded(x, members)


def _convolution(layer: Convolution, weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """All members at once, each with channels of its own."""
    apply = conv_transpose2d if layer.transposed else conv2d
    y: Tensor = apply(x, weight.flatten(0, 1), bias.flatten(), stride=STRIDE, padding=PADDING, groups=len(weight))
    return y


def _folded(x: Tensor, layer: Convolution) -> Tensor:
    """`[member, batch, feature]` to `[batch, member x channel, row, column]`, unless it is so already."""
    if x.dim() == 4:
        return x
    return x.transpose(0, 1).reshape(x.shape[1], len(x) * layer.inputs, layer.rows, layer.columns)


def _unfolded(x: Tensor, members: int) -> Tensor:
    """Back again."""
    return x if x.dim() == 3 else x.reshape(len(x), members, -1).transpose(0, 1)


def build(task: Task) -> Explicit:
    prepare_process()
    return Explicit(task, prepare(task))
