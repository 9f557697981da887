"""The benchmarks run, and count what they say they count. No time is asserted."""

import dataclasses
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import data, networks, training
from benchmarks.bounds import COPY_BYTES, bound, peak_operations
from benchmarks.contenders import (
    CONTENDERS,
    COPY,
    PEAK,
    ROOT,
    Build,
    Contender,
    Task,
    copy,
    cudagraph,
    default_contenders,
    eager,
    interpreter,
    obstacle,
    peak,
    products,
    rdstudy_sequential,
    rdstudy_stacked,
)
from benchmarks.images import draw_images
from benchmarks.lanes import Lane, Ready, Timing, serve
from benchmarks.machine import describe_machine
from benchmarks.race import Course, Entry, Row, Times, rows_of, run_race
from benchmarks.sizes import SIZES, Size, layers, parameter_count, step_operations
from benchmarks.tables import text_table
from rdstudy.model.description import Convolution, Dense
from tests.benchmarks.small import TINY_CNN, TINY_MLP, small

SMALL = [TINY_MLP, TINY_CNN, small("mlp"), small("cnn")]
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


@pytest.fixture(scope="module")
def jax_python():
    python = interpreter(CONTENDERS["jax"], sys.executable)
    if python is None:
        pytest.skip("JAX is neither in .venv-jax nor in this environment")
    return python


def task(size: Size, folder: Path) -> Task:
    images = np.random.default_rng(0).integers(0, 256, (STEPS * size.batch_size, *size.image_shape), dtype=np.uint8)
    np.save(folder / "images.npy", images)
    return Task(size, threads=1, steps=STEPS, images=str(folder / "images.npy"))


def test_products_of_a_perceptron_equal_a_hand_count():
    assert layers(TINY_MLP) == (Dense(48, 5), Dense(5, 4), Dense(2, 5), Dense(5, 48))
    assert step_operations(TINY_MLP) == 2 * 7 * (2 * 48 * 5 + 3 * 5 * 4 + 3 * 2 * 5 + 3 * 5 * 48)
    assert parameter_count(TINY_MLP) == 49 * 5 + 6 * 4 + 3 * 5 + 6 * 48


def test_convolutions_equal_a_hand_count():
    down, up = Convolution(3, 5, 4, 4), Convolution(5, 3, 2, 2, transposed=True)
    assert layers(TINY_CNN) == (down, Dense(20, 4), Dense(2, 20), up)
    of_one_network = 2 * 7 * 3 * 5 * 4 * 4 * 2 * 2
    assert step_operations(TINY_CNN) == 5 * of_one_network + 2 * 7 * (3 * 20 * 4 + 3 * 2 * 20)
    assert parameter_count(TINY_CNN) == (3 * 5 * 16 + 5) + 21 * 4 + 3 * 20 + (5 * 3 * 16 + 3)


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
@pytest.mark.parametrize("name", BUILDS)
def test_every_contender_does_the_same_products_on_the_same_network(name, size, tmp_path):
    trainer = BUILDS[name](task(size, tmp_path))
    assert (trainer.models, trainer.parameter_count) == (1, parameter_count(size))
    with FlopCounterMode(display=False) as counter:
        trainer.take_steps(STEPS)
    assert counter.get_total_flops() == STEPS * step_operations(size)


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
def test_a_pack_does_the_products_of_its_members(size, tmp_path):
    trainer = rdstudy_stacked.build(dataclasses.replace(task(size, tmp_path), members=13))
    assert (trainer.models, trainer.parameter_count) == (13, parameter_count(size))
    assert {member.seed for member in trainer._trainer.members} == {0, 1}
    trainer.take_steps(STEPS)
    assert trainer._trainer.nonfinite_steps == (None,) * 13


@pytest.mark.parametrize("size", SMALL, ids=lambda size: size.name)
def test_the_step_that_a_graph_captures_does_the_same_products(size, tmp_path):
    step = cudagraph.Step(task(size, tmp_path), torch.device("cpu"))
    assert sum(parameter.numel() for parameter in step.parameters) == parameter_count(size)
    before = [parameter.detach().clone() for parameter in step.parameters]
    with FlopCounterMode(display=False) as counter:
        for _ in range(STEPS):
            step.draw()
            step.forget_gradients()
            step.take()
    assert counter.get_total_flops() == STEPS * step_operations(size)
    assert not any(torch.equal(*pair) for pair in zip(before, step.parameters, strict=True))


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # PyTorch's compiler itself, in some versions
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_captured_step_trains(tmp_path):
    trainer = cudagraph.build(dataclasses.replace(task(TINY_MLP, tmp_path), device="cuda"))
    before = [parameter.detach().clone() for parameter in trainer._step.parameters]
    trainer.take_steps(STEPS)
    assert not any(torch.equal(*pair) for pair in zip(before, trainer._step.parameters, strict=True))


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
    square = peak.Peak(side=5, device=torch.device("cpu"))
    square.take_steps(3)
    torch.testing.assert_close(square._out, square._left @ square._right)


