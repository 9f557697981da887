"""Two runs in one store: the second is refused, waits, goes on in the first one's place, or trains what is left."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rdstudy.planning.packs import Pack
from rdstudy.planning.plan import Plan, declaration, make_plan
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.presence import Run, runs_at_work, this_run
from rdstudy.results.store import Store
from rdstudy.running.leftovers import remove_leftovers
from rdstudy.running.sharing import ids_of, left_to_others, share
from rdstudy.study import Experiment, Measures, Recipe, Study
from tests.results.stores import writing

GRID: dict[str, list[Any]] = {
    "dataset": ["gaussian"],
    "split": ["cv(64)"],
    "beta": [0.1, 1.0, 3.0],
    "seed": [0, 1],
    "width": [4],
}
STUDY = Study("shared", [Experiment("all", GRID)], recipe=Recipe(steps=3), measures=Measures(names=()))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store.create(str(tmp_path / "out"))


def plan(elsewhere=()) -> Plan:
    return make_plan(STUDY, {}, elsewhere=elsewhere)


def put(store: Store, run: Run) -> Run:
    run = replace(run, settled=True)
    store.blobs.write_run_entry(run.token, json.dumps(vars(run)))
    return run


def shared(
    store: Store, *, wait=False, force=False, sleep=lambda _: pytest.fail("it waited")
) -> tuple[Plan, list[str]]:
    said: list[str] = []
    shared_plan, _ = share(
        "shared",
        store,
        store.snapshot(),
        lambda _, elsewhere: plan(elsewhere),
        wait=wait,
        force=force,
        say=said.append,
        sleep=sleep,
    )
    return shared_plan, said


def test_a_run_alone_gets_all_and_says_nothing(store):
    assert shared(store) == (plan(), [])


def test_a_run_with_other_members_is_no_reason_to_wait(store):
    put(store, this_run("other", ["something else"]))
    assert shared(store) == (plan(), [])


def test_where_another_run_trains_all_that_remains_the_second_is_refused_and_told_who_it_is(store):
    put(store, replace(this_run("shared", ids_of(plan())), host="that-one", since="2026-01-02 03:04 UTC"))
    with pytest.raises(
        ValueError, match=r"on that-one \(process \d+, since 2026-01-02 03:04 UTC\) is at work on"
    ) as refused:
        shared(store)
    assert "the same 6 models; allowed: --follow to watch it, --wait" in str(refused.value)


def test_what_another_run_does_not_train_is_trained(store):
    ids = ids_of(plan())
    put(store, this_run("another study", ids[:2]))
    left, said = shared(store)
    assert set(ids_of(left)) == set(ids[2:])
    assert left_to_others(left) == set(ids[:2])
    assert left.wanted == plan().wanted
    assert any("2 models are left to the run of study 'another study'" in line for line in said)


def test_a_run_that_was_killed_here_is_in_nobody_s_way(store):
    put(store, replace(this_run("shared", ids_of(plan())), process_started="before this process"))
    assert shared(store)[0] == plan()
    assert store.blobs.run_tokens() == []


def test_a_run_that_fell_silent_elsewhere_is_in_nobody_s_way(store):
    put(store, replace(this_run("shared", ids_of(plan())), machine="another"))
    assert shared(store, sleep=lambda _: None)[0] == plan()
    assert store.blobs.run_tokens() == []


def test_to_wait_is_to_wait_until_the_other_has_ended(store):
    run = put(store, this_run("shared", ids_of(plan())))
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 5:
            store.blobs.delete_run(run.token)

    assert shared(store, wait=True, sleep=sleep)[0] == plan()
    assert len(slept) == 5


def test_force_goes_on_at_once_and_tells_the_other(store):
    run = put(store, this_run("shared", ids_of(plan())))
    assert shared(store, force=True)[0] == plan()
    assert runs_at_work(store) == []
    assert "the run of study 'shared'" in json.loads(store.blobs.read_run_entry(run.token))["taken_over_by"]


# --- what killed runs leave -------------------------------------------------------------------------------------------


def id_of_pack(*members) -> str:
    return Pack(members).pack_id


def left_behind(store: Store, pack_ids) -> None:
    for name in pack_ids:
        Checkpoints(store, name).save(writing(b"state"))
    store._files.write("tmp/half", b"half")


def test_leftovers_are_told_and_deleted_and_checkpoints_to_come_are_kept(store):
    members = plan().wanted
    kept = {id_of_pack(member) for member in members[1:]}
    left_behind(store, {*kept, id_of_pack(members[0]), "of nobody"})
    done = make_plan(STUDY, {members[0].member_id: "ok"})
    said: list[str] = []
    remove_leftovers(done, store, store.blobs.temporary_files(), said.append)
    assert set(store.blobs.checkpoint_packs()) == kept
    assert store.blobs.temporary_files() == []
    assert said == [
        "deleting what killed runs left: 1 half-written files and the checkpoints of 2 packs that nobody will train"
    ]
    said.clear()
    remove_leftovers(done, store, store.blobs.temporary_files(), said.append)
    assert said == []


def test_nothing_is_deleted_while_another_run_may_be_at_work(store):
    left_behind(store, {"of nobody"})
    for run in (this_run("other", []), replace(this_run("other", []), machine="another")):
        put(store, run)
        remove_leftovers(plan(), store, store.blobs.temporary_files(), pytest.fail)
        store.blobs.delete_run(run.token)
    put(store, replace(this_run("other", []), process_started="before this process"))
    remove_leftovers(plan(), store, store.blobs.temporary_files(), lambda _: None)
    assert store.blobs.checkpoint_packs() == store.blobs.temporary_files() == store.blobs.run_tokens() == []


def test_checkpoints_of_another_study_of_the_store_are_kept(store):
    grid = {**GRID, "seed": [7]}
    other = make_plan(replace(STUDY, name="other", experiments=[Experiment("others", grid)]), {})
    store.declarations.declare(declaration(other, "command"))
    left_behind(store, {id_of_pack(other.wanted[0]), "of nobody"})
    remove_leftovers(plan(), store, [], lambda _: None)
    assert store.blobs.checkpoint_packs() == [id_of_pack(other.wanted[0])]
    store._files.write("studies/other.json", b"garbage")  # then nobody knows what it may still train
    left_behind(store, {"of nobody"})
    remove_leftovers(plan(), store, [], lambda _: None)
    assert len(store.blobs.checkpoint_packs()) == 2
