"""Replayed steps are the steps themselves: recorded by operations on a CPU, as a CUDA graph records kernels."""

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from rdstudy.datasets.splits import Split
from rdstudy.training import Subsets, make_subsets
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import WARM_UP_STEPS, Capture, Replayed, Step, StepMode
from tests.training.conftest import IMAGES, MEMBER, TRAIN, toy_dataset
from tests.training.test_stacked import CPU, STEPS, members_of

pytestmark = pytest.mark.usefixtures("float64", "short_chunks")


class _Recorder(TorchDispatchMode):
    """Remembers every operation, with the very tensors that it read and wrote."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple, dict, Any]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, output))
        return output


def _replay(calls: list[tuple[Any, tuple, dict, Any]]) -> None:
    """Do all operations again on the same tensors, results into the same places."""
    for func, args, kwargs, output in calls:
        again = func(*args, **kwargs)
        if func._schema.is_mutable:
            continue
        for place, value in zip(tree_leaves(output), tree_leaves(again), strict=True):
            if isinstance(place, torch.Tensor) and place.data_ptr() != value.data_ptr():
                place.copy_(value)


def record(step: Step) -> Step:
    """Record a step. It is taken meanwhile, so the first replay is left out."""
    recorder = _Recorder()
    with recorder:
        step()
    names = {str(call[0]) for call in recorder.calls}
    assert "aten._local_scalar_dense.default" not in names, "the step asks the device for a number"
    replays = iter(range(10**9))

    def replay() -> None:
        if next(replays) > 0:
            with torch.no_grad():
                _replay(recorder.calls)

    return replay


RECORDING = Capture(lambda step: step, record)
RECORDED = StepMode("recorded operations", None, RECORDING)
PLAIN = StepMode("plain steps", None, None)


@pytest.fixture
def images() -> Subsets:
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)


def trainer(architecture: str, images: Subsets, *modes: StepMode) -> StackedTrainer:
    members = members_of(architecture, 2)
    return StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU, modes=modes or None)


def assert_equal(first: StackedTrainer, other: StackedTrainer) -> None:
    for name, parameter in first.parameters.items():
        torch.testing.assert_close(other.parameters[name], parameter, rtol=1e-9, atol=1e-11)
    assert first.nonfinite_steps == other.nonfinite_steps


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_replayed_steps_equal_steps(images, architecture):
    plain, replayed = trainer(architecture, images), trainer(architecture, images, RECORDED)
    plain.advance(0, STEPS)
    for first, steps in ((0, 2), (2, 3), (5, 10), (15, 2)):  # a slice ends within warm-up, another within a chunk
        replayed.advance(first, steps)
    assert_equal(plain, replayed)


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_steps_with_products_of_patches_equal_steps(images, backend):
    plain, patched = trainer("cnn", images), trainer("cnn", images, StepMode("patches", backend, None, patches=True))
    for each in (plain, patched):
        each.advance(0, 7)
    assert patched.step_mode == "stacked, patches"
    assert_equal(plain, patched)


def test_a_member_that_becomes_nan_in_a_replayed_step_is_noted_with_its_step(images):
    sick = trainer("mlp", images, RECORDED)
    sick.advance(0, 11)
    with torch.no_grad():
        sick.parameters["encoder.0.weight"][3] = torch.nan
    sick.advance(11, STEPS - 11)
    assert sick.nonfinite_steps == (None, None, None, 11, None, None, None)


def test_replayed_steps_go_on_from_a_state(images):
    plain, first, second = trainer("mlp", images), trainer("mlp", images, RECORDED), trainer("mlp", images, RECORDED)
    plain.advance(0, STEPS)
    first.advance(0, 13)
    second.advance(0, 5)  # has recorded a step, whose optimizer state is then replaced
    second.load_state(first.state())
    second.advance(13, STEPS - 13)
    assert_equal(plain, second)


def test_a_recording_that_ignored_a_buffer_would_be_seen(images):
    """Positive control: a step that reads a number of the host replays that number for ever."""
    wrong = trainer("mlp", images, RECORDED)
    step = wrong._step
    frozen = iter(range(10**9))

    def hosted() -> None:
        wrong._at.fill_(next(frozen))
        step()

    wrong._take = Replayed(hosted, RECORDING)
    wrong.advance(0, STEPS)
    plain = trainer("mlp", images)
    plain.advance(0, STEPS)
    assert not torch.allclose(plain.parameters["encoder.0.weight"], wrong.parameters["encoder.0.weight"])


def test_the_first_steps_are_warm_up_then_one_is_recorded():
    seen: list[str] = []

    def noting(word: str, step: Step) -> Step:
        def noted() -> None:
            seen.append(word)
            step()

        return noted

    def fake_record(step: Step) -> Step:
        seen.append("record")
        return noting("replay", step)

    taken: list[int] = []
    replayed = Replayed(lambda: taken.append(1), Capture(lambda step: noting("warm-up", step), fake_record))
    for _ in range(WARM_UP_STEPS + 2):
        replayed()
    assert seen == ["warm-up"] * WARM_UP_STEPS + ["record", "replay", "replay"]
    assert len(taken) == WARM_UP_STEPS + 2


def broken(_: Step) -> Step:
    raise RuntimeError("operation not permitted when stream is capturing")


def full(_: Step) -> Step:
    raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def no_compiler(*_: object) -> Callable[..., object]:
    raise RuntimeError("no C compiler")


@pytest.mark.parametrize(
    "unusable",
    [
        StepMode("a graph", None, Capture(lambda step: step, broken)),
        StepMode("compiled", no_compiler, None),  # type: ignore[arg-type]  # torch.compile takes functions too
    ],
)
def test_a_mode_that_cannot_be_used_is_left_with_a_warning_and_no_step_is_lost(images, unusable, caplog):
    plain, other = trainer("mlp", images), trainer("mlp", images, unusable, RECORDED)
    plain.advance(0, STEPS)
    with caplog.at_level(logging.WARNING):
        other.advance(0, STEPS)
    assert_equal(plain, other)
    assert len(caplog.records) == 1
    assert unusable.name in caplog.text


def test_too_little_memory_is_no_reason_for_a_slower_way(images):
    other = trainer("mlp", images, StepMode("a graph", None, Capture(lambda step: step, full)), PLAIN)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        other.advance(0, STEPS)


def test_the_last_mode_fails_loudly(images):
    with pytest.raises(RuntimeError, match="capturing"):
        trainer("mlp", images, StepMode("a graph", None, Capture(lambda step: step, broken))).advance(0, STEPS)


@pytest.mark.slow
def test_many_packs_in_one_process_can_be_compiled(images):
    """The compiler gives up on a function after eight versions of it, unless it is told to forget."""
    mode = StepMode("compiled", "aot_eager", RECORDING)
    for _ in range(10):
        trainer("mlp", images, mode).advance(0, WARM_UP_STEPS)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # PyTorch's compiler itself
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_compiled_and_replayed_steps_equal_steps(images, architecture):
    """The compiler of a GPU's path, with its CPU part; ordinary operations between compiled ones are recorded."""
    plain = trainer(architecture, images)
    compiled = trainer(architecture, images, StepMode("compiled", "inductor", None))
    for stacked in (plain, compiled):
        stacked.advance(0, STEPS)
    assert_equal(plain, compiled)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # PyTorch's compiler itself, in some versions
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_on_a_gpu_the_fastest_mode_works_and_equals_plain_steps(images, architecture, caplog):
    members, cuda = members_of(architecture, 2), torch.device("cuda")
    fast, plain = (
        StackedTrainer(members, images.train, image_shape=images.image_shape, device=cuda, modes=modes)
        for modes in (None, (PLAIN,))
    )
    for stacked in (fast, plain):
        stacked.advance(0, STEPS)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]  # its compiler says more
    assert_equal(plain, fast)
