"""What a GPU asks of the loop, held on a CPU: a clock that waits, true float32, memory that is given back."""

import dataclasses
import gc
import time
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch

from rdstudy.planning.packs import Pack
from rdstudy.study import Resources
from rdstudy.training import loop
from rdstudy.training.process import training_settings
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.state import TrainingState
from tests.training.conftest import MEMBER, Slot, finish


def test_the_clock_stops_when_the_device_has_done_its_work(monkeypatch):
    """Work is only handed to a GPU inside the clock; waiting for its end is where the time goes."""
    waited = []

    def synchronize(device: Any) -> None:
        waited.append(device)
        time.sleep(0.05)

    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    state = TrainingState()
    for kind in ("cpu", "cuda"):
        trainer: Any = SimpleNamespace(device=SimpleNamespace(type=kind))
        with loop._at_work(trainer, state):
            pass
        assert len(waited) == (kind == "cuda")
    assert state.wall_seconds >= 0.05


def test_float32_is_float32_while_members_are_trained_and_measured():
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    try:
        products.allow_tf32 = convolutions.allow_tf32 = True
        with training_settings():
            assert (products.allow_tf32, convolutions.allow_tf32) == (False, False)
        assert (products.allow_tf32, convolutions.allow_tf32) == (True, True)
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def test_checkpoints_that_take_long_are_written_less_often(subsets, monkeypatch):
    waits: list[float] = []
    clock = SimpleNamespace(monotonic=lambda: sum(waits), perf_counter=time.perf_counter)
    monkeypatch.setattr(loop, "time", clock)

    class SlowSlot(Slot):
        def save(self, write: Callable[[Any], object]) -> None:
            super().save(write)
            waits.append(2)

    slow, fast = SlowSlot(), Slot()
    for slot in (slow, fast):
        events = loop.train_pack(
            Pack((MEMBER,)),
            subsets,
            device=torch.device("cpu"),
            checkpoint=slot,
            resources=Resources(checkpoint_seconds=1e-9),
        )
        signs = 0
        for signs, _ in enumerate(events):  # noqa: B007
            waits.append(1)  # a second from one sign of life to the next
        assert 2 < signs < 98
    assert slow.saves == 1, "the next one would be due 98 seconds later"
    assert fast.saves > 1


def test_rows_say_how_steps_were_taken(subsets):
    alone = finish(Pack((MEMBER,)), subsets, Slot())
    together = finish(Pack((MEMBER, dataclasses.replace(MEMBER, beta=3.0))), subsets, Slot())
    assert alone is not None
    assert together is not None
    assert {row["step_mode"] for row in alone.members} == {"alone"}
    assert {row["step_mode"] for row in together.members} == {"stacked, plain steps"}


def test_a_pack_that_has_ended_holds_nothing(subsets, monkeypatch):
    """No collection is needed: the next pack would begin beside what the last one held."""
    trainers: list[weakref.ref[StackedTrainer]] = []

    def make(*args: Any, **kwargs: Any) -> StackedTrainer:
        trainer = StackedTrainer(*args, **kwargs)
        trainers.append(weakref.ref(trainer))
        return trainer

    monkeypatch.setattr(loop, "StackedTrainer", make)
    members = tuple(dataclasses.replace(MEMBER, beta=beta) for beta in (0.1, 1.0))
    gc.collect()
    gc.disable()
    try:
        assert finish(Pack(members), subsets, Slot()) is not None
        assert finish(Pack(members), subsets, Slot(), stop_after=1) is None
        assert [trainer() for trainer in trainers] == [None, None]
    finally:
        gc.enable()
