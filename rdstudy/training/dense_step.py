"""A training step of fully connected networks, written out: forward, backward, and Adam where a gradient is made.

The general step of `rdstudy.training.stacked` leaves the gradients to PyTorch: each is stored, and read again by the
optimizer. Here the gradient of a weight goes into Adam inside the kernel that makes it. The images of a seed are held
once for its members, `Shared`. Axis order: `member, batch`, then features; weights are `[member, in, out]`.

The operations below are the reference of the kernels in `rdstudy.training.dense_kernels`, and what they are checked
against on a device before they are used there.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from rdstudy.model.architectures import describe
from rdstudy.model.description import Dense, Description, NetworkShape, Relu
from rdstudy.model.full_precision import full_precision_product
from rdstudy.model.gaussian import Posterior, rate_gradient
from rdstudy.model.likelihoods import Likelihood, likelihood
from rdstudy.study import Member
from rdstudy.study.parts import parse
from rdstudy.training.objectives import objective

_EQUAL = 2e-3
"""Largest relative difference of an update: TF32 makes 3e-4 of it, a wrong kernel about 1."""

OPTIMIZERS = ("adam", "adamw")
"""Whose arithmetic is in the kernels."""


class Shared(NamedTuple):
    """Rows of which several members read the same."""

    values: Tensor  # [row, batch, feature]
    row_of_member: Tensor  # int64 [member]

    @property
    def of_members(self) -> Tensor:
        """`[member, batch, feature]`, a copy for each member."""
        return self.values.index_select(0, self.row_of_member)


class Moments(NamedTuple):
    """Adam's, of one stacked parameter, each of its shape."""

    mean: Tensor
    square: Tensor


class Rates(NamedTuple):
    """What Adam does to each member at a step, each `[member]`."""

    size: Tensor  # learning rate / (1 - β₁^t)
    root: Tensor  # sqrt(1 - β₂^t)
    decay: Tensor  # added to the gradient times the weight; of AdamW, taken from the weight times the weight


@dataclass(frozen=True)
class Adam:
    """The numbers of Adam that all members have in common."""

    beta_mean: float
    beta_square: float
    epsilon: float
    is_decoupled: bool  # AdamW


@dataclass(frozen=True)
class DenseLayer:
    """A fully connected layer of all members, with the moments of its parameters."""

    weight: Tensor  # [member, in, out]
    bias: Tensor  # [member, out]
    of_weight: Moments
    of_bias: Moments
    is_rectified: bool  # a ReLU follows
    is_latent: bool  # its products are float32 whatever the precision of the others

    @property
    def parameters(self) -> tuple[Tensor, Tensor]:
        """What a forward pass reads."""
        return self.weight, self.bias


