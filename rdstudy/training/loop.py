"""The training loop: train to the next point of the trajectory, measure, and so on to the end; checkpoints by time.

A unit is what a device trains at the same time: a pack on a GPU, one member on a CPU. It is the piece that finishes,
is stored and is resumed as a whole.
"""

import contextlib
import functools
import io
import logging
import pickle
import resource
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from rdstudy.packs import GIB, Pack
from rdstudy.study import Member, Resources
from rdstudy.training.learner import Learner, Measured
from rdstudy.training.process import training_settings
from rdstudy.training.sequential import SequentialLearner
from rdstudy.training.stacked import StackedLearner
from rdstudy.training.subsets import SUBSETS, Sample, Subsets

logger = logging.getLogger(__name__)

_SLICE_SECONDS = 0.5  # between two signs of life
_FIRST_SLICE_STEPS = 16


class CheckpointSlot(Protocol):
    """Where a unit keeps its state: `rdstudy.results.checkpoints.Checkpoints`, or a test's dictionary."""

    def load(self) -> bytes | None:
        """What was saved last, or None."""

    def save(self, body: bytes) -> None:
        """Keep this, in place of what was saved before."""

    def clear(self) -> None:
        """Forget what was saved."""


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


def units_of(pack: Pack, device: torch.device) -> tuple[Pack, ...]:
    """The units in which a pack is trained: all of it at once on a GPU, its members one by one on a CPU."""
    return (pack,) if device.type == "cuda" else tuple(Pack((member,)) for member in pack.members)


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
    evaluation_bytes: float = Resources.evaluation_memory_gib * GIB,
) -> Generator[Progress | Finished, None, None]:
    """Train and measure a unit, from its checkpoint if it has one.

    Yields `Progress` about twice a second, then `Finished` once. The consumer stores those rows before it asks for
    the next event: only then is the checkpoint deleted. When the generator is closed early, it saves one.
    Arithmetic is done in one thread: the bits of a matrix product depend on the number of threads.

    Args:
        unit: members that are trained at the same time.
        subsets: the images that they read.
        device: where they train.
        checkpoint: where their state is kept.
        checkpoint_seconds: time between two checkpoints.
        evaluation_bytes: bound on the memory of a measurement of several members, beside their parameters.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    make = functools.partial(_make_learner, unit, subsets, device, evaluation_bytes)
    learner, course = _restore(unit, make, checkpoint.load())
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
    yield _finish(learner, course, subsets, device)
    checkpoint.clear()


def peak_memory_bytes(device: torch.device) -> int:
    """Most memory held so far, bytes: by tensors since a unit was begun on a GPU, by this process ever on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _make_learner(unit: Pack, subsets: Subsets, device: torch.device, evaluation_bytes: float) -> Learner:
    if len(unit.members) > 1:
        return StackedLearner(
            unit.members,
            subsets.train,
            image_shape=subsets.image_shape,
            device=device,
            evaluation_bytes=evaluation_bytes,
        )
    return SequentialLearner(unit.members[0], subsets.train, image_shape=subsets.image_shape, device=device)


def _advance(learner: Learner, course: _Course, subsets: Subsets, points: tuple[int, ...]) -> Iterator[None]:
    """Train to each point of the trajectory in slices of about half a second, and measure there."""
    slice_steps = _FIRST_SLICE_STEPS
    measured = {step for step, _, _ in course.trajectory}
    for point in points:
        while course.step < point and _any_finite(learner):
            before = course.wall_seconds
            steps = min(slice_steps, point - course.step)
            with _at_work(course):
                learner.advance(course.step, steps)
            course.step += steps
            seconds = course.wall_seconds - before
            slice_steps = max(1, min(4 * slice_steps, int(steps * _SLICE_SECONDS / max(seconds, 1e-6))))
            yield
        if not _any_finite(learner):
            return
        if point not in measured and course.step == point:
            _measure_trajectory(learner, course, subsets)
            yield


@contextlib.contextmanager
def _at_work(course: _Course) -> Iterator[None]:
    """Arithmetic for a unit: with the settings of training, on the unit's clock."""
    started = time.perf_counter()
    with training_settings():
        yield
    course.wall_seconds += time.perf_counter() - started


def _any_finite(learner: Learner) -> bool:
    return any(step is None for step in learner.nonfinite_steps)


def _measure_trajectory(learner: Learner, course: _Course, subsets: Subsets) -> None:
    with _at_work(course):
        for subset in SUBSETS:
            values = learner.measure(subsets.trajectory[subset].blocks(), purpose=f"trajectory {subset} {course.step}")
            course.trajectory.append((course.step, subset, values))


def _finish(learner: Learner, course: _Course, subsets: Subsets, device: torch.device) -> Finished:
    final: dict[str, Measured] = {}
    if _any_finite(learner):
        with _at_work(course):
            final = {name: learner.measure(subsets.final[name].blocks(), purpose=f"final {name}") for name in SUBSETS}
    members, trajectories = [], []
    for at, member in enumerate(learner.members):
        common = {
            **settings_columns(member),
            "parameters": learner.parameter_count,
            "wall_seconds": course.wall_seconds / len(learner.members),
            "peak_memory_bytes": peak_memory_bytes(device),
        }
        nonfinite_step = learner.nonfinite_steps[at]
        for subset, sample in subsets.final.items():
            outcome = _outcome(nonfinite_step, _values(final[subset], at) if subset in final else {}, course.step)
            members.append(common | {"subset": subset} | _sample_columns(sample) | outcome)
        for step, subset, measured in course.trajectory:
            sample = subsets.trajectory[subset]
            where = {"member_id": member.member_id, "subset": subset, "step": step}
            images = {"images": len(sample), "distortion_floor": sample.floor}
            values = _values(measured, at)
            if np.isfinite(list(values.values())).all():
                trajectories.append(where | images | values)
    return Finished(members, trajectories)


def _sample_columns(sample: Sample) -> dict[str, Any]:
    return {"images": len(sample), "subset_images": sample.subset_images, "distortion_floor": sample.floor}


def _outcome(nonfinite_step: int | None, values: dict[str, float], last_step: int) -> dict[str, Any]:
    """Outcome and values of a row; values that are not finite are never stored as numbers."""
    if nonfinite_step is not None:
        reason = f"not finite at step {nonfinite_step}"
        return {"outcome": "nonfinite", "nonfinite_step": nonfinite_step, "reason": reason}
    if not np.isfinite(list(values.values())).all():
        reason = "not finite when measured at the end"
        return {"outcome": "nonfinite", "nonfinite_step": last_step, "reason": reason}
    return {"outcome": "ok", **values}


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


def _restore(unit: Pack, make: Callable[[], Learner], body: bytes | None) -> tuple[Learner, _Course]:
    """A learner where its checkpoint left it; a new one where there is none, or one that cannot be used."""
    learner, course = make(), _Course()
    if body is None:
        return learner, course
    try:
        _load_state(learner, course, body)
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        logger.warning("checkpoint of unit %s cannot be used (%s): training from the start", unit.pack_id, error)
        return make(), _Course()
    return learner, course


def _load_state(learner: Learner, course: _Course, body: bytes) -> None:
    state = torch.load(io.BytesIO(body), weights_only=True, map_location="cpu")
    learner.load_state(state["learner"])
    course.step, course.wall_seconds = state["step"], state["wall_seconds"]
    course.trajectory = [(step, subset, Measured(tuple(d), tuple(r))) for step, subset, d, r in state["trajectory"]]
