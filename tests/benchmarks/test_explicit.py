"""Layers stacked by hand compute what the stacked path computes, in float64: else their times are not comparable."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from benchmarks.contenders import CONTENDERS, Task, default_contenders, explicit, explicit_graph
from benchmarks.contenders.rdstudy_sequential import member
from benchmarks.sizes import Size, parameter_count
from rdstudy.training import draws, stacked
from rdstudy.training.stacked import StackedTrainer
from tests.benchmarks.small import TINY_CNN, TINY_MLP, small

CPU = torch.device("cpu")
SIZES = [TINY_MLP, TINY_CNN, small("mlp"), small("cnn")]
PAIRS = ((3, 0.7), (2, 0.0), (3, 3.0), (5, 0.1), (2, 0.01))  # seed and β
STEPS = 17  # crosses chunks of noise and epochs


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def images_of(size: Size) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (17, size.pixels), dtype=np.uint8))


def step_of(size: Size) -> explicit.Step:
    return explicit.Step(size, PAIRS, images_of(size), device=CPU, capturable=False)


def trainer_of(size: Size) -> StackedTrainer:
    members = [member(size, beta=beta, seed=seed) for seed, beta in PAIRS]
    return StackedTrainer(members, images_of(size), image_shape=size.image_shape, device=CPU)


def as_in_the_trainer(value: torch.Tensor) -> torch.Tensor:
    """A weight or bias `[member, ...]` as the trainer keeps it: biases have no row axis there."""
    return value.squeeze(1) if value.dim() == 3 and value.shape[1] == 1 else value


def assert_alike(step: explicit.Step, trainer: StackedTrainer, *, gradients: bool) -> None:
    flat = list(itertools.chain(*step.weights))
    for own, theirs in zip(flat, trainer.parameters.values(), strict=True):
        ours, reference = (own.grad, theirs.grad) if gradients else (own, theirs)
        assert ours is not None
        torch.testing.assert_close(as_in_the_trainer(ours), reference, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_gradients_equal_those_of_the_stacked_path(size, monkeypatch):
    """Adam forgets the scale of a gradient; gradients themselves do not."""
    step, trainer = step_of(size), trainer_of(size)
    for method in ("step", "zero_grad"):
        monkeypatch.setattr(torch.optim.Adam, method, lambda *_: None)
    step.draw()
    step.take()
    trainer.advance(0, 1)
    assert_alike(step, trainer, gradients=True)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_parameters_equal_those_of_the_stacked_path_after_some_steps(size, monkeypatch):
    for module in (draws, stacked):
        monkeypatch.setattr(module, "CHUNK_STEPS", 7)
    step, trainer = step_of(size), trainer_of(size)
    for _ in range(STEPS):
        step.draw()
        step.take()
        step.forget_gradients()
    trainer.advance(0, STEPS)
    assert_alike(step, trainer, gradients=False)
    assert step.finite.tolist() == [True] * len(PAIRS)
    assert step.parameter_count == trainer.parameter_count == parameter_count(size)


def test_a_member_that_is_not_finite_is_noted():
    step = step_of(TINY_MLP)
    with torch.no_grad():
        step.weights[0][0][3] = torch.nan
    step.draw()
    step.take()
    assert step.finite.tolist() == [True, True, True, False, True]


def task(size: Size, folder: str) -> Task:
    images = np.random.default_rng(0).integers(0, 256, (14, *size.image_shape), dtype=np.uint8)
    np.save(f"{folder}/images.npy", images)
    return Task(size, threads=1, steps=2, images=f"{folder}/images.npy", members=13)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_the_contender_trains_a_pack(size, tmp_path):
    trainer = explicit.build(task(size, str(tmp_path)))
    before = [weight.detach().clone() for weight, _ in trainer._step.weights]
    trainer.take_steps(2)
    assert (trainer.models, trainer.parameter_count) == (13, parameter_count(size))
    for old, (new, _) in zip(before, trainer._step.weights, strict=True):
        assert not torch.equal(old, new)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # PyTorch's compiler itself, in some versions
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.name)
def test_a_captured_pack_trains(size, tmp_path):
    trainer = explicit_graph.build(Task(**{**vars(task(size, str(tmp_path))), "device": "cuda"}))
    before = [weight.detach().clone() for weight, _ in trainer._step.weights]
    trainer.take_steps(2)
    assert all(trainer._step.finite.tolist())
    for old, (new, _) in zip(before, trainer._step.weights, strict=True):
        assert not torch.equal(old, new)


def test_packs_by_hand_are_measured_on_a_gpu_and_when_asked_for():
    assert {"stacked", "explicit", "explicit-graph"} <= set(default_contenders("cuda"))
    assert not {"stacked", "explicit", "explicit-graph"} & set(default_contenders("cpu"))
    assert CONTENDERS["explicit-graph"].devices == ("cuda",)