class Update(Protocol):
    """Adam by the gradient of a layer's parameters, which is not stored."""

    def __call__(self, layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
        """Change weights, biases and moments in place.

        Args:
            layer: that is trained.
            x: `[member, batch, in]`, what it read.
            gradient: `[member, batch, out]`, of what it put out.
            rates: of this step.
            adam: of all steps.
        """


def reason_against(member: Member, image_shape: tuple[int, int, int]) -> str | None:
    """Why members of this kind cannot take this step, in words; None where they can.

    Args:
        member: one of a pack.
        image_shape: channel, row, column.
    """
    description = describe(NetworkShape.of(member, image_shape))
    if description is None or not all(_is_dense(part) for part in description):
        return f"architecture {member.architecture} is not of fully connected layers alone"
    if member.prior != "normal":
        return f"prior {member.prior} is not normal"
    pixels = likelihood(member.likelihood)
    if pixels.gradient is None or pixels.parameters:
        return f"likelihood {member.likelihood} has no closed form of its gradient, or parameters"
    minimized = objective(member.objective)
    if minimized.loss is not None or minimized.removed is not None:
        return f"objective {member.objective} is not β times the rate"
    optimizer = parse(member.recipe.optimizer)
    if optimizer.name not in OPTIMIZERS or optimizer.digest:
        return f"optimizer {member.recipe.optimizer} is not one of {', '.join(OPTIMIZERS)}"
    return None


def _is_dense(operations: Sequence[object]) -> bool:
    return all(isinstance(operation, Dense | Relu) for operation in operations)


class Gradients(NamedTuple):
    """What a forward and backward pass leaves for the updates."""

    code: Tensor  # [member, batch, 2 latent], the encoder's output
    inputs: list[Tensor]  # per layer but the first, [member, batch, in]
    gradients: list[Tensor]  # per layer, [member, batch, out], of its output before the ReLU


class DenseStep:
    """Steps of all members of a pack.

    Args:
        description: of the network.
        parameters: by name, `[member, ...]`, changed in place.
        moments: of the parameters, by name, changed in place.
        adam: the optimizer.
        latent_dim: latent dimensions.
        likelihood: what the decoder's output means.
        update: what trains a layer.
        compiled: what makes a function of tensors faster.
    """

    def __init__(
        self,
        description: Description,
        parameters: dict[str, Tensor],
        moments: dict[str, Moments],
        *,
        adam: Adam,
        latent_dim: int,
        likelihood: Likelihood,
        update: Update,
        compiled: Callable[[Callable[..., Gradients]], Callable[..., Gradients]],
    ) -> None:
        self._adam, self._update = adam, update
        self._encoder, self._decoder = (
            [
                _layer(f"{part}.{at}", parameters, moments, operations[at + 1 :], latent_dim)
                for at, operation in enumerate(operations)
                if isinstance(operation, Dense)
            ]
            for part, operations in zip(("encoder", "decoder"), description, strict=True)
        )
        self._gradients = functools.partial(compiled(_all_gradients), (self._encoder, self._decoder), likelihood)
        self._own = torch.arange(len(self.layers[0].weight), device=self.layers[0].weight.device)

    @property
    def layers(self) -> list[DenseLayer]:
        """In order."""
        return [*self._encoder, *self._decoder]

    @torch.no_grad()
    def gradients(self, images: Shared, noise: Tensor, beta: Tensor) -> Gradients:
        """Forward and backward; the parameters stay as they are.

        Args:
            images: `[member, batch, pixel]` in [0, 1].
            noise: `[member, batch, latent]`, standard normal.
            beta: `[member, 1, 1]`.
        """
        return self._gradients(images, noise, beta)

    @torch.no_grad()
    def train(self, images: Shared, done: Gradients, rates: Rates) -> None:
        """Train all layers by what `gradients` gave for these images."""
        inputs = [images, *(Shared(x, self._own) for x in done.inputs)]
        for layer, x, gradient in zip(self.layers, inputs, done.gradients, strict=True):
            self._update(layer, x, gradient, rates, self._adam)

    def check(self, batch: int) -> None:
        """Hold the updates on this device against PyTorch's, for two members with numbers of chance.

        Kernels for all layers are compiled meanwhile, before anything is trained.

        Args:
            batch: images of a step.

        Raises:
            RuntimeError: another result.
        """
        for layer in self.layers:
            difference = _largest_difference(self._update, layer, self._adam, batch)
            if not difference < _EQUAL:
                raise RuntimeError(
                    f"an update of weights {list(layer.weight.shape)} is off by {difference:.1e} of itself"
                )


def _all_gradients(
    parts: Sequence[Sequence[DenseLayer]], likelihood: Likelihood, images: Shared, noise: Tensor, beta: Tensor
) -> Gradients:
    """Forward and backward through the encoder and the decoder."""
    encoder, decoder = parts
    x = images.of_members
    inputs = _outputs(encoder, x)
    code = inputs.pop()
    z = Posterior.from_code(code).sample(noise)
    decoded = [z, *_outputs(decoder, z)]
    of_output = likelihood.derivative(decoded.pop(), x).mul_(1 / x.shape[-2])
    of_decoder, of_z = _backward(decoder, decoded, of_output)
    of_code = code_gradient(code, of_z, noise, beta)
    of_encoder, _ = _backward(encoder, [None, *inputs], of_code)
    return Gradients(code, [*inputs, *decoded], [*of_encoder, *of_decoder])


def _layer(
    name: str,
    parameters: dict[str, Tensor],
    moments: dict[str, Moments],
    following: Sequence[object],
    latent_dim: int,
) -> DenseLayer:
    weight, bias = (parameters[f"{name}.{part}"].detach() for part in ("weight", "bias"))
    return DenseLayer(
        weight,
        bias,
        moments[f"{name}.weight"],
        moments[f"{name}.bias"],
        is_rectified=bool(following) and isinstance(following[0], Relu),
        is_latent=weight.shape[2] <= 2 * latent_dim if name.startswith("encoder.") else weight.shape[1] <= latent_dim,
    )


def _outputs(layers: Sequence[DenseLayer], x: Tensor) -> list[Tensor]:
    """What each layer puts out, after its ReLU."""
    outputs = []
    for layer in layers:
        x = product(x, layer.weight, is_latent=layer.is_latent) + layer.bias[:, None]
        x = x.relu() if layer.is_rectified else x
        outputs.append(x)
    return outputs


def _backward(
    layers: Sequence[DenseLayer], inputs: Sequence[Tensor | None], gradient: Tensor
) -> tuple[list[Tensor], Tensor]:
    """The gradients of what each layer puts out before its ReLU, and of what the first one reads unless it is None."""
    gradients = [gradient]
    for at in reversed(range(len(layers))):
        x, layer = inputs[at], layers[at]
        if x is None:
            break
        gradient = product(gradient, layer.weight.mT, is_latent=layer.is_latent)
        if at:
            gradient = torch.where(x <= 0, 0.0, gradient) if layers[at - 1].is_rectified else gradient  # NaN as it is
            gradients.insert(0, gradient)
    return gradients, gradient


def product(left: Tensor, right: Tensor, *, is_latent: bool) -> Tensor:
    """`[member, row, inner]` times `[member, inner, column]`, in full precision at the latent code."""
    return full_precision_product(left, right) if is_latent else torch.bmm(left, right)


def code_gradient(code: Tensor, of_z: Tensor, noise: Tensor, beta: Tensor) -> Tensor:
    """The gradient in the encoder's output, `[member, batch, 2 latent]`: through z = μ + σ noise, and of β R.

    Args:
        code: `[member, batch, 2 latent]`.
        of_z: `[member, batch, latent]`, the gradient in z.
        noise: `[member, batch, latent]`.
        beta: `[member, 1, 1]`.
    """
    posterior = Posterior.from_code(code)
    of_log_var = of_z * noise * (0.5 * torch.exp(0.5 * posterior.log_var))
    return torch.cat([of_z, of_log_var], dim=-1) + rate_gradient(posterior) * (beta / code.shape[-2])


def update(layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
    """Implements `Update` in PyTorch: the reference of the kernel."""
    of_weight = product(x.of_members.mT, gradient, is_latent=layer.is_latent)
    _adam(layer.weight, layer.of_weight, of_weight, rates, adam)
    _adam(layer.bias, layer.of_bias, gradient.sum(1), rates, adam)


def _adam(parameter: Tensor, moments: Moments, gradient: Tensor, rates: Rates, adam: Adam) -> None:
    """Adam as PyTorch has it (Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2)."""
    size, root, decay = (rate.view(-1, *[1] * (parameter.ndim - 1)) for rate in rates)
    if adam.is_decoupled:
        parameter.sub_(decay * parameter)
    else:
        gradient = gradient + decay * parameter
    moments.mean.lerp_(gradient, 1 - adam.beta_mean)
    moments.square.lerp_(gradient.square(), 1 - adam.beta_square)
    parameter.sub_(size * moments.mean / (moments.square.sqrt() / root + adam.epsilon))


def _largest_difference(update_by: Update, layer: DenseLayer, adam: Adam, batch: int) -> float:
    """Of weights, biases and moments after an update, relative to how far the reference moves them."""
    generator = torch.Generator(layer.weight.device).manual_seed(0)
    drawn = functools.partial(torch.randn, generator=generator, device=layer.weight.device)
    _, inputs, outputs = layer.weight.shape
    x, gradient = (
        Shared(drawn(1, batch, inputs), torch.zeros(2, dtype=torch.int64, device=layer.weight.device)),
        drawn(2, batch, outputs),
    )
    rates = Rates(*(drawn(2).abs() for _ in Rates._fields))
    before = [drawn(2, *shape).abs() for shape in ((inputs, outputs), (outputs,)) for _ in range(3)]
    after = []
    for apply in (update, update_by):
        weight, *of_weight, bias, mean, square = (tensor.clone() for tensor in before)
        apply(
            dataclasses.replace(
                layer, weight=weight, bias=bias, of_weight=Moments(*of_weight), of_bias=Moments(mean, square)
            ),
            x,
            gradient,
            rates,
            adam,
        )
        after.append([weight, *of_weight, bias, mean, square])
    return max(float((o - r).norm() / (r - b).norm()) for b, r, o in zip(before, *after, strict=True))