def test_copy_copies():
    buffers = copy.Copy(44, torch.device("cpu"))
    buffers.take_steps(3)
    assert torch.equal(buffers._target, torch.ones(11))


def test_the_bound_on_a_cpu_is_arithmetic():
    limit = bound(TINY_MLP, "cpu", peak_seconds=3.0, copy_seconds=None)
    assert limit.seconds == pytest.approx(3.0 * step_operations(TINY_MLP) / (2 * 2048**3))


def test_the_bound_on_a_gpu_is_the_larger_of_arithmetic_and_traffic():
    count = 49 * 5 + 6 * 4 + 3 * 5 + 6 * 48
    gigabyte_a_second = COPY_BYTES / 1e9  # the time of the copy
    slow_memory = bound(TINY_MLP, "cuda", peak_seconds=1e-9, copy_seconds=gigabyte_a_second)
    assert slow_memory.seconds == pytest.approx(40 * count / 1e9)
    slow_products = bound(TINY_MLP, "cuda", peak_seconds=peak_operations("cuda") / 1e3, copy_seconds=gigabyte_a_second)
    assert slow_products.seconds == pytest.approx(step_operations(TINY_MLP) / 1e3)


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
def test_a_race_runs_in_processes_and_goes_on_without_those_that_fail(tmp_path):
    course = Course(TINY_MLP, processes=1, threads=1, steps=STEPS, repeats=3, images=task(TINY_MLP, tmp_path).images)
    names = ("rdstudy", "eager")
    entries = [Entry(CONTENDERS[name], sys.executable) for name in names]
    entries.append(Entry(CONTENDERS["stacked"], sys.executable, members=3))
    entries.append(Entry(CONTENDERS["processes"], sys.executable, shares=(2,)))
    entries.append(Entry(Contender("absent", "benchmarks.contenders.absent"), sys.executable))
    outcome = run_race(course, entries)
    assert set(outcome.times) == {"rdstudy", "eager", "stacked ×3", "processes", PEAK.name}
    assert {len(times.seconds) for times in outcome.times.values()} == {3}
    assert outcome.failures == {"absent": "ModuleNotFoundError: No module named 'benchmarks.contenders.absent'"}
    rows = {row.contender: row for row in rows_of(course, outcome.times)}
    assert (rows["processes"].processes, rows["processes"].models) == (2, 1)
    assert (rows["stacked ×3"].processes, rows["stacked ×3"].models) == (1, 3)
    assert all(row.fraction_of_bound > 0 for row in rows.values())
    assert {name: row.step_mode for name, row in rows.items()} == {
        "rdstudy": "alone",
        "eager": "",
        "stacked ×3": "stacked, plain steps",
        "processes": "",
    }


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
    assert rows["rdstudy"].fraction_of_bound == pytest.approx(step_operations(TINY_MLP) / peak_operations("cpu") / 2.2)


@pytest.mark.parametrize(("device", "cores"), [("cpu", 2), ("cuda", 1)])
def test_processes_share_a_gpu_but_have_a_core_each(device, cores):
    """Two processes, each with a step in 6 seconds: a step in 3 seconds for the device."""
    times = {
        "products": Times((1.0,), busy=1.0),
        "stacked ×12": Times((1.5,), busy=1.0, models=12),
        "explicit ×12": Times((3.0,), busy=1.0, models=12),
        "processes": Times((3.0,), busy=1.0, share=2),
        PEAK.name: Times((1.0,), busy=1.0),
    }
    if device == "cuda":
        times[COPY.name] = Times((1e-9,), busy=1.0)
    course = Course(TINY_MLP, processes=1, threads=1, steps=STEPS, repeats=1, images="", device=device)
    rows = {row.contender: row for row in rows_of(course, times)}
    row = rows["processes"]
    assert (row.processes, row.milliseconds_per_step) == (2, 6e3)
    assert row.model_steps_per_second == pytest.approx(1 / 3)
    assert row.time_over_products == pytest.approx(3.0 * cores)
    assert row.fraction_of_bound == pytest.approx(
        step_operations(TINY_MLP) / peak_operations(device) / (3.0 * cores), rel=1e-6
    )
    assert rows["stacked ×12"].speed_over_processes == pytest.approx(2.0)
    assert rows["explicit ×12"].speed_over_stacked == pytest.approx(0.5)
    assert rows["processes"].speed_over_stacked is None


