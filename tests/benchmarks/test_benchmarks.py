"""The benchmarks run, and count what they say they count. No time is asserted."""

import dataclasses
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import data, training
from benchmarks.contenders import CONTENDERS, PEAK, Build, Contender, Task, eager, peak, products, rdstudy_sequential
from benchmarks.lanes import Lane, Ready, Timing, serve
from benchmarks.machine import describe_machine
from benchmarks.race import Course, Times, rows_of, run_race
from benchmarks.sizes import SIZES, Convolution, Linear, Size, layers, parameter_count, step_operations
from benchmarks.tables import text_table

TINY_MLP = Size("tiny-mlp", "mlp", depth=1, width=5, batch_size=7, latent_dim=2, channels=3, side=4)
TINY_CNN = dataclasses.replace(TINY_MLP, name="tiny-cnn", architecture="cnn")
SMALL = [TINY_MLP, TINY_CNN] + [
    dataclasses.replace(TINY_MLP, name=f"small-{kind}", architecture=kind, depth=3, width=11, side=16)
    for kind in ("mlp", "cnn")
]
BUILDS: dict[str, Build] = {
    "products": products.build,
    "rdstudy": rdstudy_sequential.build,
    "eager": eager.build,
}
STEPS = 2
IDLE = Contender("idle", "tests.benchmarks.idle")


