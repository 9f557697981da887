"""What a study will take, before it is started: seconds of a pack, the time of all of them on some devices, the price.

Pure arithmetic on settings. The assumed speeds are those of a processor core that was measured, and of a GPU by its
data sheet; nothing here has ever been measured on a GPU. Members that are stored correct them: the median of measured
over modelled seconds.
"""

import functools
import math
import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rdstudy.model.description import NetworkShape
from rdstudy.planning.cards import Card
from rdstudy.planning.kernels import step_kernels, step_seconds
from rdstudy.planning.limits import check_limits
from rdstudy.planning.packs import cost_of
from rdstudy.planning.schedule import Load, schedule
from rdstudy.study import Cell, Evaluation, Measures, Recipe
from rdstudy.study.factors import CELL_FACTORS, SETTINGS
from rdstudy.study.member import nested

CORE_OPERATIONS = 87e9 * 0.75
"""Operations a second of a step's products on one thread: the rate of a large product on an AMD EPYC, and the part of
it that a step of an MLP or a deep CNN reaches (benchmarks/NOTES.md; a CNN of one layer reaches a third of that)."""
STEP_SECONDS = 2e-4
"""Least time of a step replayed as a CUDA graph: some 100 kernels of 2 microseconds. Assumed."""
ROUNDING = 1.5
"""What a step takes on a CPU that rounds operands to TF32, over one that does not. Assumed for the paper's sizes: with
64 units and a batch of 32 it is 2.3 (benchmarks/NOTES.md)."""

_FIT_STEP_DRAWS = 12  # draws of z that a step of fitting a posterior costs: four, forward and backward
_MODE_DRAWS = 900  # that finding the mode, and the ELBOs, cost

_OF_A_CELL = tuple(setting for setting in SETTINGS if setting.name in CELL_FACTORS or setting.holder == "recipe")
CALIBRATION_COLUMNS = ("wall_seconds", "device", *(setting.name for setting in _OF_A_CELL))
"""Columns of the `members` table that `calibrate` reads."""


@dataclass(frozen=True)
class Speed:
    """Measured over modelled seconds, and how that is known."""

    of_architecture: Mapping[str, float]
    of_others: float
    source: str  # in words

    def scale(self, cell: Cell) -> float:
        """What modelled seconds of a cell's members are multiplied by."""
        return self.of_architecture.get(cell.architecture, self.of_others)


ASSUMED_CORE = "assumed speed (nothing measured yet)"


@dataclass(frozen=True)
class Estimate:
    """What remains of a study will take."""

    device_hours: float  # of devices that are up, from the first to the last pack: what is paid
    wall_hours: float
    cost: float | None  # USD; None without a price
    devices: int  # used: GPUs, or CPU cores
    price: float | None  # USD for one device and hour
    utilization: float  # of these devices, in [0, 1]
    source: str  # of the speed, in words


def training_seconds(
    cell: Cell, *, members: int, image_shape: tuple[int, int, int], images: int, card: Card | None, sharing: int = 1
) -> float:
    """Modelled time to train a pack and to measure its rate and distortion.

    On a CPU its members train one after the other. On a GPU a step takes what its kernels take at the rates that the
    card is taken to reach; to that, packs which share the card add, and a step takes no less than `STEP_SECONDS` more
    than its own kernels.

    Args:
        cell: of the pack.
        members: how many there are.
        image_shape: channel, row, column.
        images: of the data set, all of them.
        card: that it trains on; None for a CPU.
        sharing: packs on the GPU at the same time.
    """
    cost, evaluation = cost_of(cell, image_shape), cell.evaluation
    final = images if evaluation.final_images is None else min(images, 2 * evaluation.final_images)
    measured = final + min(images, 2 * evaluation.trajectory_images) * evaluation.trajectory_points
    measuring = measured * cost.measure_operations
    steps = cell.recipe.steps
    if card is None:
        rounding = ROUNDING if cell.recipe.precision == "tf32" else 1.0
        step = rounding * cost.step_operations(cell.recipe.batch_size)
        return members * (steps * step + measuring) / CORE_OPERATIONS
    kernels = pack_step_seconds(cell, members=members, image_shape=image_shape, card=card)
    measures = sharing * members * measuring / card.reached.float32
    return steps * max(sharing * kernels, kernels + STEP_SECONDS) + measures


def pack_step_seconds(cell: Cell, *, members: int, image_shape: tuple[int, int, int], card: Card) -> float:
    """Modelled time of the kernels of a pack's step on a GPU, see `training_seconds`."""
    shape = NetworkShape.of(cell, image_shape)
    kernels = step_kernels(shape, cost_of(cell, image_shape), cell.recipe.batch_size)
    return members * step_seconds(kernels, card.reached, cell.recipe.precision)


