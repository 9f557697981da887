"""A likelihood of one's own: Laplace pixels, for images with outliers."""

import math

import torch
from torch import Tensor

from rdstudy.model.likelihoods import Likelihood


def laplace(*, scale: float = 0.1) -> Likelihood:
    """p(x|z) = exp(-|x - output| / scale) / (2 scale), pixel by pixel."""
    log_normalizer = math.log(2 * scale)

    def simulate(output: Tensor, generator: torch.Generator) -> Tensor:
        u = torch.rand(output.shape, generator=generator, dtype=output.dtype, device=output.device) - 0.5
        return output - scale * u.sign() * torch.log1p(-2 * u.abs())

    return Likelihood(
        distortion=lambda output, x: ((output - x).abs() / scale + log_normalizer).sum(dim=-1),
        mean=lambda output: output,
        floor=lambda x: x.new_full(x.shape[:-1], x.shape[-1] * log_normalizer),
        simulate=simulate,
        gradient=lambda output, x: (output - x).sign() / scale,
    )
