"""What the measures of a member cost, as a fraction of what training it costs, at the paper's sizes.

    python -m benchmarks.measures [--device cpu|cuda] [--sizes NAME ...] [--steps K] [--train-images N] [--json FILE]

One member of each size, on all Tetrominoes, with the settings that a study has by default: each measure is taken once,
whole, through the code that a study runs. Training is a few steps, scaled to a study. A member of a pack is measured by
itself, so that the seconds of a measure hold for packs too; compare them with the training time of a pack's member.
"""

import argparse
import dataclasses
import functools
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.contenders import DEVICES
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.devices import wait_for
from benchmarks.machine import describe_machine, machine_line
from benchmarks.options import default_device, gpu_name, whole
from benchmarks.sizes import SIZES, Size
from benchmarks.tables import number, text_table
from rdstudy.datasets import dataset_info
from rdstudy.datasets.splits import Split
from rdstudy.measuring import MeasureRows, Measuring, measure_trained
from rdstudy.study import MEASURES, Measures, Member, Recipe, Resources
from rdstudy.training import Subsets, make_subsets
from rdstudy.training.process import prepare_process
from rdstudy.training.sequential import SequentialTrainer

_HEAD = ("network", "measure", "of training", "seconds a member")
_LEGEND = """\
of training: seconds over those of {steps:,} training steps of batch {batch}, scaled from {measured} steps
each measure of both subsets, {train:,} training and {test:,} test images; a measure that needs posteriors of a whole
  subset pays for them where it comes first"""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    size: str
    measure: str
    fraction_of_training: float
    seconds: float


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parse(arguments)
    machine = describe_machine(gpu=gpu_name() if options.device == "cuda" else None)
    prepare_process()
    data = dataset_info("tetrominoes").load()
    order = np.random.default_rng(0).permutation(len(data.images))
    split = Split(np.sort(order[: options.train_images]), np.sort(order[options.train_images :]))
    rows: list[Row] = []
    for size in (SIZES[name] for name in options.sizes):
        print(f"{size.name} on {options.device} ...", file=sys.stderr)
        measured = member(size, beta=1.0, seed=0)
        rows += measure_size(size, measured, make_subsets(data, split, measured.evaluation, study_seed=0), options)
        if options.json:
            body = {"rows": [dataclasses.asdict(row) for row in rows], "machine": dataclasses.asdict(machine)}
            Path(options.json).write_text(json.dumps(body, indent=1))
    cells = [(row.size, row.measure, number(row.fraction_of_training, 4), number(row.seconds, 2)) for row in rows]
    legend = _LEGEND.format(
        steps=Recipe.steps,
        batch=Recipe.batch_size,
        measured=options.steps,
        train=len(split.train),
        test=len(split.test),
    )
    print("\n\n".join([text_table(_HEAD, cells, left=2), legend, machine_line(machine)]))


def measure_size(size: Size, measured: Member, subsets: Subsets, options: argparse.Namespace) -> list[Row]:
    """Train a little, then take every measure of the default settings by itself."""
    device = torch.device(options.device)
    trainer = SequentialTrainer(measured, subsets.train, image_shape=subsets.image_shape, device=device)
    trainer.advance(0, options.steps)
    training = _seconds(lambda: trainer.advance(options.steps, options.steps), device) * Recipe.steps / options.steps
    seconds: dict[str, float] = {}
    taken = measure_trained(
        trainer.weights(0),
        measured,
        subsets,
        Measuring(Measures(), hard_image=int(subsets.whole["test"].index[0])),
        device=device,
        resources=Resources(),
        rows=MeasureRows(),
    )
    for name in MEASURES:
        seconds[name] = _seconds(functools.partial(next, taken), device)
    seconds["all measures"] = sum(seconds.values())
    rows = [Row(size.name, "training", 1.0, training)]
    return rows + [Row(size.name, name, spent / training, spent) for name, spent in seconds.items()]


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    started = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - started


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measures", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", choices=DEVICES, default=default_device())
    parser.add_argument("--sizes", metavar="NAME", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--steps", type=whole(10_000), default=40, help="training steps that are timed")
    parser.add_argument("--train-images", type=whole(163_839), default=81_920, help="images of the training subset")
    parser.add_argument("--json", metavar="FILE", help="write the rows there too")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
