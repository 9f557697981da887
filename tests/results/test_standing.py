"""Nothing drops out of sight: whatever a study does not ask for any more is stale or orphaned, and says why."""

import dataclasses
from typing import Any

import pyarrow as pa
import pytest

from rdstudy.results import schema
from rdstudy.results.declaration import Declaration
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.standing import Unasked, declared_levels, levels_of, unasked
from rdstudy.results.store import Store
from rdstudy.study import NUMERICS_VERSION, Experiment, Recipe, Study
from tests.report.conftest import Simulation, declaration

COMMAND = "python -m rdstudy.run studies/simulated.py"
NOW = "python -m rdstudy.run studies/simulated.py --set recipe.steps=5"
OLDER = f"numerics version 1, now {NUMERICS_VERSION}"  # as the rows of a simulation say
BEFORE = Simulation(betas=(0.1, 1.0), depths=(1, 3), seeds=2, versions=("0.1.0-gabcdef0", "0.1.0-gabcdef0", "0.1.0-f9"))


@pytest.fixture
def store(tmp_path) -> Store:
    """A store in which a study of eight members was trained."""
    return BEFORE.write(tmp_path / "results")


def found(store: Store, study: Study, *others: Declaration) -> list[Unasked]:
    snapshot: Snapshot = store.snapshot(("members",))
    wanted = {m.member_id: m for experiment in study.experiments for m in experiment.members(study)}
    declarations = store.declarations.readable() | {other.name: other for other in others}
    return unasked(snapshot.table("members"), wanted, study.name, lambda: declarations, levels=levels_of)


def changed(study: Study, **changes: Any) -> Study:
    """The study with other levels in its only grid."""
    (experiment,) = study.experiments
    grid = {**experiment.grid, **changes}
    return dataclasses.replace(study, experiments=[Experiment(experiment.name, grid)])


def test_what_a_study_asks_for_is_nothing_else(store):
    assert found(store, BEFORE.study()) == []


def test_other_settings_under_the_name_are_stale_and_the_former_command_gets_them_back(store):
    study = dataclasses.replace(BEFORE.study(), recipe=Recipe(steps=5))
    (stale,) = found(store, study)
    assert (stale.state, len(stale.member_ids)) == ("stale", 8)
    assert stale.why == f"{OLDER}; recipe.steps 9973, now 5"
    assert stale.code_versions == ("0.1.0-gabcdef0", "0.1.0-f9")
    assert stale.remedy("results", NOW) == f"git checkout abcdef0 && {COMMAND}"


def test_the_command_and_the_members_outlast_the_next_declarations(store):
    for steps in (5, 7):
        study = dataclasses.replace(BEFORE.study(), recipe=Recipe(steps=steps))
        store.declarations.declare(dataclasses.replace(declaration(study), command=NOW))
        (stale,) = found(store, study)
        assert (stale.command, len(stale.member_ids)) == (COMMAND, 8)
    store.declarations.declare(declaration(BEFORE.study()))
    assert found(store, BEFORE.study()) == []
    former = store.declarations.read("simulated").former
    assert [len(each.member_ids) for each in former] == [8, 8]  # of 5 and of 7 steps, which are not stored
    assert BEFORE.study().experiments[0].members(BEFORE.study())[0].member_id not in former[0].member_ids


def test_a_level_that_was_taken_out_leaves_orphans(store):
    study = changed(BEFORE.study(), depth=[1])
    (orphaned,) = found(store, study)
    assert (orphaned.state, orphaned.why, len(orphaned.member_ids)) == ("orphaned", "", 4)
    assert orphaned.sentence().startswith("orphaned: 4 models that no experiment of the study asks for now; made by ")
    again = dataclasses.replace(orphaned, is_trainable=True).remedy("my results", COMMAND)
    assert again == f"python -m rdstudy.retrain 'my results' {orphaned.member_ids[0]}"


def test_of_a_factor_that_the_grid_varies_another_level_is_no_other_setting(store):
    study = changed(BEFORE.study(), batch_size=[64, 256], depth=[1, 3])
    assert [each.state for each in found(store, study)] == ["orphaned"]
    one = changed(BEFORE.study(), batch_size=[64])
    assert [each.why for each in found(store, one)] == [f"{OLDER}; recipe.batch_size 128, now 64"]


def test_another_version_of_the_numerics_is_stale(store):
    study = BEFORE.study()
    rows = store.snapshot(("members",)).table("members").to_pylist()
    (member, *_) = study.experiments[0].members(study)
    old = [{**row, "member_id": "0" * 16} for row in rows if row["member_id"] == member.member_id]
    table = pa.Table.from_pylist(old, schema=schema.MEMBERS)
    (stale,) = unasked(table, {member.member_id: member}, study.name, dict, levels=levels_of)
    assert stale.why == OLDER
    assert not stale.is_trainable


def test_declarations_are_not_read_where_all_that_is_stored_is_asked_for(store):
    def read() -> dict[str, Declaration]:
        raise AssertionError("it takes seconds and gigabytes where members are many")

    study = BEFORE.study()
    wanted = {m.member_id: m for m in study.experiments[0].members(study)}
    members = store.snapshot(("members",)).table("members")
    assert unasked(members, wanted, study.name, read, levels=levels_of) == []
    with pytest.raises(AssertionError, match="it takes"):
        unasked(members, dict(list(wanted.items())[1:]), study.name, read, levels=levels_of)


def test_what_another_study_asks_for_or_has_asked_for_is_not_this_ones(store):
    mine = dataclasses.replace(changed(BEFORE.study(), beta=[0.5]), name="mine")
    assert found(store, mine) == []
    theirs = dataclasses.replace(declaration(changed(BEFORE.study(), depth=[3])), name="theirs")
    (orphaned,) = found(store, changed(BEFORE.study(), depth=[5]), theirs)
    assert len(orphaned.member_ids) == 4


def test_what_no_study_was_ever_known_to_ask_for_may_be_any_ones(store):
    study = changed(BEFORE.study(), depth=[5])
    store._files.delete("studies/simulated.json")
    (orphaned,) = found(store, study)
    assert (len(orphaned.member_ids), orphaned.command) == (8, "")


def test_a_declaration_says_the_same_of_a_member_as_the_member():
    study = BEFORE.study()
    for member in study.experiments[0].members(study)[:2]:
        assert declared_levels(member.to_dict()) == levels_of(member)
