"""Adam (Kingma and Ba 2015), the paper's; weight decay, where there is one, is added to the gradient."""

from typing import Any

import torch
from torch.optim import Optimizer


def adam(groups: list[dict[str, Any]], capturable: bool) -> Optimizer:
    """PyTorch's, fused: nearly twice as fast as its default at these sizes on a CPU."""
    return torch.optim.Adam(groups, fused=True, capturable=capturable)
