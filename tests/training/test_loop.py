"""The same bits in any company, order and process, interrupted or not; and failures are rows."""

import dataclasses
import io
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from rdstudy.planning.packs import Pack
from rdstudy.study import Evaluation, Recipe, Resources
from rdstudy.training import Finished, Progress, train_pack
from rdstudy.training.loop import peak_memory_bytes, trajectory_steps
from rdstudy.training.process import training_settings
from rdstudy.training.sequential import SequentialTrainer
from tests.training.conftest import MEMBER, Slot

CPU = torch.device("cpu")


def numbers(finished: Finished) -> list[tuple[float, float]]:
    rows = finished.members + finished.trajectories
    return [(row["distortion"], row["rate"]) for row in rows]


def test_rows_hold_settings_values_and_their_number_of_images(train):
    finished = train()
    assert [row["subset"] for row in finished.members] == ["train", "test"]
    for row in finished.members:
        assert row["member_id"] == MEMBER.member_id
        assert (row["beta"], row["seed"], row["steps"], row["outcome"]) == (0.7, 3, 67, "ok")
        assert row["elbo"] == -(row["distortion"] + row["rate"])
        assert row["distortion"] > row["distortion_floor"] > 0
        assert row["images"] == row["subset_images"] == {"train": 23, "test": 18}[row["subset"]]
    steps = trajectory_steps(67, 7)
    assert [(row["step"], row["subset"]) for row in finished.trajectories] == [
        (step, subset) for step in steps for subset in ("train", "test")
    ]
    assert {row["images"] for row in finished.trajectories} == {13}


def test_rows_hold_the_memory_of_the_process(train):
    peaks = {row["peak_memory_bytes"] for row in train().members}
    assert len(peaks) == 1
    (peak,) = peaks
    assert 50 * 2**20 < peak <= peak_memory_bytes(CPU)


def test_the_memory_of_a_gpu_is_that_of_its_tensors(monkeypatch):
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7 if device.type == "cuda" else 0)
    assert peak_memory_bytes(torch.device("cuda")) == 7


def test_training_lowers_the_objective(train):
    recipe = Recipe(steps=1_100, batch_size=5, learning_rate=1e-2)
    rows = [row for row in train(recipe=recipe).trajectories if row["subset"] == "train"]
    loss = [row["distortion"] - row["distortion_floor"] + MEMBER.beta * row["rate"] for row in rows]
    assert loss[-1] < 0.75 * loss[0]


def test_same_settings_give_the_same_bits_and_others_do_not(train):
    assert numbers(train()) == numbers(train())
    assert numbers(train()) != numbers(train(seed=4))
    assert numbers(train()) != numbers(train(beta=0.6))


def test_members_of_one_seed_start_alike_and_read_the_same_batches_and_noise(subsets):
    trainers = [
        SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
        for member in (MEMBER, dataclasses.replace(MEMBER, beta=3.0))
    ]
    for first, second in zip(*(trainer.vae.parameters() for trainer in trainers), strict=True):
        assert torch.equal(first, second)
    first = [trainer.measure([subsets.train], purpose="test") for trainer in trainers]
    assert first[0] == first[1]


@pytest.mark.parametrize(("architecture", "stop_after"), [("mlp", 1), ("mlp", 5), ("cnn", 3)])
def test_resumed_equals_uninterrupted(train, subsets, architecture, stop_after):
    settings = {"architecture": architecture, "depth": 2, "width": 3}
    whole = train(**settings)
    slot = Slot()
    member = MEMBER.from_dict({**MEMBER.to_dict(), **settings})
    events = train_pack(
        Pack((member,)), subsets, device=CPU, checkpoint=slot, resources=Resources(checkpoint_seconds=0.0)
    )
    for _ in range(stop_after):
        assert isinstance(next(events), Progress)
    body = slot.body  # as after SIGKILL: what was saved by time, not by an orderly end
    killed = Slot()
    killed.body = body
    resumed = train(slot=killed, **settings)
    assert numbers(resumed) == numbers(whole)
    events.close()
    closed = Slot()
    closed.body = slot.body
    assert numbers(train(slot=closed, **settings)) == numbers(whole)


def test_a_resumed_member_does_not_train_its_first_steps_again(train, subsets, monkeypatch):
    slot = Slot()
    events = train_pack(
        Pack((MEMBER,)), subsets, device=CPU, checkpoint=slot, resources=Resources(checkpoint_seconds=0.0)
    )
    for _ in range(6):
        done = next(events)
    assert isinstance(done, Progress)
    first_steps: list[int] = []
    advance = SequentialTrainer.advance

    def watched(self: SequentialTrainer, first_step: int, steps: int) -> None:
        first_steps.append(first_step)
        advance(self, first_step, steps)

    monkeypatch.setattr(SequentialTrainer, "advance", watched)
    train(slot=slot)
    assert min(first_steps) == done.steps > 0


