"""The training loop: train to the next point of the trajectory, measure, and so on to the end; checkpoints by time.

A GPU trains all members of a pack at the same time. A CPU trains them one by one, each as a pack of its own. A pack
finishes, is stored and is resumed as a whole.
"""

import contextlib
import functools
import resource
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rdstudy.planning.packs import GIB, Pack
from rdstudy.study import Resources
from rdstudy.training.precision import training_products
from rdstudy.training.process import training_settings
from rdstudy.training.rows import Final, member_rows, trajectory_rows
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.state import TrainingState, restore, write_state
from rdstudy.training.subsets import Subsets
from rdstudy.training.trainer import Measured, Trainer

_SLICE_SECONDS = 0.5  # between two signs of life
_FIRST_SLICE_STEPS = 16
_CHECKPOINT_SHARE = 0.02  # of a pack's time, that its checkpoints take at most


class CheckpointSlot(Protocol):
    """Where a pack keeps its state: `rdstudy.results.checkpoints.Checkpoints`, or a test's dictionary."""

    def load(self) -> bytes | None:
        """What was saved last, or None."""

    def save(self, write: Callable[[Any], object]) -> None:
        """Keep what this writes to a file, in place of what was saved before."""

    def clear(self) -> None:
        """Forget what was saved."""


@dataclass(frozen=True)
class Progress:
    """A sign of life."""

    steps: int  # training steps taken by the pack so far
    total_steps: int
    latest: Mapping[str, Measured] = field(default_factory=dict)  # subset -> values at the last point of the trajectory


@dataclass(frozen=True)
class Finished:
    """The rows of a pack, for `Rows.write_run`, without provenance."""

    members: list[dict[str, Any]]
    trajectories: list[dict[str, Any]]
    weights: Mapping[str, Mapping[str, Tensor]]  # member id -> its weights, on the device; of members that are finite


def packs_on(pack: Pack, device: torch.device) -> tuple[Pack, ...]:
    """The packs that a device trains at once: all of it on a GPU, its members one by one on a CPU."""
    return (pack,) if device.type == "cuda" else tuple(Pack((member,)) for member in pack.members)


