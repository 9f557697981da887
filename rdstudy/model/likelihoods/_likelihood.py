"""What training and measures ask of a likelihood."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Likelihood:
    """What training and measures ask of p(x|z). Functions of a decoder's output `[..., pixel]`; all in nats.

    Attributes:
        distortion: (output, x `[..., pixel]`) -> -log p(x|z) `[...]`, a normalized density or probability of x.
        mean: output -> E[x|z] `[..., pixel]`, in pixel values.
        floor: x -> the least distortion that any output gives, `[...]`.
        simulate: (output, generator) -> x ~ p(x|z), `[..., pixel]`.
        gradient: (output, x) -> the derivative of the distortion in the output; None where PyTorch is to find it.
        parameters: numbers, the same for all images, that stand behind the pixels in the output and are trained:
            such as the logarithm of a standard deviation.
    """

    distortion: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor], Tensor]
    floor: Callable[[Tensor], Tensor]
    simulate: Callable[[Tensor, torch.Generator], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor] | None = None
    parameters: int = 0

    def derivative(self, output: Tensor, x: Tensor) -> Tensor:
        """The derivative of the distortion in the output, `[..., pixel]`: a new tensor."""
        if self.gradient is not None:
            return self.gradient(output, x)
        slope: Tensor = torch.func.grad(lambda at: self.distortion(at, x).sum())(output)
        return slope
