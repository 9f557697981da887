"""Every setting of a study does something: one that nothing reads would be a promise that nobody keeps."""

import ast
import dataclasses
import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.planning.packs import Pack
from rdstudy.study import Evaluation, Measures, Recipe, Resources
from rdstudy.training import Finished, make_subsets, train_pack
from tests.training.conftest import IMAGES, MEMBER, TRAIN, Slot, toy_dataset

CPU = torch.device("cpu")
WORKING_ROOMS = ("training", "measuring", "running")
OTHER_RECIPE: dict[str, Any] = {
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "weight_decay": 0.03,
    "batch_size": 7,
    "steps": 29,
    "schedule": "cosine",
    "initialization": "he",
    "precision": "tf32",
}
OTHER_EVALUATION: dict[str, Any] = {
    "trajectory_points": 5,
    "trajectory_images": 11,
    "final_images": 7,
    "validation_images": 3,
}


def attributes_read() -> set[str]:
    """Names that stand behind a dot where members are trained and measured."""
    spec = importlib.util.find_spec("rdstudy")
    assert spec is not None
    (package,) = map(Path, spec.submodule_search_locations or ())
    files = [file for room in WORKING_ROOMS for file in (package / room).rglob("*.py")]
    nodes: Iterable[ast.AST] = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


@pytest.mark.parametrize("kind", [Recipe, Evaluation, Measures])
def test_every_setting_is_read_where_members_are_trained_and_measured(kind):
    assert {field.name for field in dataclasses.fields(kind)} <= attributes_read()


def values(recipe: Recipe, evaluation: Evaluation) -> str:
    """Everything that one member's training tells, but times."""
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    *_, finished = train_pack(
        Pack((dataclasses.replace(MEMBER, recipe=recipe, evaluation=evaluation),)),
        make_subsets(toy_dataset(), split, evaluation, study_seed=0),
        device=CPU,
        checkpoint=Slot(),
        resources=Resources(checkpoint_seconds=1e9),
    )
    assert isinstance(finished, Finished)
    columns = ("subset", "step", "images", "distortion", "rate", "stop_step")
    return str([[row.get(name) for name in columns] for row in (*finished.members, *finished.trajectories)])


def test_every_setting_of_training_changes_what_it_tells():
    recipe, evaluation = dataclasses.replace(MEMBER.recipe, steps=23), MEMBER.evaluation
    assert OTHER_RECIPE.keys() == {field.name for field in dataclasses.fields(Recipe)}
    assert OTHER_EVALUATION.keys() == {field.name for field in dataclasses.fields(Evaluation)}
    all_values = [
        values(recipe, evaluation),
        *(values(dataclasses.replace(recipe, **{name: value}), evaluation) for name, value in OTHER_RECIPE.items()),
        *(values(recipe, dataclasses.replace(evaluation, **{name: value})) for name, value in OTHER_EVALUATION.items()),
    ]
    assert len(set(all_values)) == 1 + len(OTHER_RECIPE) + len(OTHER_EVALUATION)
