"""Optimizers of PyTorch, one file each, over groups of parameters with a learning rate and a weight decay of their own.

An optimizer is called as `adam(groups, capturable=...)`: `groups` are PyTorch's, with `params`, `lr` and
`weight_decay`; `capturable` says whether its steps will be captured in a CUDA graph.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from rdstudy.study import Recipe, parts


def make_optimizer(recipe: Recipe, groups: Sequence[Mapping[str, Any]], *, capturable: bool = False) -> Optimizer:
    """The optimizer that a recipe names."""
    make = parts.load("optimizer", recipe.optimizer)
    optimizer: Optimizer = make([dict(group) for group in groups], capturable=capturable)
    return optimizer
