"""The training loop: train to the next point of the trajectory, measure, and so on to the end; checkpoints by time.

A unit is what a device trains at the same time: a pack on a GPU, one member on a CPU. It is the piece that finishes,
is stored and is resumed as a whole.
"""

import contextlib
import functools
import io
import resource
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from rdstudy.packs import GIB, Pack
from rdstudy.study import Resources
from rdstudy.training.course import Course, pack_state, restore
from rdstudy.training.learner import Learner, Measured
from rdstudy.training.measuring import MeasureRows, Measuring, measure_trained
from rdstudy.training.process import training_settings
from rdstudy.training.rows import Final, member_rows, trajectory_rows
from rdstudy.training.sequential import SequentialLearner
from rdstudy.training.stacked import StackedLearner
from rdstudy.training.subsets import Subsets

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
    measured: MeasureRows
    weights: dict[str, bytes]  # member id -> its weights, where they are to be kept


def units_of(pack: Pack, device: torch.device) -> tuple[Pack, ...]:
    """The units in which a pack is trained: all of it at once on a GPU, its members one by one on a CPU."""
    return (pack,) if device.type == "cuda" else tuple(Pack((member,)) for member in pack.members)


def trajectory_steps(steps: int, points: int) -> tuple[int, ...]:
    """At most `points` distinct steps from 1 to `steps`, the last one among them.

    A multiple of four of them, half where there are many, are evenly spaced, so that the last quarter has points of its
    own; the others in log(step). Fewer than eight are all spaced in log(step).
    """
    even = 4 * (points // 8)
    rising = np.geomspace(1, steps, points - even + bool(even)) if points > 1 else [steps]
    return tuple(int(step) for step in np.unique(np.rint([*rising, *np.linspace(0, steps, even + 1)[1:]])) if step)


def train_unit(
    unit: Pack,
    subsets: Subsets,
    *,
    device: torch.device,
    checkpoint: CheckpointSlot,
    resources: Resources,
    measuring: Measuring | None = None,
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
        resources: time between two checkpoints, memory of measurements, whether weights are kept.
        measuring: what is measured after training beyond rate and distortion; None for nothing.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    make = functools.partial(_make_learner, unit, subsets, device, resources.evaluation_memory_gib * GIB)
    learner, course = restore(unit.pack_id, make, checkpoint.load())
    saved = time.monotonic()
    recipe, evaluation = unit.members[0].recipe, unit.members[0].evaluation
    points = trajectory_steps(recipe.steps, evaluation.trajectory_points)
    try:
        for _ in _advance(learner, course, subsets, points):
            if time.monotonic() - saved >= resources.checkpoint_seconds:
                checkpoint.save(pack_state(learner, course))
                saved = time.monotonic()
            yield Progress(course.step, recipe.steps)
        final = _measure_final(learner, course, subsets)
        measured = MeasureRows()
        if measuring:
            for _ in _measure_members(learner, subsets, measuring, device=device, resources=resources, rows=measured):
                yield Progress(course.step, recipe.steps)
    except GeneratorExit:
        checkpoint.save(pack_state(learner, course))
        raise
    rows = member_rows(learner, course, subsets, final, peak_memory_bytes=peak_memory_bytes(device))
    weights = _weights(learner) if resources.keep_weights else {}
    yield Finished(rows, trajectory_rows(learner, course, subsets), measured, weights)
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


def _advance(learner: Learner, course: Course, subsets: Subsets, points: tuple[int, ...]) -> Iterator[None]:
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
def _at_work(course: Course) -> Iterator[None]:
    """Arithmetic for a unit: with the settings of training, on the unit's clock."""
    started = time.perf_counter()
    with training_settings():
        yield
    course.wall_seconds += time.perf_counter() - started


def _any_finite(learner: Learner) -> bool:
    return any(step is None for step in learner.nonfinite_steps)


def _betas(learner: Learner) -> tuple[float, ...]:
    return tuple(member.beta for member in learner.members)


def _measure_trajectory(learner: Learner, course: Course, subsets: Subsets) -> None:
    """Measure all subsets, and keep the weights of those members that are the best so far on the validation subset."""
    with _at_work(course):
        for subset, sample in subsets.trajectory.items():
            values = learner.measure(sample.blocks(), purpose=f"trajectory {subset} {course.step}")
            course.trajectory.append((course.step, subset, values))
        stop_steps = course.stop_steps(_betas(learner))
        if stop_steps is not None:
            learner.keep([step == course.step for step in stop_steps])


def _measure_final(learner: Learner, course: Course, subsets: Subsets) -> Final:
    if not _any_finite(learner):
        return Final({}, {}, None)

    def measure(*, kept: bool) -> dict[str, Measured]:
        return {
            subset: learner.measure(sample.blocks(), purpose=f"final {subset}", kept=kept)
            for subset, sample in subsets.final.items()
        }

    with _at_work(course):
        stop_steps = course.stop_steps(_betas(learner))
        last = measure(kept=False)
        if stop_steps is None:
            return Final(last, {}, None)
        stopped_early = any(step != course.step for step in stop_steps)
        return Final(last, measure(kept=True) if stopped_early else last, stop_steps)


def _measure_members(
    learner: Learner,
    subsets: Subsets,
    measuring: Measuring,
    *,
    device: torch.device,
    resources: Resources,
    rows: MeasureRows,
) -> Iterator[None]:
    """Measure the members that are finite, one after the other; a sign of life after each piece."""
    for at, member in enumerate(learner.members):
        if learner.nonfinite_steps[at] is None:
            weights = learner.weights(at)
            yield from measure_trained(
                weights, member, subsets, measuring, device=device, resources=resources, rows=rows
            )


def _weights(learner: Learner) -> dict[str, bytes]:
    """The weights of each member that is finite, as bytes that are read without running any code of them."""
    kept = {}
    for at, member in enumerate(learner.members):
        if learner.nonfinite_steps[at] is None:
            buffer = io.BytesIO()
            torch.save({name: value.cpu().clone() for name, value in learner.weights(at).items()}, buffer)
            kept[member.member_id] = buffer.getvalue()
    return kept
