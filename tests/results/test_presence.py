"""Who is at work in a store: what a second run makes of the first, alive or dead, here or elsewhere."""

import json
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from rdstudy.results import presence as presence_module
from rdstudy.results.files import Files
from rdstudy.results.presence import (
    BEAT_SECONDS,
    Run,
    is_alive,
    is_here_and_dead,
    overlapping,
    present,
    runs_at_work,
    take_over,
    this_run,
)
from rdstudy.results.store import FolderGoneError, Store
from tests.waiting import wait_until

LOOK_SECONDS = presence_module._LOOK_SECONDS  # as the program has it: other tests do without


@pytest.fixture(autouse=True)
def pause_between_looks(monkeypatch):
    monkeypatch.setattr(presence_module, "_LOOK_SECONDS", LOOK_SECONDS)


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(presence_module, "BEAT_SECONDS", 0.05)


def put(store: Store, run: Run) -> Run:
    store.blobs.write_run_entry(run.token, json.dumps(vars(run)))
    return run


def elsewhere(run: Run) -> Run:
    return replace(run, host="another", machine="another", settled=True)


def test_a_run_is_seen_while_it_is_at_work_and_not_after(store):
    run = this_run("quick", ["a", "b"])
    with present(store, run):
        (seen,) = runs_at_work(store)
        assert replace(seen, settled=False) == run
        assert is_alive(store, seen)
        assert overlapping([seen], ["b", "c"]) == [seen]
        assert overlapping([seen], ["c"]) == []
    assert runs_at_work(store) == []
    assert store.blobs.run_tokens() == []


def test_of_a_process_on_this_machine_its_end_is_seen_at_once(store):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    run = replace(this_run("quick", ["a"]), pid=child.pid, process_started=presence_module._process_started(child.pid))
    assert not is_here_and_dead(run)
    child.kill()
    wait_until(lambda: is_here_and_dead(run), "its end is seen")  # a zombie already, before its parent has asked for it
    child.wait()
    assert is_here_and_dead(run)
    assert not is_alive(store, run, sleep=lambda _: pytest.fail("it waited"))
    later = replace(this_run("quick", ["a"]), process_started="before this process")  # the number was given again
    assert is_here_and_dead(later)


def test_elsewhere_the_beat_tells_and_no_clock(store):
    run = put(store, elsewhere(this_run("quick", ["a"])))
    slept = []

    def beat_after(count):
        def sleep(seconds):
            slept.append(seconds)
            if len(slept) == count:
                store.blobs.write_beat(run.token, f"beat {len(slept)}")

        return sleep

    assert is_alive(store, run, sleep=beat_after(7))
    assert len(slept) == 7
    slept.clear()
    assert not is_alive(store, run, sleep=beat_after(10**6))
    assert 3 * BEAT_SECONDS < sum(slept) < 4 * BEAT_SECONDS
    assert not is_alive(
        store, run, sleep=lambda _: store.blobs.delete_run(run.token)
    )  # it ended while it was looked at


@pytest.mark.usefixtures("fast")
def test_a_beat_changes_and_survives_that_somebody_tidies_up(store):
    run = this_run("quick", ["a"])
    with present(store, run) as presence:
        before = store.blobs.read_beat(run.token)
        wait_until(lambda: store.blobs.read_beat(run.token) != before, "a beat came")
        store.blobs.delete_run(run.token)
        wait_until(lambda: runs_at_work(store), "it is on record again")
        assert presence.problem is None


@pytest.mark.usefixtures("fast")
def test_a_run_that_was_taken_over_says_so_and_is_seen_no_more(store):
    first, second = this_run("quick", ["a"]), replace(this_run("quick", ["a"]), host="that-one")
    with present(store, first) as presence:
        take_over(store, runs_at_work(store)[0], second)
        assert runs_at_work(store) == []
        wait_until(lambda: presence.problem, "there is a problem")
        assert "taken over by the run of study 'quick' on that-one" in str(presence.problem)


@pytest.mark.usefixtures("fast")
def test_a_run_that_is_taken_over_before_it_begins_gives_way_and_leaves_that_on_record(store, monkeypatch):
    first, second = this_run("quick", ["a"]), this_run("quick", ["a"])
    looks: list[float] = []

    def take_over_at_the_first_look(seconds):
        if not looks:
            take_over(store, first, second)
        looks.append(seconds)

    monkeypatch.setattr("rdstudy.results.presence.time.sleep", take_over_at_the_first_look)
    with (
        pytest.raises(ValueError, match=rf"process {second.pid}.*--force.*in the place of this run"),
        present(store, first),
    ):
        raise AssertionError("it went on, and both train the same members")
    assert runs_at_work(store) == []


@pytest.mark.usefixtures("fast")
def test_a_run_whose_folder_goes_says_so(store, uri):
    with present(store, this_run("quick", ["a"])) as presence:
        Files(uri).write("store.json", b'{"format": "rdstudy results", "version": 1, "id": "of another"}')
        wait_until(lambda: presence.problem, "there is a problem")
        assert isinstance(presence.problem, FolderGoneError)


def test_of_runs_that_begin_at_the_same_moment_one_goes_on(store):
    together, decided, outcomes = threading.Barrier(5), threading.Barrier(5, timeout=60), []

    def begin():
        run = this_run("quick", ["a"])
        together.wait()
        try:
            with present(store, run):
                outcomes.append("goes on")
                decided.wait()
        except ValueError as error:
            outcomes.append(str(error).partition(") is ")[2])
            decided.wait()

    threads = [threading.Thread(target=begin) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = "at work on the same models; allowed: --wait, --force, or another study"
    assert sorted(outcomes) == [refused] * 4 + ["goes on"]


def test_a_rival_whose_file_cannot_be_read_for_a_moment_is_not_overlooked(store, monkeypatch):
    rival = replace(this_run("quick", ["a"]), settled=True)
    store.blobs.write_run_entry(rival.token, "")  # as it looks while it is replaced

    def settle(_seconds):
        store.blobs.write_run_entry(rival.token, json.dumps(vars(rival)))

    monkeypatch.setattr("time.sleep", settle)
    with pytest.raises(ValueError, match="at work on the same models"), present(store, this_run("quick", ["a"])):
        pass


def test_runs_with_other_members_begin_side_by_side(store):
    with present(store, this_run("quick", ["a"])), present(store, this_run("mini", ["b"])):
        assert {run.study for run in runs_at_work(store)} == {"quick", "mini"}


@pytest.mark.parametrize("text", ["", "garbage", "[" * 100_000, "[]", "null", "{}", '{"token": 1, "member_ids": 2}'])
def test_a_file_that_is_no_run_is_nobody(store, text):
    store.blobs.write_run_entry("token", text)
    assert runs_at_work(store) == []
