"""What a study does not ask for any more is on its page and in its plan, and can be trained again."""

import dataclasses

import pytest

from rdstudy import retrain
from rdstudy.planning.describe import describe_unasked
from rdstudy.planning.plan import make_plan
from rdstudy.report.anonymous import Veil
from rdstudy.report.coverage import provenance
from rdstudy.report.notices import notices_of
from rdstudy.report.read import StudyTables, read_study
from rdstudy.results.rows import new_run_id
from rdstudy.results.standing import levels_of, unasked
from rdstudy.results.store import Store
from rdstudy.study import NUMERICS_VERSION, Recipe
from rdstudy.study.settings import Measures
from tests.commands.conftest import STORED
from tests.report.conftest import COMMAND, declaration
from tests.results.test_standing import changed

NOW = "python -m rdstudy.run studies/simulated.py --only now"


@pytest.fixture
def shrunk(store: Store) -> StudyTables:
    """The study after a depth was taken out of its grid."""
    store.declarations.declare(dataclasses.replace(declaration(changed(STORED.study(), depth=[3])), command=NOW))
    return read_study(store, "simulated")


def notice(study: StudyTables) -> tuple[str, str]:
    (each,) = [each for each in notices_of(study, provenance(study.members)) if "not lost" in each.text]
    return each.text, each.command


def test_the_page_says_what_it_does_not_show_and_how_to_get_it_back(shrunk, ids):
    assert set(shrunk.planned["member_id"]) == set(ids[4:])
    text, command = notice(shrunk)
    assert text == (
        "Not shown, and not lost: orphaned: 3 models that no experiment of the study asks for now; made by "
        "0.1.0+abc1234. To get them back:"
    )
    assert command == COMMAND


def test_an_anonymous_page_says_it_without_command_and_version(shrunk):
    text, command = notice(Veil.over([shrunk], places=["results"]).study(shrunk))
    assert "3 models" in text
    assert "abc1234" not in text + command
    assert "simulated" not in command
    assert "made by code 1" in text


def test_a_page_of_a_study_that_only_grew_has_no_such_notice(store):
    store.declarations.declare(declaration(changed(STORED.study(), depth=[1, 3, 5])))
    study = read_study(store, "simulated")
    assert study.unasked == ()


def test_a_plan_says_what_is_kept_new_stale_and_orphaned_in_80_columns(store):
    study = dataclasses.replace(changed(STORED.study(), depth=[3], seed=[0, 1, 2]), recipe=Recipe(steps=9_973))
    members = {m.member_id: m for m in study.experiments[0].members(study)}
    snapshot = store.snapshot(("members",))
    table = snapshot.table("members")
    groups = unasked(table, members, study.name, store.declarations.readable, levels=levels_of)
    plan = make_plan(study, snapshot.outcomes())
    lines = describe_unasked(plan, groups, out="my results", command=NOW)
    assert lines[0] == "kept: 4, new: 2, stale: 0, orphaned: 3"
    assert "  to get them back: git checkout " not in lines  # no commit is known
    assert f"  to get them back: {COMMAND}" in lines
    assert lines[-1] == "  each of them: rdstudy list 'my results' --study simulated --state stale --state orphaned"
    assert max(map(len, lines[:3])) <= 80


def test_a_model_that_no_study_asks_for_is_found_by_the_first_digits_and_trained_again(store):
    (member, *_) = changed(STORED.study(), depth=[7]).experiments[0].members(STORED.study())
    row = {**levels_of(member), "numerics_version": NUMERICS_VERSION, "outcome": "ok", "finished_at": None}
    run_id = new_run_id()
    rows = [{**row, "member_id": member.member_id, "run_id": run_id, "subset": name} for name in ("train", "test")]
    store.rows.write_run(run_id, {"members": rows})
    assert retrain._find(store, store.snapshot(), member.member_id[:10]) == (member, Measures(names=()))


def test_a_model_whose_rows_say_too_little_to_train_it_is_one_line(store, ids, capsys):
    store.declarations.declare(declaration(changed(STORED.study(), depth=[3])))
    assert retrain.main(["results", ids[0]]) == 2  # rows of a simulation say nothing of the evaluation
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: no study asks for model {ids[0]}, and its rows, of another version, do not say")