def saved(checkpoint: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"PK\x03\x04 half a file", saved({"other keys": 3, "step": 5})])
def test_a_checkpoint_that_cannot_be_used_is_a_warning_and_a_fresh_start(train, caplog, body):
    slot = Slot()
    slot.body = body
    assert numbers(train(slot=slot)) == numbers(train())
    assert "cannot be used" in caplog.text


def test_a_checkpoint_of_other_shapes_is_a_fresh_start(train, caplog, subsets):
    slot = Slot()
    other = MEMBER.from_dict({**MEMBER.to_dict(), "width": 13})
    events = train_pack(
        Pack((other,)), subsets, device=CPU, checkpoint=slot, resources=Resources(checkpoint_seconds=0.0)
    )
    next(events)
    assert numbers(train(slot=slot)) == numbers(train())
    assert "cannot be used" in caplog.text


def test_the_checkpoint_is_deleted_only_after_the_rows_were_taken(subsets):
    slot = Slot()
    events = train_pack(
        Pack((MEMBER,)), subsets, device=CPU, checkpoint=slot, resources=Resources(checkpoint_seconds=0.0)
    )
    for event in events:
        if isinstance(event, Finished):
            assert slot.body is not None
    assert slot.body is None


def test_another_process_gives_the_same_bits(train, tmp_path):
    script = tmp_path / "train_one.py"
    script.write_text(
        "import json, torch\n"
        "from tests.training import conftest as c\n"
        "from rdstudy.training import train_pack, make_subsets\n"
        "from rdstudy.planning.packs import Pack\n"
        "from rdstudy.study import Resources\n"
        "from rdstudy.datasets.splits import Split\n"
        "import numpy as np\n"
        "split = Split(np.arange(c.TRAIN), np.arange(c.TRAIN, c.IMAGES))\n"
        "subsets = make_subsets(c.toy_dataset(), split, c.MEMBER.evaluation, study_seed=0)\n"
        "torch.manual_seed(999)\n"
        "*_, last = train_pack(Pack((c.MEMBER,)), subsets, device=torch.device('cpu'), checkpoint=c.Slot(),"
        " resources=Resources(checkpoint_seconds=1e9))\n"
        "print(json.dumps([(r['distortion'], r['rate']) for r in last.members + last.trajectories]))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, env=_environment())
    assert [tuple(pair) for pair in json.loads(done.stdout)] == numbers(train())


def _environment() -> dict[str, str]:
    import os
    from pathlib import Path

    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}


def test_a_member_that_explodes_is_a_row_with_its_step_and_no_number(train):
    finished = train(recipe=Recipe(steps=67, batch_size=5, learning_rate=1e18))
    for row in finished.members:
        assert row["outcome"] == "nonfinite"
        assert 0 < row["nonfinite_step"] < 67
        assert str(row["nonfinite_step"]) in row["reason"]
        assert "distortion" not in row


@pytest.mark.parametrize(("steps", "points"), [(1, 1), (1, 9), (7, 40), (257_000, 40), (100, 1)])
def test_trajectory_steps_are_distinct_ascending_and_end_with_the_last(steps, points):
    chosen = trajectory_steps(steps, points)
    assert len(chosen) <= points
    assert list(chosen) == sorted(set(chosen))
    assert chosen[-1] == steps
    assert chosen[0] >= 1


def test_half_of_many_trajectory_steps_are_even_so_that_the_end_of_training_is_seen():
    chosen = trajectory_steps(16_000, 40)
    assert set(range(800, 16_001, 800)) <= set(chosen)
    assert 12_000 in chosen
    late = [later / earlier for earlier, later in itertools.pairwise(chosen) if later > 8_000]
    assert max(late) <= 1.1 + 1e-9
    assert sum(step < 800 for step in chosen) >= 10  # and the beginning, where the most happens
    assert trajectory_steps(157, 7) == tuple(int(step) for step in np.rint(np.geomspace(1, 157, 7)))


def test_evaluation_settings_do_not_change_what_is_learned(train):
    few = train(evaluation=Evaluation(trajectory_points=2, trajectory_images=13))
    assert [(r["distortion"], r["rate"]) for r in few.members] == numbers(train())[:2]


def test_the_rest_of_the_process_keeps_its_threads_and_its_denormals(subsets):
    threads = torch.get_num_threads()
    events = train_pack(
        Pack((MEMBER,)), subsets, device=CPU, checkpoint=Slot(), resources=Resources(checkpoint_seconds=1e9)
    )
    for _ in events:
        assert torch.get_num_threads() == threads
        assert 5e-324 * 1.0 > 0.0
        assert (torch.tensor([5e-324], dtype=torch.float64) * 1.0).item() > 0.0
    with training_settings():
        assert torch.get_num_threads() == 1
        assert (torch.tensor([5e-324], dtype=torch.float64) * 1.0).item() == 0.0


def test_the_bits_do_not_depend_on_the_threads_of_the_process(train):
    threads = torch.get_num_threads()
    alone = numbers(train())
    try:
        torch.set_num_threads(threads + 2)
        assert numbers(train()) == alone
    finally:
        torch.set_num_threads(threads)
