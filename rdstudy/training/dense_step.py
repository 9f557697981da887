"""A training step of fully connected networks, written out: forward, backward, and Adam where a gradient is made.

The general step of `rdstudy.training.stacked` leaves the gradients to PyTorch: each is stored, and read again by the
optimizer. Here the gradient of a weight goes into Adam inside the kernel that makes it. The images of a seed are held
once for its members, `Shared`. Axis order: `member, batch`, then features; weights are `[member, in, out]`.

`PyTorch` is the reference of the kernels in `rdstudy.training.dense_kernels`, and what they are checked against on a
device before they are used there.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

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
"""Largest relative difference of an operation: TF32 makes 3e-4 of it, a wrong kernel about 1."""

OPTIMIZERS = ("adam", "adamw")
"""Whose arithmetic is in the kernels."""


class Shared(NamedTuple):
    """Rows of which several members may read the same."""

    values: Tensor  # [row, batch, feature]
    row_of_member: Tensor | None = None  # int64 [member]; None where each has its own

    @property
    def of_members(self) -> Tensor:
        """`[member, batch, feature]`, a copy for each member that shares a row."""
        return self.values if self.row_of_member is None else self.values.index_select(0, self.row_of_member)


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
    reads_rectified: bool  # what it reads comes out of a ReLU
    is_latent: bool  # its products are float32 whatever the precision of the others

    @property
    def numbers(self) -> list[Tensor]:
        """All that an update changes."""
        return [self.weight, self.bias, *self.of_weight, *self.of_bias]


class Operations(Protocol):
    """What a step is made of."""

    def outputs(self, layer: DenseLayer, x: Shared) -> Tensor:
        """`[member, batch, out]`, what a layer puts out for x `[member, batch, in]`, after its ReLU."""

    def output_gradient(self, layer: DenseLayer, x: Shared, images: Shared, likelihood: Likelihood) -> Tensor:
        """The gradient of D, averaged over the batch, in what the last layer puts out, `[member, batch, pixel]`.

        Args:
            layer: the last one.
            x: `[member, batch, in]`, what it reads.
            images: `[member, batch, pixel]` in [0, 1].
            likelihood: with a closed form of its gradient.
        """

    def input_gradient(self, layer: DenseLayer, gradient: Tensor, x: Tensor) -> Tensor:
        """The gradient in what a layer reads, before the ReLU where that came out of one, `[member, batch, in]`.

        Args:
            layer: that reads x.
            gradient: `[member, batch, out]`, of what it puts out before its own ReLU.
            x: `[member, batch, in]`.
        """

    def update(self, layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
        """Adam by the gradient of a layer's parameters, which need not be stored: they and their moments are changed.

        Args:
            layer: that is trained.
            x: `[member, batch, in]`, what it read.
            gradient: `[member, batch, out]`, of what it put out before its ReLU.
            rates: of this step.
            adam: of all steps.
        """


class PyTorch:
    """Implements `Operations` one after the other: the reference of kernels that do several at once."""

    def outputs(self, layer: DenseLayer, x: Shared) -> Tensor:
        """Implements `Operations.outputs`."""
        before = product(x.of_members, layer.weight, is_latent=layer.is_latent) + layer.bias[:, None]
        return before.relu() if layer.is_rectified else before

    def output_gradient(self, layer: DenseLayer, x: Shared, images: Shared, likelihood: Likelihood) -> Tensor:
        """Implements `Operations.output_gradient`."""
        pixels = images.of_members
        return likelihood.derivative(self.outputs(layer, x), pixels).mul_(1 / pixels.shape[-2])

    def input_gradient(self, layer: DenseLayer, gradient: Tensor, x: Tensor) -> Tensor:
        """Implements `Operations.input_gradient`."""
        of_x = product(gradient, layer.weight.mT, is_latent=layer.is_latent)
        return torch.where(x <= 0, 0.0, of_x) if layer.reads_rectified else of_x  # NaN passes, as PyTorch has it

    def update(self, layer: DenseLayer, x: Shared, gradient: Tensor, rates: Rates, adam: Adam) -> None:
        """Implements `Operations.update`."""
        of_weight = product(x.of_members.mT, gradient, is_latent=layer.is_latent)
        _adam(layer.weight, layer.of_weight, of_weight, rates, adam)
        _adam(layer.bias, layer.of_bias, gradient.sum(1), rates, adam)


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
        operations: whose updates train the layers.
        has_products: whether the other operations are theirs too, or PyTorch's.
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
        operations: Operations,
        has_products: bool,
        compiled: Callable[[Callable[..., Any]], Callable[..., Any]],
    ) -> None:
        self._adam, self._operations, self._has_products = adam, operations, has_products
        self._parts = [
            [
                _layer(f"{part}.{at}", parameters, moments, list_of, latent_dim)
                for at, operation in enumerate(list_of)
                if isinstance(operation, Dense)
            ]
            for part, list_of in zip(("encoder", "decoder"), description, strict=True)
        ]
        between = Between(compiled(sample), compiled(code_gradient)) if has_products else Between(sample, code_gradient)
        gradients = _gradients if has_products else compiled(_gradients)  # all of PyTorch's operations at once
        self._gradients = functools.partial(
            gradients, operations if has_products else PyTorch(), between, self._parts, likelihood
        )

    @property
    def layers(self) -> list[DenseLayer]:
        """In order."""
        return [layer for part in self._parts for layer in part]

    @torch.no_grad()
    def gradients(self, images: Shared, noise: Tensor, beta: Tensor) -> Gradients:
        """Forward and backward; the parameters stay as they are.

        Args:
            images: `[member, batch, pixel]` in [0, 1].
            noise: `[member, batch, latent]`, standard normal.
            beta: `[member, 1, 1]`.
        """
        done: Gradients = self._gradients(Inputs(images, noise, beta))
        return done

    @torch.no_grad()
    def train(self, images: Shared, done: Gradients, rates: Rates) -> None:
        """Train all layers by what `gradients` gave for these images."""
        inputs = [images, *map(Shared, done.inputs)]
        for layer, x, gradient in zip(self.layers, inputs, done.gradients, strict=True):
            self._operations.update(layer, x, gradient, rates, self._adam)

    def check(self, batch: int) -> None:
        """Hold the operations on this device against PyTorch's, for two members with numbers of chance.

        Kernels for all layers are compiled meanwhile, before anything is trained.

        Args:
            batch: images of a step.

        Raises:
            RuntimeError: another result.
        """
        for layer in self.layers:
            differences = {"an update": _update_difference(self._operations, layer, self._adam, batch)}
            if self._has_products:
                differences["a product"] = _product_difference(self._operations, layer, batch)
            for name, difference in differences.items():
                if not difference < _EQUAL:
                    shape = list(layer.weight.shape)
                    raise RuntimeError(f"{name} with weights {shape} is off by {difference:.1e} of itself")


class Inputs(NamedTuple):
    """What a step reads beside the parameters."""

    images: Shared  # [member, batch, pixel] in [0, 1]
    noise: Tensor  # [member, batch, latent], standard normal
    beta: Tensor  # [member, 1, 1]


class Between(NamedTuple):
    """What is done to codes between the products."""

    sample: Callable[[Tensor, Tensor], Tensor]
    code_gradient: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def _gradients(
    operations: Operations,
    between: Between,
    parts: Sequence[Sequence[DenseLayer]],
    likelihood: Likelihood,
    given: Inputs,
) -> Gradients:
    """Forward and backward through the encoder and the decoder."""
    (encoder, decoder), (images, noise, beta) = parts, given
    inputs = _outputs(operations, encoder, images)
    code = inputs.pop()
    z = between.sample(code, noise)
    decoded = [z, *_outputs(operations, decoder[:-1], Shared(z))]
    of_output = operations.output_gradient(decoder[-1], Shared(decoded[-1]), images, likelihood)
    of_z, *of_decoder = _backward(operations, decoder, decoded, of_output)
    of_code = between.code_gradient(code, of_z, noise, beta)
    of_encoder = _backward(operations, encoder[1:], inputs, of_code)
    return Gradients(code, [*inputs, *decoded], [*of_encoder, *of_decoder])


def _outputs(operations: Operations, layers: Sequence[DenseLayer], x: Shared) -> list[Tensor]:
    """What each layer puts out."""
    outputs: list[Tensor] = []
    for layer in layers:
        outputs.append(operations.outputs(layer, x))
        x = Shared(outputs[-1])
    return outputs


def _backward(
    operations: Operations, layers: Sequence[DenseLayer], inputs: Sequence[Tensor], gradient: Tensor
) -> list[Tensor]:
    """The gradients in what each layer reads, before a ReLU, and last the one that was given: of their output."""
    gradients = [gradient]
    for layer, x in zip(reversed(layers), reversed(inputs), strict=True):
        gradients.insert(0, operations.input_gradient(layer, gradients[0], x))
    return gradients


def _layer(
    name: str,
    parameters: dict[str, Tensor],
    moments: dict[str, Moments],
    operations: Sequence[object],
    latent_dim: int,
) -> DenseLayer:
    """The layer of this name, of which the last part is its place among the operations."""
    part, _, place = name.rpartition(".")
    at = int(place)
    weight, bias = (parameters[f"{name}.{kind}"].detach() for kind in ("weight", "bias"))
    return DenseLayer(
        weight,
        bias,
        moments[f"{name}.weight"],
        moments[f"{name}.bias"],
        is_rectified=isinstance(dict(enumerate(operations)).get(at + 1), Relu),
        reads_rectified=isinstance(dict(enumerate(operations)).get(at - 1), Relu),
        is_latent=weight.shape[2] <= 2 * latent_dim if part == "encoder" else weight.shape[1] <= latent_dim,
    )


def product(left: Tensor, right: Tensor, *, is_latent: bool) -> Tensor:
    """`[member, row, inner]` times `[member, inner, column]`, in full precision at the latent code."""
    return full_precision_product(left, right) if is_latent else torch.bmm(left, right)


def sample(code: Tensor, noise: Tensor) -> Tensor:
    """One z an image, `[member, batch, latent]`, for a code `[member, batch, 2 latent]`."""
    return Posterior.from_code(code).sample(noise)


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


def _drawn(layer: DenseLayer, batch: int) -> tuple[DenseLayer, Shared, Tensor, Rates]:
    """A layer of two members like this one, what it reads, gradients of its output and rates: numbers of chance."""
    device = layer.weight.device
    draw = functools.partial(torch.randn, generator=torch.Generator(device).manual_seed(0), device=device)
    _, inputs, outputs = layer.weight.shape
    weight, *of_weight = (draw(2, inputs, outputs).abs() for _ in range(3))
    bias, *of_bias = (draw(2, outputs).abs() for _ in range(3))
    like = dataclasses.replace(
        layer, weight=weight, bias=bias, of_weight=Moments(*of_weight), of_bias=Moments(*of_bias)
    )
    x = Shared(draw(1, batch, inputs), torch.zeros(2, dtype=torch.int64, device=device))
    return like, x, draw(2, batch, outputs), Rates(*(draw(2).abs() for _ in Rates._fields))


def _update_difference(operations: Operations, layer: DenseLayer, adam: Adam, batch: int) -> float:
    """Of weights, biases and moments after an update, relative to how far the reference moves them."""
    before, x, gradient, rates = _drawn(layer, batch)
    expected, actual = (_drawn(layer, batch)[0] for _ in range(2))
    PyTorch().update(expected, x, gradient, rates, adam)
    operations.update(actual, x, gradient, rates, adam)
    return max(
        float((new - right).norm() / (right - old).norm())
        for old, right, new in zip(before.numbers, expected.numbers, actual.numbers, strict=True)
    )


def _product_difference(operations: Operations, layer: DenseLayer, batch: int) -> float:
    """Of what a layer puts out, of the last layer's gradient, and of the gradient in what it reads."""
    like, x, gradient, _ = _drawn(layer, batch)
    read, pixels, bernoulli = x.of_members, Shared(gradient.sigmoid()), likelihood("bernoulli")
    expected, actual = (
        (
            each.outputs(like, x),
            each.output_gradient(like, Shared(read), pixels, bernoulli),
            each.input_gradient(like, gradient, read),
        )
        for each in (PyTorch(), operations)
    )
    return max(float((new - right).norm() / right.norm()) for right, new in zip(expected, actual, strict=True))
