"""What a pack measured -> rows of the tables `members` and `trajectories`, without provenance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rdstudy.study import Member
from rdstudy.study.factors import SETTINGS
from rdstudy.training.state import TrainingState
from rdstudy.training.subsets import Subsets
from rdstudy.training.trainer import Measured, Trainer


@dataclass(frozen=True)
class Final:
    """Values after training, per subset; empty where no member is finite."""

    last: dict[str, Measured]  # of the last weights
    stopped: dict[str, Measured]  # of the weights of early stopping; empty without a validation subset
    stop_steps: list[int] | None  # per member


def member_rows(
    trainer: Trainer, state: TrainingState, subsets: Subsets, final: Final, *, peak_memory_bytes: int
) -> list[dict[str, Any]]:
    """One row for each member and subset."""
    rows = []
    for at, member in enumerate(trainer.members):
        common = {
            **settings_columns(member),
            "parameters": trainer.parameter_count,
            "wall_seconds": state.wall_seconds / len(trainer.members),
            "peak_memory_bytes": peak_memory_bytes,
            "step_mode": trainer.step_mode,
            "product_precision": state.product_precision,
        }
        for subset, sample in subsets.final.items():
            values = _values(final.last[subset], at) if final.last else {}
            outcome = _outcome(trainer.nonfinite_steps[at], values, state.step)
            stopped = _stopped(final, subset, at) if outcome["outcome"] == "ok" else {}
            images = {"images": len(sample), "subset_images": sample.subset_images, "distortion_floor": sample.floor}
            rows.append(common | {"subset": subset} | images | outcome | stopped)
    return rows


def trajectory_rows(trainer: Trainer, state: TrainingState, subsets: Subsets) -> list[dict[str, Any]]:
    """One row for each member, subset and step at which its values were finite."""
    rows = []
    for at, member in enumerate(trainer.members):
        for step, subset, measured in state.trajectory:
            sample = subsets.trajectory[subset]
            where = {"member_id": member.member_id, "subset": subset, "step": step}
            images = {"images": len(sample), "distortion_floor": sample.floor}
            values = _values(measured, at)
            if np.isfinite(list(values.values())).all():
                rows.append(where | images | values)
    return rows


def settings_columns(member: Member) -> dict[str, Any]:
    """A member's id and settings as columns of the `members` table."""
    return {"member_id": member.member_id, **{setting.name: member.level(setting.name) for setting in SETTINGS}}


def _outcome(nonfinite_step: int | None, values: dict[str, float], last_step: int) -> dict[str, Any]:
    """Outcome and values of a row; values that are not finite are never stored as numbers."""
    if nonfinite_step is not None:
        reason = f"not finite at step {nonfinite_step}"
        return {"outcome": "nonfinite", "nonfinite_step": nonfinite_step, "reason": reason}
    if not np.isfinite(list(values.values())).all():
        reason = "not finite when measured at the end"
        return {"outcome": "nonfinite", "nonfinite_step": last_step, "reason": reason}
    return {"outcome": "ok", **values}


def _stopped(final: Final, subset: str, at: int) -> dict[str, Any]:
    if final.stop_steps is None:
        return {}
    values = _values(final.stopped[subset], at)
    return {
        "stop_step": final.stop_steps[at],
        "stop_distortion": values["distortion"],
        "stop_rate": values["rate"],
    }


def _values(measured: Measured, at: int) -> dict[str, float]:
    distortion, rate = measured.distortion[at], measured.rate[at]
    return {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}