@pytest.fixture(autouse=True)
def same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def task(size: Size, folder: Path) -> Task:
    images = np.random.default_rng(0).integers(0, 256, (STEPS * size.batch_size, *size.image_shape), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    return Task(size, threads=1, steps=STEPS, images=str(folder / "images.npy"))


def test_products_of_a_perceptron_equal_a_hand_count():
    assert layers(TINY_MLP) == (Linear(48, 5), Linear(5, 4), Linear(2, 5), Linear(5, 48))
    assert step_operations(TINY_MLP) == 2 * 7 * (2 * 48 * 5 + 3 * 5 * 4 + 3 * 2 * 5 + 3 * 5 * 48)
    assert parameter_count(TINY_MLP) == 49 * 5 + 6 * 4 + 3 * 5 + 6 * 48


def test_convolutions_equal_a_hand_count():
    down, up = Convolution(3, 5, 4, transposed=False), Convolution(5, 3, 2, transposed=True)
    assert layers(TINY_CNN) == (down, Linear(20, 4), Linear(2, 20), up)
    one = 2 * 7 * 3 * 5 * 4 * 4 * 2 * 2
    assert step_operations(TINY_CNN) == 5 * one + 2 * 7 * (3 * 20 * 4 + 3 * 2 * 20)
    assert parameter_count(TINY_CNN) == (3 * 5 * 16 + 5) + 21 * 4 + 3 * 20 + (5 * 3 * 16 + 3)


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
@pytest.mark.parametrize("name", BUILDS)
def test_every_contender_does_the_same_products_on_the_same_network(name, size, tmp_path):
    trainer = BUILDS[name](task(size, tmp_path))
    assert (trainer.models, trainer.parameter_count) == (1, parameter_count(size))
    with FlopCounterMode(display=False) as counter:
        trainer.take_steps(STEPS)
    assert counter.get_total_flops() == STEPS * step_operations(size)


def test_the_loop_and_the_project_train_the_papers_networks(tmp_path):
    size = SIZES["mlp-1"]
    counts = {build(task(size, tmp_path)).parameter_count for build in (eager.build, rdstudy_sequential.build)}
    assert counts == {3073 * 512 + 513 * 20 + 11 * 512 + 513 * 3072}


def test_a_trainer_answers_each_request_with_its_time(tmp_path):
    answers = io.StringIO()
    trainer = eager.build(task(TINY_MLP, tmp_path))
    serve(trainer, steps=STEPS, requests=io.StringIO("\n\n"), answers=answers)
    ready, *timings = [json.loads(line) for line in answers.getvalue().splitlines()]
    assert Ready(**ready) == Ready(models=1, parameter_count=trainer.parameter_count)
    assert len([Timing(**timing) for timing in timings]) == 2


def test_peak_multiplies():
    square = peak.Peak(side=5)
    square.take_steps(3)
    torch.testing.assert_close(square._out, square._left @ square._right)


def test_a_process_answers_until_it_is_left(tmp_path):
    with Lane(IDLE, task(TINY_MLP, tmp_path), python=sys.executable) as lane:
        assert lane.wait_ready() == Ready(models=3, parameter_count=5)
        for _ in range(3):
            lane.start()
            assert lane.finish().wall_seconds > 0
    assert lane._process.returncode == 0


def test_a_process_that_ends_says_why(tmp_path):
    too_many = dataclasses.replace(task(TINY_MLP, tmp_path), threads=13)
    with (
        Lane(IDLE, too_many, python=sys.executable) as lane,
        pytest.raises(RuntimeError, match="idle ended with status 1:\nno more than 12 threads"),
    ):
        lane.wait_ready()


@pytest.mark.slow
def test_a_race_runs_in_processes(tmp_path):
    course = Course(TINY_MLP, processes=1, threads=1, steps=STEPS, repeats=3, images=task(TINY_MLP, tmp_path).images)
    times = run_race(course, {CONTENDERS["rdstudy"]: sys.executable})
    assert set(times) == {"rdstudy", PEAK.name}
    assert {len(contender.seconds) for contender in times.values()} == {3}


def test_ratios_are_medians_of_ratios_within_a_repeat():
    times = {
        "products": Times((1.0, 2.0, 4.0), busy=1.0),
        "rdstudy": Times((1.5, 2.2, 4.8), busy=1.0),
        "eager": Times((3.0, 4.4, 24.0), busy=1.0),
        PEAK.name: Times((1.0, 1.0, 1.0), busy=1.0),
    }
    course = Course(TINY_MLP, processes=2, threads=1, steps=STEPS, repeats=3, images="")
    rows = {row.contender: row for row in rows_of(course, times)}
    assert set(rows) == {"products", "rdstudy", "eager"}
    assert rows["rdstudy"].time_over_products == pytest.approx(1.2)
    assert rows["rdstudy"].speed_over_eager == pytest.approx(2.0)
    assert rows["rdstudy"].speed_over_pythae is None
    assert rows["rdstudy"].model_steps_per_second == pytest.approx(2 / 2.2)


def test_the_report_says_how_to_install_what_is_missing():
    times = {"rdstudy": Times((86_400.0 / 257_000,), busy=1.0), PEAK.name: Times((1.0,), busy=1.0)}
    course = Course(SIZES["mlp-3"], processes=1, threads=1, steps=STEPS, repeats=1, images="")
    options = training._parse(["--repeats", "1"])
    text = training.report(rows_of(course, times), describe_machine(), [CONTENDERS["pythae"]], options)
    assert "pythae: not installed" in text
    assert "pip install -r benchmarks/pythae-requirements.txt" in text
    assert "mlp-3  6,240 days" in text


def test_images_are_distinct_tetrominoes():
    images = training.draw_images(13)
    assert images.shape == (13, 3, 32, 32)
    assert len(np.unique(images.reshape(13, -1), axis=0)) == 13


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", "1281"])
def test_wrong_numbers_of_steps_are_refused(text, capsys):
    with pytest.raises(SystemExit):
        training.main(["--steps", text])
    assert "allowed: a whole number from 1 to 1,280" in capsys.readouterr().err


def test_data_rows_compare_with_the_bound_and_the_allowed():
    cost = {"wall_seconds": 5.0, "cpu_seconds": 8.0, "peak_bytes": 0.75e9}
    repeat = dict.fromkeys(data.WORKS, cost) | {"bound": {**cost, "wall_seconds": 0.5}}
    row = data.row_of("draw", [repeat])
    assert (row.time_over_bound, row.time_over_allowed, row.memory_over_allowed) == (10.0, 0.5, 0.5)
    assert "draw and cache all images" in data.report([row], describe_machine(), 1)


def test_a_table_keeps_its_columns_under_their_heads():
    assert text_table(("name", "n"), [("a", "1"), ("b", "23")], left=1) == "name   n\na      1\nb     23"