def test_a_cpu_run_says_who_needs_cuda_and_what_is_not_installed(monkeypatch):
    monkeypatch.setattr("benchmarks.contenders.ROOT", Path("nowhere"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    entries, notes = training._entries(training._parse(["--device", "cpu"]))
    assert [entry.name for entry in entries] == ["products", "rdstudy", "eager", "processes"]
    assert notes == [
        "cudagraph: needs CUDA",
        "jax: not installed; to install it: "
        "python3 -m venv .venv-jax && .venv-jax/bin/pip install -r benchmarks/jax-requirements.txt",
        "pythae: not installed; to install it: "
        "python3 -m venv .venv-pythae && .venv-pythae/bin/pip install -r benchmarks/pythae-requirements.txt",
    ]


def test_a_gpu_run_has_packs_and_no_bound_of_a_cpu():
    assert "products" not in default_contenders("cuda")
    assert obstacle(CONTENDERS["products"], device="cuda", python="python") == "needs a CPU"
    options = training._parse(["--device", "cuda", "--contenders", "stacked", "cudagraph", "processes"])
    entries, notes = training._entries(options)
    assert [entry.name for entry in entries] == ["stacked ×1", "stacked ×12", "stacked ×60", "cudagraph", "processes"]
    assert (entries[-1].shares, notes) == ((1, 2, 4, 8), [])


def test_the_environment_at_hand_will_do_where_it_has_the_package(monkeypatch):
    monkeypatch.setattr("benchmarks.contenders.ROOT", Path("nowhere"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if name == "jax" else None)
    assert interpreter(CONTENDERS["jax"], "this python") == "this python"
    assert interpreter(CONTENDERS["pythae"], "this python") is None


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_jax_has_the_same_loss_and_gradients(architecture, jax_python, tmp_path):
    command = [jax_python, "-m", "tests.benchmarks.jax_loss", architecture, str(tmp_path / "loss.npz")]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})
    size = small(architecture)
    with np.load(tmp_path / "loss.npz") as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    encoder, decoder = networks.encoder(size), networks.decoder(size)
    both = (*encoder.modules(), *decoder.modules())
    modules: list[Any] = [module for module in both if list(module.parameters(recurse=False))]
    for number, module in enumerate(modules):
        assert module.weight.shape == like_torch(module, arrays[f"weight {number}"]).shape
        module.weight.data = like_torch(module, arrays[f"weight {number}"])
        module.bias.data = arrays[f"bias {number}"]
    loss = networks.loss(encoder, decoder, arrays["x"], arrays["noise"], beta=0.7)
    loss.backward()
    torch.testing.assert_close(loss.detach(), arrays["loss"])
    for number, module in enumerate(modules):
        expected = like_torch(module, arrays[f"weight gradient {number}"])
        torch.testing.assert_close(module.weight.grad, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module.bias.grad, arrays[f"bias gradient {number}"], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_pack_in_jax_trains(jax_python, tmp_path):
    packed = dataclasses.replace(task(TINY_CNN, tmp_path), members=13)
    with Lane(CONTENDERS["jax"], packed, python=jax_python) as lane:
        assert lane.wait_ready() == Ready(models=13, parameter_count=parameter_count(TINY_CNN))
        lane.start()
        assert lane.finish().wall_seconds > 0


def like_torch(module: torch.nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """A weight of the JAX contender in the axis order of PyTorch's module."""
    if isinstance(module, torch.nn.Linear):
        return weight.T.contiguous()
    if isinstance(module, torch.nn.ConvTranspose2d):
        return weight.flip(2, 3).transpose(0, 1).contiguous()
    return weight


def row_of(size: str, contender: str, speed: float) -> Row:
    """A row of which only these matter."""
    return Row("cpu", size, 1, 1, contender, 1, None, None, None, None, None, 0.5, 0.5, 1e3 / speed, speed, 1.0, "")


def test_the_report_ends_with_the_papers_study_on_the_best_path_of_this_project():
    per_day = 257_000 / 86_400
    rows = [row_of("mlp-3", "rdstudy", per_day), row_of("mlp-3", "eager", 9 * per_day)]
    rows += [row_of("mlp-1", "rdstudy", per_day), row_of("mlp-1", "stacked ×60", 6_240 * per_day)]
    result = training.Result(describe_machine(), rows, limits=[], notes=["cudagraph: needs CUDA"])
    text = training.report(result, training._parse(["--repeats", "1"]))
    assert "cudagraph: needs CUDA" in text
    assert text.endswith("mlp-3  6,240 days, by rdstudy\n  mlp-1  24.0 hours, by stacked ×60")


def test_images_are_distinct_tetrominoes():
    images = draw_images(13)
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
