"""How far a unit of training has come: what was measured on the way, and what a checkpoint of it holds."""

import io
import logging
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from rdstudy.training.learner import Learner, Measured

logger = logging.getLogger(__name__)


@dataclass
class Course:
    """How far a unit has come, apart from the learner's own state."""

    step: int = 0
    wall_seconds: float = 0.0
    trajectory: list[tuple[int, str, Measured]] = field(default_factory=list)  # step, subset, values

    def validation_objectives(self, betas: tuple[float, ...]) -> list[tuple[int, list[float]]]:
        """Steps, in order, and D + βR of each member on the validation subset there."""
        return [
            (step, [d + beta * r for d, r, beta in zip(measured.distortion, measured.rate, betas, strict=True)])
            for step, subset, measured in self.trajectory
            if subset == "validation"
        ]

    def stop_steps(self, betas: tuple[float, ...]) -> list[int] | None:
        """Early stopping: per member the step with the least validation objective, the first of equals.

        None where nothing was measured on a validation subset. Values that are not finite are never the least.
        """
        objectives = self.validation_objectives(betas)
        if not objectives:
            return None
        return [
            min(objectives, key=lambda point: float("inf") if math.isnan(point[1][at]) else point[1][at])[0]
            for at in range(len(betas))
        ]


def pack_state(learner: Learner, course: Course) -> bytes:
    """A checkpoint: tensors and plain numbers, readable without running any code of it."""
    trajectory = [(step, subset, list(m.distortion), list(m.rate)) for step, subset, m in course.trajectory]
    state = {
        "learner": learner.state(),
        "step": course.step,
        "wall_seconds": course.wall_seconds,
        "trajectory": trajectory,
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(unit: str, make: Callable[[], Learner], body: bytes | None) -> tuple[Learner, Course]:
    """A learner where its checkpoint left it; a new one where there is none, or one that cannot be used.

    Args:
        unit: its name, for the message.
        make: makes the learner anew.
        body: of `pack_state`.
    """
    learner, course = make(), Course()
    if body is None:
        return learner, course
    try:
        _load_state(learner, course, body)
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        logger.warning("checkpoint of unit %s cannot be used (%s): training from the start", unit, error)
        return make(), Course()
    return learner, course


def _load_state(learner: Learner, course: Course, body: bytes) -> None:
    state = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    learner.load_state(state["learner"])
    course.step, course.wall_seconds = state["step"], state["wall_seconds"]
    course.trajectory = [(step, subset, Measured(tuple(d), tuple(r))) for step, subset, d, r in state["trajectory"]]