def filling(kernel_seconds: float) -> int:
    """Packs at the same time that are of use on a GPU, by the time of a step's kernels; two at least.

    Launches of one hide behind the kernels of others, and while one is measured or starts, another one trains.
    """
    return 1 + math.ceil(STEP_SECONDS / kernel_seconds)


def measuring_steps(measures: Measures) -> float:
    """What all further measures of a member take, in training steps of it alone.

    Seconds of the paper's MLP with one layer on a CPU (benchmarks/NOTES.md), in proportion to the draws that each
    takes: a guide for other networks, and not measured on a GPU.
    """
    if not measures.names:
        return 0.0
    draws = measures.importance_samples + _FIT_STEP_DRAWS * measures.refit_steps + _MODE_DRAWS
    likelihoods = 0.0131 * measures.importance_images / 200 * draws / 2_620  # probes too
    return 257_000 * (likelihoods + 0.0046 * measures.latent_samples / 1_000)


def calibrate(
    runs: Iterable[Mapping[str, Any]],
    *,
    kind: str,
    evaluation: Evaluation,
    modelled: Callable[[Cell, int], float],
    assumed: str = ASSUMED_CORE,
) -> Speed:
    """Hold members that are stored against the model.

    Args:
        runs: of any studies, as `rdstudy.results.tables.trained_runs` gives them, with `CALIBRATION_COLUMNS`.
        kind: `cpu` or `cuda`: runs on the other one say nothing.
        evaluation: what the members are taken to have measured on their way: the rows do not say it.
        modelled: seconds of a pack of so many members of a cell; ValueError where that is not known.
        assumed: how the modelled seconds are known, where no run says more.
    """
    make = functools.cache(functools.partial(_cell, evaluation=evaluation))
    ratios: dict[str, list[float]] = {}
    trained, devices = 0, set()
    for run in runs:
        if not run["device"].startswith(f"{kind}:"):
            continue
        try:
            cell = make(tuple(run[setting.name] for setting in _OF_A_CELL))
            expected = modelled(cell, run["members"])
        except ValueError:  # a data set that is not known here
            continue
        ratios.setdefault(cell.architecture, []).append(run["members"] * run["wall_seconds"] / expected)
        trained += run["members"]
        devices.add(run["device"])
    if not ratios:
        return Speed({}, 1.0, assumed)
    of_others = statistics.median(ratio for of_kind in ratios.values() for ratio in of_kind)
    source = f"measured on {trained} stored members ({', '.join(sorted(devices))})"
    return Speed({name: statistics.median(of_kind) for name, of_kind in ratios.items()}, of_others, source)


def _cell(levels: tuple[Any, ...], evaluation: Evaluation) -> Cell:
    """The cell of a run, but for the evaluation."""
    fields = nested({setting.name: level for setting, level in zip(_OF_A_CELL, levels, strict=True)})
    return Cell(**{**fields, "recipe": Recipe(**fields["recipe"]), "evaluation": evaluation})


def estimate(
    loads: Iterable[Load], *, devices: int, devices_per_slot: int, price: float | None, source: str
) -> Estimate:
    """What loads take on so many devices, started in their order; devices that none of them needs are not counted.

    Args:
        loads: what remains, the longest first.
        devices: GPUs, or CPU cores.
        devices_per_slot: cores of a trial; 1 on GPUs, whose share is the load's.
        price: USD for one device and hour.
        source: of the loads' seconds, in words.
    """
    ends = schedule(loads, max(1, devices // devices_per_slot))
    used = ends.slots * devices_per_slot
    wall_hours = ends.seconds / 3600
    cost = None if price is None else used * wall_hours * price
    return Estimate(used * wall_hours, wall_hours, cost, used, price, ends.utilization, source)


@dataclass(frozen=True)
class Stop:
    """Where a limit stops a run."""

    limit: str  # as it was given
    share: float  # of the work that remains
    hours: float


def stops(expected: Estimate, *, max_hours: float | None, max_cost: float | None) -> tuple[Stop, ...]:
    """The limits that stop a run before it has finished, the earliest first.

    Raises:
        ValueError: see `rdstudy.planning.limits.check_limits`.
    """
    check_limits(max_hours=max_hours, max_cost=max_cost, price=expected.price)
    limits = (("--max-hours", max_hours, expected.wall_hours), ("--max-cost", max_cost, expected.cost))
    early = [
        Stop(f"{name} {limit:g}", limit / whole, limit / whole * expected.wall_hours)
        for name, limit, whole in limits
        if limit is not None and whole is not None and limit < whole
    ]
    return tuple(sorted(early, key=lambda stop: stop.share))
