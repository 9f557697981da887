"""An optimizer over stacked parameters `[member, ...]`, with a learning rate and a weight decay for each member.

PyTorch's optimizers have one of each for a group of tensors: members of equal ones that stand side by side are a group,
whose tensors are slices of the stacked ones. No arithmetic is added, and members of one learning rate are one group.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rdstudy.study import Member
from rdstudy.training.optimizers import make_optimizer
from rdstudy.training.schedules import schedule


class StackedOptimizer:
    """Trains the parameters of the members of a pack.

    Args:
        members: which differ in numbers that enter a step as tensors alone.
        parameters: `[member, ...]`, that are trained.
    """

    def __init__(self, members: Sequence[Member], parameters: Sequence[Tensor]) -> None:
        recipe = members[0].recipe
        self._parameters = parameters
        pairs = [(member.recipe.learning_rate, member.recipe.weight_decay) for member in members]
        self._slices = side_by_side(pairs)
        alone = len(self._slices) == 1
        self._views = [
            list(parameters) if alone else [stacked.detach()[group] for stacked in parameters] for group in self._slices
        ]
        on_gpu = parameters[0].device.type == "cuda"
        # CUDA's fused Adam reads a float32; a CPU's reads a double
        number = {"dtype": torch.float32 if on_gpu else torch.float64, "device": parameters[0].device}
        factor = schedule(recipe.schedule)
        self._is_scheduled = recipe.schedule != "constant"
        rates = [pairs[group.start][0] for group in self._slices]
        self._rates = [torch.tensor(rate, **number) for rate in rates]  # type: ignore[arg-type]
        steps = range(recipe.steps) if self._is_scheduled else ()
        self._scheduled = [
            torch.tensor([rate * factor(step, recipe.steps) for step in steps], **number)  # type: ignore[arg-type]
            for rate in rates
        ]
        groups = [
            {"params": views, "lr": tensor if self._is_scheduled else rate, "weight_decay": pairs[group.start][1]}
            for views, tensor, rate, group in zip(self._views, self._rates, rates, self._slices, strict=True)
        ]
        self._optimizer = make_optimizer(recipe, groups, capturable=on_gpu)

    def step(self, step: Tensor) -> None:
        """Take a step by the gradients of the parameters, which are gone afterwards.

        Args:
            step: int64 `[]`, counted from 0, on the parameters' device.
        """
        if self._is_scheduled:
            for rate, scheduled in zip(self._rates, self._scheduled, strict=True):
                rate.copy_(scheduled.index_select(0, step.view(1))[0])
        if len(self._slices) > 1:
            for views, members in zip(self._views, self._slices, strict=True):
                for view, stacked in zip(views, self._parameters, strict=True):
                    view.grad = None if stacked.grad is None else stacked.grad[members]
        self._optimizer.step()
        self.zero_grad()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad()
        if len(self._slices) > 1:  # else the optimizer has done it
            for stacked in self._parameters:
                stacked.grad = None

    def state(self) -> dict[str, Any]:
        """All that training has changed, as tensors and plain numbers."""
        return self._optimizer.state_dict()

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up what `state` gave, into new tensors."""
        self._optimizer.load_state_dict(state)
        if self._is_scheduled:
            for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
                group["lr"] = rate  # which every step fills


def side_by_side(values: Sequence[object]) -> list[slice]:
    """Where equal values stand side by side, as slices of what holds them."""
    starts = [at for at, value in enumerate(values) if at == 0 or value != values[at - 1]]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]