def trajectory_steps(steps: int, points: int) -> tuple[int, ...]:
    """At most `points` distinct steps from 1 to `steps`, the last one among them.

    A multiple of four of them, half where there are many, are evenly spaced, so that the last quarter has points of its
    own; the others in log(step). Fewer than eight are all spaced in log(step).
    """
    even = 4 * (points // 8)
    rising = np.geomspace(1, steps, points - even + bool(even)) if points > 1 else [steps]
    return tuple(int(step) for step in np.unique(np.rint([*rising, *np.linspace(0, steps, even + 1)[1:]])) if step)


def train_pack(
    pack: Pack,
    subsets: Subsets,
    *,
    device: torch.device,
    checkpoint: CheckpointSlot,
    resources: Resources,
) -> Generator[Progress | Finished, None, None]:
    """Train a pack, from its checkpoint if it has one.

    Yields `Progress` about twice a second, then `Finished` once. The consumer measures what else it wants of the
    weights, and stores all rows, before it asks for the next event: only then is the checkpoint deleted. When the
    generator is closed earlier, it saves one.
    Arithmetic is done in one thread: the bits of a matrix product depend on the number of threads.

    Args:
        pack: members that are trained at the same time.
        subsets: the images that they read.
        device: where they train.
        checkpoint: where their state is kept.
        resources: time between two checkpoints, and memory of measurements.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    make = functools.partial(_make_trainer, pack, subsets, device, resources.evaluation_memory_gib * GIB)
    trainer, state = restore(pack.pack_id, make, checkpoint.load())
    saved, cost = time.monotonic(), 0.0
    recipe, evaluation = pack.members[0].recipe, pack.members[0].evaluation
    points = trajectory_steps(recipe.steps, evaluation.trajectory_points)
    try:
        for _ in _advance(trainer, state, subsets, points):
            if time.monotonic() - saved >= _checkpoint_interval(resources, cost):
                started = time.monotonic()
                checkpoint.save(functools.partial(write_state, trainer, state))
                saved = time.monotonic()
                cost = saved - started
            yield Progress(state.step, recipe.steps, _latest(state, subsets))
        final = _measure_final(trainer, state, subsets)
        rows = member_rows(trainer, state, subsets, final, peak_memory_bytes=peak_memory_bytes(device))
        yield Finished(rows, trajectory_rows(trainer, state, subsets), _weights(trainer))
    except GeneratorExit:
        checkpoint.save(functools.partial(write_state, trainer, state))
        raise
    finally:
        trainer.close()
    checkpoint.clear()


def _checkpoint_interval(resources: Resources, cost: float) -> float:
    """Seconds from one checkpoint to the next: as the study says, or longer, so that they take 2 % of the time at most.

    0 seconds mean a checkpoint at each sign of life, whatever it costs: `cost` is what the last one took.
    """
    wanted = resources.checkpoint_seconds
    return max(wanted, cost * (1 / _CHECKPOINT_SHARE - 1)) if wanted else 0.0


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that was held, bytes: on a GPU by tensors since the pack was begun, on a CPU by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _make_trainer(pack: Pack, subsets: Subsets, device: torch.device, evaluation_bytes: float) -> Trainer:
    if len(pack.members) > 1:
        return StackedTrainer(
            pack.members,
            subsets.train,
            image_shape=subsets.image_shape,
            device=device,
            evaluation_bytes=evaluation_bytes,
        )
    return SequentialTrainer(pack.members[0], subsets.train, image_shape=subsets.image_shape, device=device)


def _advance(trainer: Trainer, state: TrainingState, subsets: Subsets, points: tuple[int, ...]) -> Iterator[None]:
    """Train to each point of the trajectory in slices of about half a second, and measure there."""
    slice_steps, precision = _FIRST_SLICE_STEPS, trainer.members[0].recipe.precision
    measured = {step for step, _, _ in state.trajectory}
    for point in points:
        while state.step < point and _any_finite(trainer):
            before = state.wall_seconds
            steps = min(slice_steps, point - state.step)
            with _at_work(trainer, state), training_products(precision, trainer.device) as state.product_precision:
                trainer.advance(state.step, steps)
            state.step += steps
            seconds = state.wall_seconds - before
            slice_steps = max(1, min(4 * slice_steps, int(steps * _SLICE_SECONDS / max(seconds, 1e-6))))
            yield
        if not _any_finite(trainer):
            return
        if point not in measured and state.step == point:
            _measure_trajectory(trainer, state, subsets)
            yield


@contextlib.contextmanager
def _at_work(trainer: Trainer, state: TrainingState) -> Iterator[None]:
    """Arithmetic for a pack: with the settings of training, on the pack's clock.

    A GPU is only given work: the clock stops when the work is done.
    """
    started = time.perf_counter()
    with training_settings():
        yield
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)
    state.wall_seconds += time.perf_counter() - started


def _any_finite(trainer: Trainer) -> bool:
    return any(step is None for step in trainer.nonfinite_steps)


def _betas(trainer: Trainer) -> tuple[float, ...]:
    return tuple(member.beta for member in trainer.members)


def _measure_trajectory(trainer: Trainer, state: TrainingState, subsets: Subsets) -> None:
    """Measure all subsets, and keep the weights of those members that are the best so far on the validation subset."""
    with _at_work(trainer, state):
        for subset, sample in subsets.trajectory.items():
            values = trainer.measure(sample.blocks(), purpose=f"trajectory {subset} {state.step}")
            state.trajectory.append((state.step, subset, values))
        stop_steps = state.stop_steps(_betas(trainer))
        if stop_steps is not None:
            trainer.keep([step == state.step for step in stop_steps])


def _latest(state: TrainingState, subsets: Subsets) -> dict[str, Measured]:
    """Per subset, what was measured last."""
    return {subset: values for _, subset, values in state.trajectory[-len(subsets.trajectory) :]}


def _measure_final(trainer: Trainer, state: TrainingState, subsets: Subsets) -> Final:
    if not _any_finite(trainer):
        return Final({}, {}, None)

    def measure(*, kept: bool) -> dict[str, Measured]:
        return {
            subset: trainer.measure(sample.blocks(), purpose=f"final {subset}", kept=kept)
            for subset, sample in subsets.final.items()
        }

    with _at_work(trainer, state):
        stop_steps = state.stop_steps(_betas(trainer))
        last = measure(kept=False)
        if stop_steps is None:
            return Final(last, {}, None)
        stopped_early = any(step != state.step for step in stop_steps)
        return Final(last, measure(kept=True) if stopped_early else last, stop_steps)


def _weights(trainer: Trainer) -> dict[str, Mapping[str, Tensor]]:
    """The weights of each member that is finite."""
    finite = [at for at, step in enumerate(trainer.nonfinite_steps) if step is None]
    return {trainer.members[at].member_id: trainer.weights(at) for at in finite}
