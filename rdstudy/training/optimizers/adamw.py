"""AdamW: Adam with a weight decay that the gradient's scale does not touch (Loshchilov and Hutter 2019)."""

from typing import Any

import torch
from torch.optim import Optimizer


def adamw(groups: list[dict[str, Any]], capturable: bool) -> Optimizer:
    """PyTorch's, fused."""
    return torch.optim.AdamW(groups, fused=True, capturable=capturable)
