"""Stochastic gradient descent with momentum."""

from typing import Any

import torch
from torch.optim import Optimizer


def sgd(groups: list[dict[str, Any]], capturable: bool, *, momentum: float = 0.9) -> Optimizer:  # noqa: ARG001
    """PyTorch's, fused: v = momentum v + gradient. None of its state is read by the host, so that a graph can hold it."""
    return torch.optim.SGD(groups, momentum=momentum, fused=True)
