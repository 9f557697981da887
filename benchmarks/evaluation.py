"""What measuring a member costs, as a fraction of what training it costs, at the paper's sizes.

    python -m benchmarks.evaluation [--device cpu|cuda] [--sizes NAME ...] [--pack P] [--steps K] [--images N]
                                    [--repeats K] [--json FILE]

The trainers are those of a study. A repeat takes some training steps and a slice of each measurement, side by side;
both are scaled to a whole study, since the costs are linear in steps and in blocks of 1,024 images. A further measure
is a further entry of `MEASUREMENTS`.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.contenders import DEVICES, Task
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.devices import prepare, wait_for
from benchmarks.images import draw_images
from benchmarks.machine import Machine, describe_machine, machine_line
from benchmarks.options import default_device, gpu_name, whole
from benchmarks.sizes import SIZES, Size
from benchmarks.tables import number, text_table
from rdstudy.planning.packs import BLOCK_IMAGES
from rdstudy.study import PAPER_BETAS, Evaluation, Recipe
from rdstudy.training.process import prepare_process
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.subsets import Sample
from rdstudy.training.trainer import Trainer

ALL_IMAGES = 163_840
"""Of the training and the test subset together (paper, 4.1)."""
_POINTS, _POINT_IMAGES = Evaluation.trajectory_points, Evaluation.trajectory_images

TRAINING, ALL = "training", "all measurements"


@dataclass(frozen=True)
class Measurement:
    """Something that a study measures of each member."""

    name: str
    images: int  # that it is measured on in the life of a member, an image counted each time
    at_once: int | None  # images of one call of `work`; None for as many as the option --images says
    work: Callable[[Trainer, Sample], object]


def _rate_and_distortion(trainer: Trainer, sample: Sample) -> object:
    return trainer.measure(sample.blocks(), purpose="benchmark")


MEASUREMENTS = (
    Measurement(
        f"rate, distortion: {_POINTS} points", _POINTS * 2 * _POINT_IMAGES, _POINT_IMAGES, _rate_and_distortion
    ),
    Measurement("rate, distortion: final", ALL_IMAGES, None, _rate_and_distortion),
)
"""In the order of the table."""


@dataclass(frozen=True)
class Cost:
    """One measurement, scaled to the life of one member."""

    wall_seconds: float
    busy: float  # processor time over wall time


@dataclass(frozen=True)
class Row:
    """A line of the table: medians over repeats; the fraction is the median of those within a repeat."""

    device: str
    size: str
    members: int  # of the pack; 1 for the sequential path
    measurement: str
    images: int | None  # in the life of a member
    fraction_of_training: float
    seconds_per_member: float
    microseconds_per_image: float | None
    busy: float


_HEAD = ("network", "measurement", "members", "images", "of training", "seconds a member", "µs an image", "busy")
_LEGEND = """\
training: {steps:,} steps of batch {batch}, from a measurement of fewer
points: of a trajectory, each on {point:,} training and {point:,} test images
final: on all images of both subsets, from a slice of fewer
members: trained and measured together; 1 is the sequential path
images: that a measurement is measured on in the life of a member, an image counted each time
of training: the time of a measurement over that of all training steps in the same repeat
busy: processor time over wall time of one thread; on a CPU less than 1 where somebody else had the cores"""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine(gpu=gpu_name() if options.device == "cuda" else None)
    prepare_process()
    rows: list[Row] = []
    for size in (SIZES[name] for name in options.sizes):
        print(f"{size.name} on {options.device} ...", file=sys.stderr)
        rows += measure_size(size, options)
        if options.json:  # a later network that fails takes nothing away
            _write(Path(options.json), rows, machine, options)
    print(report(rows, machine, options))


def measure_size(
    size: Size, options: argparse.Namespace, measurements: Sequence[Measurement] = MEASUREMENTS
) -> list[Row]:
    """Measure training and all measurements on one network, repeat after repeat."""
    task = Task(size, threads=1, steps=options.steps, images="", device=options.device, members=options.pack)
    device = prepare(task)
    images = draw_images(max(options.images, *(measurement.at_once or 0 for measurement in measurements)))
    trainer = _trainer(task, images, device)
    repeats = [
        _repeat(
            trainer, images, first_step=number * task.steps, options=options, device=device, measurements=measurements
        )
        for number in range(1 + options.repeats)
    ]
    return rows_of(size, options.device, options.pack, repeats[1:], measurements)  # the first is a warm-up


def rows_of(
    size: Size, device: str, members: int, repeats: Sequence[dict[str, Cost]], measurements: Sequence[Measurement]
) -> list[Row]:
    """The lines of one network, from the costs of training and of each measurement in each repeat."""
    images = {measurement.name: measurement.images for measurement in measurements}
    costs = {name: [repeat[name] for repeat in repeats] for name in (TRAINING, *images)}
    costs[ALL] = [_sum([repeat[name] for name in images]) for repeat in repeats]
    rows = []
    for name, own in costs.items():
        seconds = statistics.median(cost.wall_seconds for cost in own)
        pairs = zip(own, costs[TRAINING], strict=True)
        rows.append(
            Row(
                device=device,
                size=size.name,
                members=members,
                measurement=name,
                images=images.get(name),
                fraction_of_training=statistics.median(cost.wall_seconds / of.wall_seconds for cost, of in pairs),
                seconds_per_member=seconds,
                microseconds_per_image=1e6 * seconds / images[name] if name in images else None,
                busy=statistics.median(cost.busy for cost in own),
            )
        )
    return rows


def report(rows: Sequence[Row], machine: Machine, options: argparse.Namespace) -> str:
    """The table and all that is needed to read it."""
    cells = [
        (
            row.size,
            row.measurement,
            str(row.members),
            number(row.images, 0),
            number(row.fraction_of_training, 4),
            number(row.seconds_per_member, 1),
            number(row.microseconds_per_image, 2),
            number(row.busy, 2),
        )
        for row in rows
    ]
    legend = _LEGEND.format(steps=Recipe.steps, batch=Recipe.batch_size, point=_POINT_IMAGES)
    settings = (
        f"medians of {options.repeats} repeats of {options.steps} steps and {options.images:,} images "
        f"on {options.device}, one thread"
    )
    return "\n\n".join([text_table(_HEAD, cells, left=2), legend, f"{settings}\n{machine_line(machine)}"])


def _trainer(task: Task, images: NDArray[np.uint8], device: torch.device) -> Trainer:
    """The trainer of a pack, as `rdstudy.training.loop` chooses it; β changes fastest."""
    pairs = itertools.islice(itertools.product(range(5), PAPER_BETAS), task.members)
    members = [member(task.size, beta=beta, seed=seed) for seed, beta in pairs]
    train, shape = torch.from_numpy(images).flatten(1), task.size.image_shape
    if len(members) > 1:
        return StackedTrainer(members, train, image_shape=shape, device=device)
    return SequentialTrainer(members[0], train, image_shape=shape, device=device)


def _repeat(
    trainer: Trainer,
    images: NDArray[np.uint8],
    *,
    first_step: int,
    options: argparse.Namespace,
    device: torch.device,
    measurements: Sequence[Measurement],
) -> dict[str, Cost]:
    """Some training steps, then a slice of each measurement."""
    members, steps = len(trainer.members), options.steps
    costs = {TRAINING: _timed(lambda: trainer.advance(first_step, steps), Recipe.steps / steps / members, device)}
    for measurement in measurements:
        count = measurement.at_once or options.images
        sample = Sample(images, np.arange(count), count, floors=np.zeros(256))
        work = functools.partial(measurement.work, trainer, sample)
        costs[measurement.name] = _timed(work, measurement.images / count / members, device)
    return costs


def _timed(work: Callable[[], object], scale: float, device: torch.device) -> Cost:
    """The cost of some work, times `scale`."""
    wall_seconds, cpu_seconds = time.perf_counter(), time.process_time()
    work()
    wait_for(device)
    wall_seconds, cpu_seconds = time.perf_counter() - wall_seconds, time.process_time() - cpu_seconds
    return Cost(scale * wall_seconds, cpu_seconds / wall_seconds)


def _sum(costs: Sequence[Cost]) -> Cost:
    seconds = sum(cost.wall_seconds for cost in costs)
    return Cost(seconds, sum(cost.busy * cost.wall_seconds for cost in costs) / seconds)


def _write(path: Path, rows: Sequence[Row], machine: Machine, options: argparse.Namespace) -> None:
    body = {
        "machine": dataclasses.asdict(machine),
        "device": options.device,
        "steps": options.steps,
        "images": options.images,
        "repeats": options.repeats,
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    path.write_text(json.dumps(body, indent=2) + "\n", encoding="utf-8")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=DEVICES, help="cuda where PyTorch sees a GPU, else cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="NAME", help=", ".join(SIZES))
    parser.add_argument("--pack", type=whole(60), metavar="P", help="members of a pack: 60 on a GPU, 1 on a CPU")
    parser.add_argument("--steps", type=whole(10_000), help="of a measurement: 192 on a GPU, 20 on a CPU")
    parser.add_argument(
        "--images", type=whole(ALL_IMAGES), default=4 * BLOCK_IMAGES, help="of a slice: 4,096, four blocks"
    )
    parser.add_argument("--repeats", type=whole(1_000), default=5, help="measurements of each measurement")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    options = parser.parse_args(arguments)
    options.device = options.device or default_device()
    options.pack = options.pack or {"cpu": 1, "cuda": 60}[options.device]
    options.steps = options.steps or {"cpu": 20, "cuda": 192}[options.device]
    return options


if __name__ == "__main__":
    main()
