"""How far the training of a pack has come: what was measured on the way, and what a checkpoint of it holds."""

import io
import logging
import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from rdstudy.training.trainer import Measured, Trainer

logger = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """How far a pack has come, apart from the trainer's own state."""

    step: int = 0
    wall_seconds: float = 0.0
    trajectory: list[tuple[int, str, Measured]] = field(default_factory=list)  # step, subset, values
    product_precision: str | None = None  # of the last steps, see `rdstudy.training.precision`

    def stop_steps(self, betas: tuple[float, ...]) -> list[int] | None:
        """Early stopping: per member the step with the least D + βR on the validation subset, the first of equals.

        None where nothing was measured on a validation subset. Values that are not finite are never the least.
        """
        objectives = [
            (step, [d + beta * r for d, r, beta in zip(measured.distortion, measured.rate, betas, strict=True)])
            for step, subset, measured in self.trajectory
            if subset == "validation"
        ]
        if not objectives:
            return None
        return [
            min(objectives, key=lambda point: float("inf") if math.isnan(point[1][at]) else point[1][at])[0]
            for at in range(len(betas))
        ]


def write_state(trainer: Trainer, state: TrainingState, file: Any) -> None:
    """Write a checkpoint: tensors and plain numbers, readable without running any code of it.

    Tensors of a GPU come to the host one by one, as they are written to a file that has `write` and `flush`.
    """
    trajectory = [(step, subset, list(m.distortion), list(m.rate)) for step, subset, m in state.trajectory]
    checkpoint = {
        "trainer": trainer.state(),
        "step": state.step,
        "wall_seconds": state.wall_seconds,
        "trajectory": trajectory,
        "product_precision": state.product_precision,
    }
    torch.save(checkpoint, file)


def restore(pack_id: str, make: Callable[[], Trainer], body: bytes | None) -> tuple[Trainer, TrainingState]:
    """A trainer where its checkpoint, by `write_state`, left it; a new one where there is none that can be used."""
    trainer, state = make(), TrainingState()
    if body is None:
        return trainer, state
    try:
        _load_state(trainer, state, body)
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        logger.warning("checkpoint of pack %s cannot be used (%s): training from the start", pack_id, error)
        return make(), TrainingState()
    return trainer, state


def _load_state(trainer: Trainer, state: TrainingState, body: bytes) -> None:
    checkpoint = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    trainer.load_state(checkpoint["trainer"])
    state.step, state.wall_seconds = checkpoint["step"], checkpoint["wall_seconds"]
    state.product_precision = checkpoint.get("product_precision")
    state.trajectory = [(step, subset, Measured(tuple(d), tuple(r))) for step, subset, d, r in checkpoint["trajectory"]]
