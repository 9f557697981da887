"""Settings as the page shows them: what None means is said of each setting, and nothing looks like code."""

import dataclasses

import pytest

from rdstudy.report.read import _said
from rdstudy.study import Evaluation, Measures, Recipe, Resources
from rdstudy.study.settings import MEANINGS
from tests.report.conftest import Simulation

GROUPS = {"recipe": Recipe, "evaluation": Evaluation, "measures": Measures, "resources": Resources}
OF_NONE = {f"{group}.{each.name}" for group, kind in GROUPS.items() for each in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("evaluation.final_images", None, "all"),
        ("measures.annealing", None, "off"),
        ("resources.price", None, "none given"),
        ("resources.devices", None, "all there are"),
        ("resources.gpu_memory_gib", None, "automatic, that of the GPU"),
        ("resources.gpus", "auto", "automatic, the largest share of a GPU that is of use to a pack"),
        ("resources.gpus", 0.5, "0.5"),
        ("recipe.of_a_later_version", None, "off"),
        ("resources.keep_weights", False, "off"),
        ("resources.keep_weights", True, "on"),
        ("evaluation.validation_images", 0, "0, no early stopping"),
        ("recipe.steps", 257_000, "257,000"),
        ("measures.names", ["rate_parts", "probe"], "rate_parts, probe"),
        ("measures.names", [], "none"),
        ("measures.annealing", {"beta": [1], "seed": [0, 1]}, "beta: 1; seed: 0, 1"),
    ],
)
def test_a_setting_says_what_its_value_means(setting, value, words):
    assert _said(setting, value) == words


def test_every_setting_that_may_be_none_says_what_that_means():
    optional = {
        f"{group}.{each.name}"
        for group, kind in GROUPS.items()
        for each in dataclasses.fields(kind)
        if "None" in str(each.type)
    }
    assert optional
    assert {setting for setting, value in MEANINGS if value is None} == optional
    assert {setting for setting, _ in MEANINGS} <= OF_NONE


def test_no_setting_of_a_study_is_called_automatic_where_it_is_off(simulate):
    study = simulate(Simulation())
    shown = {(group.name, name): value for group in study.settings for name, value in group.values}
    assert shown["measures", "annealing"] == "off"
    assert shown["resources", "price"] == "none given"
    automatic = {key for key, value in shown.items() if "automatic" in value}
    assert automatic == {("resources", name) for name in ("pack size", "gpu model", "gpu memory gib")}
    assert not any(word in value for value in shown.values() for word in ("None", "True", "False", "[", "{"))
