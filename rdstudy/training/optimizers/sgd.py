"""Stochastic gradient descent with momentum."""

from typing import Any

import torch
from torch.optim import Optimizer


def sgd(groups: list[dict[str, Any]], capturable: bool, *, momentum: float = 0.9) -> Optimizer:  # noqa: ARG001
    """PyTorch's, fused; none of its state is read by the host, so that a graph can hold it.

    Args:
        groups: of parameters.
        capturable: whether its step will be captured.
        momentum: of the velocity, v = momentum v + gradient.
    """
    return torch.optim.SGD(groups, momentum=momentum, fused=True)
