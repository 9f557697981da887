"""Stochastic gradient descent with momentum."""

from typing import Any

import torch
from torch.optim import Optimizer


def sgd(groups: list[dict[str, Any]], capturable: bool, *, momentum: float = 0.9) -> Optimizer:  # noqa: ARG001
    """PyTorch's, fused: v = momentum v + gradient. The host reads none of its state, so that a graph can hold it."""
    return torch.optim.SGD(groups, momentum=momentum, fused=True)
