"""Importance-weighted log p(x) with the encoder's own q(z|x) as proposal: what fitted proposals are held against."""

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import Distortion, ImageDistortion
from rdstudy.measures.importance import LogMarginal, importance_sampled
from rdstudy.model.objective import Network


def log_marginal(
    encode: Network,
    decode: Network,
    x: Tensor,
    *,
    distortion: Distortion,
    samples: int,
    generator: torch.Generator,
    memory_bytes: float,
) -> LogMarginal:
    images = ImageDistortion(decode, distortion, x, memory_bytes)
    return importance_sampled(images, images.posterior(encode), samples=samples, generator=generator)
