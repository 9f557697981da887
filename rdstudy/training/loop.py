"""The training loop: train to the next point of the trajectory, measure, and so on to the end; checkpoints by time.

A unit is what a device trains at the same time: one member on the sequential path. It is the piece that finishes, is
stored and is resumed as a whole.
"""

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from rdstudy.packs import Pack
from rdstudy.study import Member
from rdstudy.training.learner import Learner, Measured
from rdstudy.training.sequential import SequentialLearner
from rdstudy.training.subsets import SUBSETS, Subsets

_SLICE_SECONDS = 0.5  # between two signs of life
_FIRST_SLICE_STEPS = 16


class CheckpointSlot(Protocol):
    """Where a unit keeps its state: `rdstudy.results.checkpoints.Checkpoints`, or a test's dictionary."""

    def load(self) -> bytes | None: ...
    def save(self, body: bytes) -> None: ...
    def clear(self) -> None: ...


@dataclass(frozen=True)
class Progress:
    """A sign of life."""

    steps: int  # training steps taken by the unit so far
    total_steps: int


@dataclass(frozen=True)
class Finished:
    """The rows of a unit, for `Store.write_run`, without provenance."""

    members: list[dict[str, Any]]
    trajectories: list[dict[str, Any]]


@dataclass
class _Course:
    """How far a unit has come, apart from the learner's own state."""

    step: int = 0
    wall_seconds: float = 0.0
    trajectory: list[tuple[int, str, Measured]] = field(default_factory=list)


def units_of(pack: Pack) -> tuple[Pack, ...]:
    """The units in which a pack is trained: on the sequential path, its members one by one."""
    return tuple(Pack((member,)) for member in pack.members)


def trajectory_steps(steps: int, points: int) -> tuple[int, ...]:
    """At most `points` distinct steps from 1 to `steps`, evenly spaced in log(step), the last one among them."""
    return tuple(int(step) for step in np.unique(np.rint(np.geomspace(1, steps, points) if points > 1 else [steps])))


def train_unit(
    unit: Pack,
    subsets: Subsets,
    *,
    device: torch.device,
    checkpoint: CheckpointSlot,
    checkpoint_seconds: float,
) -> Iterator[Progress | Finished]:
    """Train and measure a unit, from its checkpoint if it has one.

    Yields `Progress` about twice a second, then `Finished` once. The consumer stores those rows before it asks for
    the next event: only then is the checkpoint deleted. When the generator is closed early, it saves one.
    """
    learner = _make_learner(unit, subsets, device)
    course = _Course()
    _resume(learner, course, checkpoint.load())
    saved = time.monotonic()
    recipe, evaluation = unit.members[0].recipe, unit.members[0].evaluation
    points = trajectory_steps(recipe.steps, evaluation.trajectory_points)
    try:
        for _ in _advance(learner, course, subsets, points):
            if time.monotonic() - saved >= checkpoint_seconds:
                checkpoint.save(_pack_state(learner, course))
                saved = time.monotonic()
            yield Progress(course.step, recipe.steps)
    except GeneratorExit:
        checkpoint.save(_pack_state(learner, course))
        raise
    yield _finish(learner, course, subsets)
    checkpoint.clear()


def _make_learner(unit: Pack, subsets: Subsets, device: torch.device) -> Learner:
    (member,) = unit.members
    return SequentialLearner(member, subsets.train, image_shape=subsets.image_shape, device=device)


def _advance(learner: Learner, course: _Course, subsets: Subsets, points: tuple[int, ...]) -> Iterator[None]:
    """Train to each point of the trajectory in slices of about half a second, and measure there."""
    slice_steps = _FIRST_SLICE_STEPS
    measured = {step for step, _, _ in course.trajectory}
    for point in points:
        while course.step < point and _any_finite(learner):
            started = time.perf_counter()
            steps = min(slice_steps, point - course.step)
            learner.advance(course.step, steps)
            course.step += steps
            seconds = time.perf_counter() - started
            course.wall_seconds += seconds
            slice_steps = max(1, min(4 * slice_steps, int(steps * _SLICE_SECONDS / max(seconds, 1e-6))))
            yield
        if not _any_finite(learner):
            return
        if point not in measured and course.step == point:
            _measure_trajectory(learner, course, subsets)
            yield


def _any_finite(learner: Learner) -> bool:
    return any(step is None for step in learner.nonfinite_steps)


def _measure_trajectory(learner: Learner, course: _Course, subsets: Subsets) -> None:
    started = time.perf_counter()
    for subset in SUBSETS:
        values = learner.measure(subsets.trajectory[subset].blocks(), purpose=f"trajectory {subset} {course.step}")
        course.trajectory.append((course.step, subset, values))
    course.wall_seconds += time.perf_counter() - started


def _finish(learner: Learner, course: _Course, subsets: Subsets) -> Finished:
    started = time.perf_counter()
    final = {}
    if _any_finite(learner):
        final = {name: learner.measure(subsets.final[name].blocks(), purpose=f"final {name}") for name in SUBSETS}
    course.wall_seconds += time.perf_counter() - started
    members = [_member_row(learner, course, subsets, final, at, name) for at in _members(learner) for name in SUBSETS]
    return Finished(members, [row for at in _members(learner) for row in _trajectory_rows(learner, course, subsets, at)])


def _members(learner: Learner) -> range:
    return range(len(learner.members))


def _member_row(
    learner: Learner, course: _Course, subsets: Subsets, final: dict[str, Measured], at: int, subset: str
) -> dict[str, Any]:
    bad_step = learner.nonfinite_steps[at]
    sample = subsets.final[subset]
    row = {
        **settings_columns(learner.members[at]),
        "subset": subset,
        "outcome": "ok",
        "images": len(sample),
        "subset_images": sample.subset_images,
        "parameters": learner.parameter_count,
        "wall_seconds": course.wall_seconds / len(learner.members),
        "distortion_floor": sample.floor,
    }
    values = _values(final[subset], at) if bad_step is None else {}
    if bad_step is not None:
        row |= {"outcome": "nonfinite", "nonfinite_step": bad_step, "reason": f"not finite at step {bad_step}"}
    elif not np.isfinite(list(values.values())).all():
        row |= {"outcome": "nonfinite", "nonfinite_step": course.step, "reason": "not finite when measured at the end"}
        values = {}
    return row | values


def _trajectory_rows(learner: Learner, course: _Course, subsets: Subsets, at: int) -> Iterator[dict[str, Any]]:
    member_id = learner.members[at].member_id
    for step, subset, measured in course.trajectory:
        where = {"member_id": member_id, "subset": subset, "step": step, "images": len(subsets.trajectory[subset])}
        yield where | _values(measured, at)


def _values(measured: Measured, at: int) -> dict[str, float]:
    distortion, rate = measured.distortion[at], measured.rate[at]
    return {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate)}


def settings_columns(member: Member) -> dict[str, Any]:
    """A member's id and settings as columns of the `members` table."""
    settings = member.to_dict()
    recipe = settings.pop("recipe")
    del settings["evaluation"]  # its numbers of images stand in the rows
    return {"member_id": member.member_id, **settings, **recipe}


def _pack_state(learner: Learner, course: _Course) -> bytes:
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


def _resume(learner: Learner, course: _Course, body: bytes | None) -> None:
    if body is None:
        return
    state = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    learner.load_state(state["learner"])
    course.step, course.wall_seconds = state["step"], state["wall_seconds"]
    course.trajectory = [(step, subset, Measured(tuple(d), tuple(r))) for step, subset, d, r in state["trajectory"]]
