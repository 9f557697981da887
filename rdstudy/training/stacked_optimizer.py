"""An optimizer over stacked parameters `[member, ...]`, with a learning rate and a weight decay for each member.

PyTorch's optimizers have one of each for a group of tensors: members of equal ones that stand side by side are a group,
whose tensors are slices of the stacked ones. No arithmetic is added, and members of one learning rate are one group.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from rdstudy.study import Member
from rdstudy.training.dense_step import Adam, Moments, Rates
from rdstudy.training.optimizers import make_optimizer
from rdstudy.training.schedules import schedule


class StackedOptimizer:
    """Trains parameters `[member, ...]` of members that differ in numbers that enter a step as tensors alone."""

    def __init__(self, members: Sequence[Member], parameters: Sequence[Tensor]) -> None:
        recipe = members[0].recipe
        self._parameters = parameters
        pairs = [(member.recipe.learning_rate, member.recipe.weight_decay) for member in members]
        self._slices = side_by_side(pairs)
        self._decays = torch.tensor([decay for _, decay in pairs], device=parameters[0].device)
        self._steps = torch.empty(0)  # of each view, where the moments are arrays
        alone = len(self._slices) == 1
        sizes = torch.tensor([group.stop - group.start for group in self._slices], device=parameters[0].device)
        self._group_of_member = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
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
        self._schedule(step)
        if len(self._slices) > 1:
            for views, members in zip(self._views, self._slices, strict=True):
                for view, stacked in zip(views, self._parameters, strict=True):
                    view.grad = None if stacked.grad is None else stacked.grad[members]
        self._optimizer.step()
        self.zero_grad()

    def _schedule(self, step: Tensor) -> None:
        """Set the learning rates of a step."""
        if self._is_scheduled:
            for rate, scheduled in zip(self._rates, self._scheduled, strict=True):
                rate.copy_(scheduled.index_select(0, step.view(1))[0])

    @property
    def adam(self) -> Adam:
        """The numbers of Adam, or AdamW, that all members have in common."""
        group = self._optimizer.param_groups[0]
        beta_mean, beta_square = group["betas"]
        return Adam(beta_mean, beta_square, group["eps"], is_decoupled=isinstance(self._optimizer, torch.optim.AdamW))

    def moments(self) -> list[Moments]:
        """Adam's moments as arrays `[member, ...]`, one pair a parameter, for steps that are not taken here.

        PyTorch's own state are views of them from now on, so that steps may be taken either way, and `state` says all.
        """
        moments = [Moments(*(torch.zeros_like(p, requires_grad=False) for _ in range(2))) for p in self._parameters]
        device = self._parameters[0].device
        self._steps = torch.zeros(len(self._slices) * len(self._parameters), dtype=torch.float32, device=device)
        places = itertools.product(zip(self._slices, self._views, strict=True), range(len(self._parameters)))
        for steps, ((members, views), at) in zip(self._steps, places, strict=True):
            state = self._optimizer.state[views[at]]
            of_group = {
                "step": steps,
                **dict(zip(("exp_avg", "exp_avg_sq"), [m[members] for m in moments[at]], strict=True)),
            }
            for name, value in of_group.items():
                if name in state:
                    value.copy_(state[name])
                state[name] = value
        return moments

    def rates(self, step: Tensor, corrected: Callable[..., Rates]) -> Rates:
        """What Adam does to each member at a step, which counts as taken.

        Args:
            step: int64 `[]`, counted from 0, on the parameters' device.
            corrected: `corrected_rates`, or a function compiled from it.
        """
        self._schedule(step)
        rates = corrected(torch.stack(self._rates), self._group_of_member, self._decays, self._steps[0] + 1, self.adam)
        self._steps.add_(1)
        return rates

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


def corrected_rates(rates: Tensor, group_of_member: Tensor, decays: Tensor, steps: Tensor, adam: Adam) -> Rates:
    """Learning rates `[group]` with Adam's corrections for its first steps (Kingma and Ba 2015, section 2).

    Weight decays are `[member]`, `group_of_member` is int64 `[member]`, and `steps` `[]` counts the one to be taken.
    """
    rate = rates.index_select(0, group_of_member).double()
    count = steps.double()
    size = rate / (1 - adam.beta_mean**count)
    root = (1 - adam.beta_square**count).sqrt().expand_as(size)
    decay = rate * decays if adam.is_decoupled else decays
    return Rates(*(each.to(decays.dtype).contiguous() for each in (size, root, decay)))


def side_by_side(values: Sequence[object]) -> list[slice]:
    """Where equal values stand side by side, as slices of what holds them."""
    starts = [at for at, value in enumerate(values) if at == 0 or value != values[at - 1]]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(values)], strict=True)]
