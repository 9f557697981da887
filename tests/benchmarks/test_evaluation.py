"""The cost of measuring is scaled to the life of a member, and put over that of training. No time is asserted."""

import dataclasses

import numpy as np
import pytest
import torch

from benchmarks import evaluation
from benchmarks.evaluation import ALL, MEASUREMENTS, TRAINING, Cost, Measurement, measure_size, rows_of
from benchmarks.machine import describe_machine
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.subsets import Sample
from rdstudy.training.trainer import Trainer
from tests.benchmarks.small import TINY_MLP

SIZE = dataclasses.replace(TINY_MLP, side=32)  # images are Tetrominoes


def test_the_pieces_are_those_of_the_papers_study():
    trajectory, final = MEASUREMENTS
    assert trajectory.images == 40 * (2_000 + 2_000)
    assert trajectory.at_once == 2_000
    assert final.images == 81_920 + 81_920


def test_fractions_are_of_the_training_of_the_same_repeat():
    measurements = [Measurement("one", 11, None, lambda *_: None), Measurement("two", 13, None, lambda *_: None)]
    repeats = [
        {TRAINING: Cost(100.0, 1.0), "one": Cost(10.0, 1.0), "two": Cost(1.0, 0.5)},
        {TRAINING: Cost(400.0, 0.5), "one": Cost(20.0, 1.0), "two": Cost(2.0, 1.0)},
        {TRAINING: Cost(200.0, 0.8), "one": Cost(30.0, 0.1), "two": Cost(8.0, 1.0)},
    ]
    rows = {row.measurement: row for row in rows_of(SIZE, "cpu", 1, repeats, measurements)}
    assert list(rows) == [TRAINING, "one", "two", ALL]
    assert rows[TRAINING].fraction_of_training == 1.0
    assert rows["one"].fraction_of_training == pytest.approx(0.1)  # of 0.1, 0.05 and 0.15
    assert rows[ALL].fraction_of_training == pytest.approx(0.11)  # of 0.11, 0.055 and 0.19
    assert rows["one"].seconds_per_member == 20.0
    assert rows["one"].microseconds_per_image == pytest.approx(20e6 / 11)
    assert rows[ALL].busy == pytest.approx(10.5 / 11)  # of that, 1 and 11 / 38, weighted by time


@pytest.mark.parametrize(("pack", "kind"), [(1, SequentialTrainer), (3, StackedTrainer)])
def test_costs_are_scaled_to_the_life_of_one_member(pack, kind, monkeypatch):
    """A clock that each call moves by as many seconds as it takes steps or reads images."""
    clock = [0.0]
    seen = []

    def look(trainer: Trainer, sample: Sample) -> None:
        seen.append((type(trainer), len(trainer.members), [len(block) for block in sample.blocks()]))
        clock[0] += len(sample)

    def advance(_: Trainer, __: int, steps: int) -> None:
        clock[0] += steps

    monkeypatch.setattr(kind, "advance", advance)
    for name in ("perf_counter", "process_time"):
        monkeypatch.setattr(f"benchmarks.evaluation.time.{name}", lambda: clock[0])
    arguments = ["--device", "cpu", "--pack", str(pack), "--steps", "7", "--images", "1500", "--repeats", "1"]
    measurements = [Measurement("slice", 6_000, None, look), Measurement("point", 2_600, 13, look)]
    rows = {row.measurement: row for row in measure_size(SIZE, evaluation._parse(arguments), measurements)}
    assert seen == 2 * [(kind, pack, [1024, 476]), (kind, pack, [13])]
    assert rows[TRAINING].seconds_per_member == pytest.approx(257_000 / pack)
    assert rows["slice"].seconds_per_member == pytest.approx(6_000 / pack)
    assert rows["point"].seconds_per_member == pytest.approx(2_600 / pack)
    assert rows[ALL].fraction_of_training == pytest.approx(8_600 / 257_000)


def test_real_pieces_run_on_a_trainer_that_trains():
    threads = torch.get_num_threads()
    options = evaluation._parse(["--device", "cpu", "--steps", "3", "--images", "13", "--repeats", "2"])
    rows = measure_size(SIZE, options)
    torch.set_num_threads(threads)
    assert [row.measurement for row in rows] == [TRAINING, *(measurement.name for measurement in MEASUREMENTS), ALL]
    assert all(row.seconds_per_member > 0 and np.isfinite(row.fraction_of_training) for row in rows)
    assert "2 repeats of 3 steps and 13 images on cpu" in evaluation.report(rows, describe_machine(), options)


def test_a_gpu_measures_packs():
    assert evaluation._parse(["--device", "cuda"]).pack == 60
    assert evaluation._parse(["--device", "cpu"]).pack == 1
