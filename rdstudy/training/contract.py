"""Whether all of a member's own parts keep to what is asked of them: those of its networks, and those of training."""

import dataclasses
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from rdstudy.model.contract import IMAGES, alike, broken, check_network, check_tensor, guarded
from rdstudy.model.description import NetworkShape
from rdstudy.model.objective import ForwardPass
from rdstudy.study import Recipe, parts
from rdstudy.study.member import Cell
from rdstudy.training.objectives import Terms, objective
from rdstudy.training.optimizers import make_optimizer
from rdstudy.training.schedules import schedule

_MEMBERS = 3
_PIXELS, _LATENT, _TRAINING_IMAGES = 7, 2, 11  # of what an objective is called with
_STEPS_SEEN = 101  # of a schedule, spread over the training
_STEPS = 3  # of an optimizer


def check_own_parts(cell: Cell, image_shape: tuple[int, int, int]) -> None:
    """Hold the user's own parts that a cell names against their contracts; each combination once in a process.

    Raises:
        ValueError: one of them breaks a rule.
    """
    check_network(NetworkShape.of(cell, image_shape))
    recipe = cell.recipe
    if parts.is_own(cell.objective):
        _check_objective(cell.objective, recipe.steps)
    if parts.is_own(recipe.schedule):
        _check_schedule(recipe.schedule, recipe.steps)
    if parts.is_own(recipe.optimizer):
        _check_optimizer(recipe.optimizer)


# --- objectives -------------------------------------------------------------------------------------------------------


@functools.cache
def _check_objective(level: str, steps: int) -> None:
    with guarded("objective", level):
        made = objective(level)
        images = max(IMAGES, parts.constant("objective", level, "LEAST_BATCH", default=1))
        terms = _terms(images, steps)
        for name, of_terms in (("loss", made.loss), ("removed", made.removed and _on_outputs(made.removed))):
            if of_terms is None:
                continue
            together = check_tensor(name, of_terms(terms), (_MEMBERS, images))
            if not together.requires_grad:
                raise broken(f"{name} cannot be differentiated in the networks", "a function of its terms")
            for at in range(_MEMBERS):
                alone = check_tensor(f"{name} of one member", of_terms(_of_member(terms, at)), (images,))
                if not alike(together[at], alone):
                    raise broken(f"{name} lets a member depend on another", "sums over the last axis alone")
        if made.scale is not None:
            for step in _steps_seen(steps):
                _check_factor("scale", made.scale(step, steps), step)


def _terms(images: int, steps: int) -> Terms:
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int) -> Tensor:
        return torch.rand(_MEMBERS, images, *shape, generator=generator).requires_grad_()

    return Terms(
        distortion=draw(),
        rate=draw(),
        z=draw(_LATENT),
        code=draw(2 * _LATENT),
        x=draw(_PIXELS).detach(),
        beta=torch.ones(_MEMBERS, 1),
        step=torch.tensor(0),
        steps=steps,
        images=_TRAINING_IMAGES,
    )


def _of_member(terms: Terms, at: int) -> Terms:
    of_members = {name: getattr(terms, name)[at] for name in ("distortion", "rate", "z", "code", "x", "beta")}
    return dataclasses.replace(terms, **of_members)


def _on_outputs(removed: Callable[[ForwardPass, int], Tensor]) -> Callable[[Terms], Tensor]:
    return lambda terms: removed(ForwardPass(terms.code, terms.z, terms.x), terms.images)


# --- schedules --------------------------------------------------------------------------------------------------------


@functools.cache
def _check_schedule(level: str, steps: int) -> None:
    with guarded("schedule", level):
        factor = schedule(level)
        for step in _steps_seen(steps):
            _check_factor("factor", factor(step, steps), step)


def _steps_seen(steps: int) -> list[int]:
    return sorted({at * (steps - 1) // (_STEPS_SEEN - 1) for at in range(_STEPS_SEEN)})


def _check_factor(what: str, value: object, step: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise broken(f"{what} at step {step} is {value!r}", "a finite number, 0 or more")


# --- optimizers -------------------------------------------------------------------------------------------------------


@functools.cache
def _check_optimizer(level: str) -> None:
    with guarded("optimizer", level):
        generator = torch.Generator().manual_seed(7)
        start = torch.randn(_MEMBERS, 5, 2, generator=generator)
        slopes = [torch.randn(_MEMBERS, 5, 2, generator=generator) for _ in range(_STEPS)]
        together = _optimized(level, start, slopes)
        check_tensor("a parameter after a few steps", together, tuple(start.shape))
        for at in range(_MEMBERS):
            if not alike(_optimized(level, start[at], [slope[at] for slope in slopes]), together[at]):
                raise broken("a member is moved by the gradients of another", "steps that see each number by itself")


def _optimized(level: str, start: Tensor, slopes: list[Tensor]) -> Tensor:
    """A parameter after some steps by given gradients."""
    parameter = start.clone().requires_grad_()
    optimizer = make_optimizer(Recipe(optimizer=level), [{"params": [parameter], "lr": 1e-3, "weight_decay": 0.0}])
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise broken(f"it makes a {type(optimizer).__name__}", "a torch.optim.Optimizer")
    for slope in slopes:
        parameter.grad = slope.clone()
        optimizer.step()
    return parameter.detach()
