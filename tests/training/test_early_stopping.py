"""Early stopping: the validation subset comes out of test, and the best weights are kept beside the last."""

import dataclasses

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.planning.packs import Pack
from rdstudy.study import Evaluation, Member, Recipe
from rdstudy.training import Finished, Subsets, make_subsets
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.state import TrainingState
from rdstudy.training.trainer import Measured
from tests.training.conftest import IMAGES, MEMBER, TRAIN, Slot, finish, toy_dataset

CPU = torch.device("cpu")
VALIDATION = 7
EVALUATION = Evaluation(trajectory_points=11, trajectory_images=13, validation_images=VALIDATION)
# Overfits at once: few images, many steps.
STOPPED = dataclasses.replace(
    MEMBER, beta=0.01, recipe=Recipe(steps=401, batch_size=5, learning_rate=1e-2), evaluation=EVALUATION
)


def subsets_of(evaluation: Evaluation) -> Subsets:
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, evaluation, study_seed=0)


def train(*members: Member, slot: Slot | None = None, stop_after: int | None = None) -> Finished | None:
    return finish(Pack(members), subsets_of(members[0].evaluation), slot or Slot(), stop_after)


def rows_by_subset(*members: Member) -> dict[str, dict]:
    finished = train(*members)
    assert finished is not None
    return {row["subset"]: row for row in finished.members if row["member_id"] == members[0].member_id}


@pytest.fixture(scope="module")
def stopped() -> dict[str, dict]:
    """The rows of `STOPPED`, trained without an interruption."""
    return rows_by_subset(STOPPED)


def test_the_validation_subset_comes_out_of_test_and_never_out_of_train():
    plain, carved = subsets_of(MEMBER.evaluation), subsets_of(EVALUATION)
    test, validation = (set(carved.whole[name].index) for name in ("test", "validation"))
    assert len(validation) == VALIDATION
    assert not test & validation
    assert test | validation == set(plain.whole["test"].index)
    assert set(carved.whole["train"].index) == set(plain.whole["train"].index)
    assert len(carved.trajectory["validation"]) == VALIDATION
    assert "validation" not in plain.whole


@pytest.mark.parametrize("images", [IMAGES - TRAIN, IMAGES])
def test_a_validation_subset_that_leaves_no_test_image_is_refused(images):
    allowed = f"evaluation.validation_images is {images}; allowed: fewer than the 18 images of the test subset"
    with pytest.raises(ValueError, match=allowed):
        subsets_of(Evaluation(validation_images=images))


def test_stopped_values_are_those_of_the_step_with_the_least_validation_objective(stopped):
    assert set(stopped) == {"train", "test", "validation"}
    stop_step = stopped["test"]["stop_step"]
    assert 1 < stop_step < 401, "this member overfits: it stops early"
    shorter = dataclasses.replace(
        STOPPED, recipe=dataclasses.replace(STOPPED.recipe, steps=stop_step), evaluation=MEMBER.evaluation
    )
    trainer = SequentialTrainer(shorter, subsets_of(EVALUATION).train, image_shape=(3, 4, 4), device=CPU)
    trainer.advance(0, stop_step)
    for name, sample in subsets_of(EVALUATION).final.items():
        expected = trainer.measure(sample.blocks(), purpose=f"final {name}")
        assert stopped[name]["stop_distortion"] == pytest.approx(expected.distortion[0], rel=1e-6)
        assert stopped[name]["stop_rate"] == pytest.approx(expected.rate[0], rel=1e-6)
    assert stopped["test"]["stop_distortion"] < stopped["test"]["distortion"]


def test_last_values_do_not_depend_on_early_stopping(stopped):
    plain = rows_by_subset(
        dataclasses.replace(STOPPED, evaluation=dataclasses.replace(EVALUATION, validation_images=0))
    )
    assert plain["train"]["distortion"] == stopped["train"]["distortion"]
    assert "stop_step" not in plain["train"]


def test_a_member_whose_last_step_is_the_best_has_the_same_values_twice():
    rows = rows_by_subset(dataclasses.replace(STOPPED, recipe=Recipe(steps=1, batch_size=5)))
    assert rows["test"]["stop_step"] == 1
    assert rows["test"]["stop_distortion"] == rows["test"]["distortion"]


@pytest.mark.parametrize("stop_after", [3, 9])
def test_resumed_equals_uninterrupted(stopped, stop_after):
    slot = Slot()
    assert train(STOPPED, slot=slot, stop_after=stop_after) is None
    resumed = train(STOPPED, slot=slot)
    assert resumed is not None
    values = ("subset", "distortion", "rate", "stop_step", "stop_distortion", "stop_rate")
    assert [[row[name] for name in values] for row in resumed.members] == [
        [row[name] for name in values] for row in stopped.values()
    ]


@pytest.mark.usefixtures("float64")
def test_a_pack_stops_its_members_one_by_one():
    members = tuple(
        dataclasses.replace(STOPPED, beta=beta, seed=seed, recipe=dataclasses.replace(STOPPED.recipe, steps=151))
        for beta, seed in ((0.01, 3), (3.0, 2), (0.3, 3))
    )
    together = train(*members)
    assert together is not None
    steps = {}
    for member in members:
        alone = rows_by_subset(member)
        for row in together.members:
            if row["member_id"] == member.member_id:
                steps[member] = row["stop_step"]
                for name in ("stop_step", "stop_distortion", "stop_rate", "distortion"):
                    assert row[name] == pytest.approx(alone[row["subset"]][name], rel=1e-8), name
    assert len(set(steps.values())) > 1, "members stop at different steps, or the test above says little"


def test_kept_weights_of_a_stack_are_those_of_the_chosen_members():
    members = tuple(dataclasses.replace(STOPPED, seed=seed) for seed in (2, 3, 5))
    subsets = subsets_of(EVALUATION)
    trainer = StackedTrainer(members, subsets.train, image_shape=subsets.image_shape, device=CPU)
    trainer.keep([True, True, True])
    first = trainer.measure(subsets.final["test"].blocks(), purpose="p")
    trainer.advance(0, 17)
    trainer.keep([False, True, False])
    now = trainer.measure(subsets.final["test"].blocks(), purpose="p")
    kept = trainer.measure(subsets.final["test"].blocks(), purpose="p", kept=True)
    assert kept.distortion == (first.distortion[0], now.distortion[1], first.distortion[2])
    assert now.distortion[0] != first.distortion[0]


def test_values_that_are_not_finite_are_never_the_best():
    state = TrainingState()
    for step, distortion in ((1, np.nan), (2, 3.0), (3, 1.0), (4, np.nan), (5, 2.0)):
        state.trajectory.append((step, "validation", Measured((distortion, 1.0), (0.5, float(step)))))
        state.trajectory.append((step, "test", Measured((0.0, 0.0), (0.0, 0.0))))
    assert state.stop_steps((1.0, 2.0)) == [3, 1]
    assert TrainingState().stop_steps((1.0,)) is None
