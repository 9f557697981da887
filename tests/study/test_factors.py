"""One table of settings: what is written elsewhere by hand agrees with it."""

import dataclasses
import hashlib
import json

import pytest

from rdstudy.results import schema
from rdstudy.study import FACTORS, NUMERICS_VERSION, Cell, Evaluation, Member, Recipe
from rdstudy.study.factors import CELL_FACTORS, NOTHING, SETTINGS

MEMBER = Member("tetrominoes", "cv(16384)", beta=1.0, seed=3)
IN_EVERY_ID = {
    *("dataset", "split", "architecture", "depth", "width", "latent_dim", "likelihood", "objective", "beta", "seed"),
    *("study_seed", "optimizer", "learning_rate", "batch_size", "steps"),
    *("trajectory_points", "trajectory_images", "final_images"),
}


def test_the_fields_of_a_member_are_the_settings_of_the_table():
    def fields(kind: type) -> dict[str, dataclasses.Field]:
        return {field.name: field for field in dataclasses.fields(kind)}

    of_part = {"": fields(Member), "recipe": fields(Recipe), "evaluation": fields(Evaluation)}
    for part, of_kind in of_part.items():
        assert {setting.name for setting in SETTINGS if setting.holder == part} == of_kind.keys() - of_part.keys()
    for setting in SETTINGS:
        field = of_part[setting.holder][setting.name]
        assert field.default == (dataclasses.MISSING if setting.default is NOTHING else setting.default), setting.name
        assert setting.kind.__name__ in str(field.type), setting.name


def test_a_cell_is_a_member_without_beta_and_seed():
    names = {field.name for kind in (Cell, Recipe) for field in dataclasses.fields(kind)}
    assert names >= set(CELL_FACTORS)
    first, second = (dataclasses.replace(MEMBER, beta=beta, seed=seed) for beta, seed in ((0.1, 2), (5.0, 7)))
    assert first.cell == second.cell
    assert type(first.cell) is Cell
    assert first.cell != MEMBER
    assert not hasattr(first.cell, "beta")
    for field in dataclasses.fields(Cell):
        assert getattr(first.cell, field.name) == getattr(first, field.name)


def test_whatever_came_later_says_what_members_before_it_had():
    """A setting that is in no id of old must not move them: its line in the table has `before`."""
    assert {setting.name for setting in SETTINGS if setting.before is NOTHING} == IN_EVERY_ID


def test_later_settings_are_left_out_of_an_id_at_their_value_of_before():
    settings = {"numerics": NUMERICS_VERSION, **MEMBER.to_dict()}
    for setting in SETTINGS:
        if setting.before is not NOTHING:
            del (settings[setting.holder] if setting.holder else settings)[setting.name]
    assert MEMBER.member_id == hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("changed", "member_id"),
    [
        ({}, "ee9bb95ca1c204c2"),
        ({"architecture": "cnn", "width": 64}, "2548cc0879e89049"),
        ({"architecture": "linear", "width": 1, "likelihood": "gaussian"}, "4b7ade4bbc4a4f76"),
        ({"objective": "no_marginal_kl"}, "bc7ce41355ab1679"),
        ({"recipe": Recipe(schedule="cosine", initialization="he")}, "c58db0af1e441474"),
        ({"evaluation": Evaluation(validation_images=1024)}, "5f65a9fa0d253c8b"),
    ],
)
def test_ids_of_every_kind_of_member_are_those_of_old(changed, member_id):
    assert dataclasses.replace(MEMBER, **changed).member_id == member_id


def test_tables_have_a_column_for_each_setting():
    columns = {column.name: column.type for column in schema.MEMBERS}
    assert {setting.name for setting in SETTINGS} <= columns.keys()
    assert list(columns)[3:18] == [setting.name for setting in SETTINGS if not setting.appended]
    assert str(columns["final_images"]) == "int64"
    assert str(columns["learning_rate"]) == "double"


def test_every_factor_has_words_for_a_page():
    for name, factor in FACTORS.items():
        assert factor.plural
        assert str(7) in factor.label(7), name
