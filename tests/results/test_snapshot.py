"""A snapshot: each file read once, each folder listed once, and every answer from what was read then."""

import collections

import pytest

from rdstudy.results import schema
from rdstudy.results.files import Files
from rdstudy.results.rows import new_run_id
from rdstudy.results.store import Store
from rdstudy.study import Member
from tests.results.stores import measured, truncate, write

MEMBER = Member("shapes", "cv(7)", 0.25, 3)


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> collections.Counter[tuple[str, str]]:
    """How often each file was read and each folder listed."""
    counter: collections.Counter[tuple[str, str]] = collections.Counter()
    for method in ("read", "inside"):
        real = getattr(Files, method)

        def counted(files: Files, name: str, method: str = method, real=real) -> object:
            counter[method, name] += 1
            return real(files, name)

        monkeypatch.setattr(Files, method, counted)
    return counter


def everything(store: Store) -> None:
    """A store with a file of each table."""
    for member in "abc":
        run = write(store, member)
        measured(store, member, run)
    store.rows.write_examples("shapes", [{"dataset": "shapes", "image": 3, "pixels": b"3"}])


def test_all_tables_and_every_question_cost_one_read_a_file_and_one_list_a_folder(store, counts):
    everything(store)
    counts.clear()
    snapshot = store.snapshot()
    assert len([name for kind, name in counts if kind == "read"]) == 3 * 4 + 1
    assert set(counts.values()) == {1}
    before = dict(counts)
    for table in schema.TABLES:
        snapshot.table(table)
    assert snapshot.outcomes() == {"a": "ok", "b": "ok", "c": "ok"}
    assert (snapshot.unmeasured("m"), snapshot.without_weights()) == ({}, {"a", "b", "c"})
    assert (snapshot.damaged, snapshot.copies) == ({}, [])
    assert counts == before


def test_a_snapshot_says_what_was_then(store):
    write(store, "a")
    snapshot = store.snapshot()
    write(store, "b")
    assert snapshot.outcomes() == {"a": "ok"}
    assert len(snapshot.table("trajectories")) == 2
    assert store.snapshot().outcomes() == {"a": "ok", "b": "ok"}


def test_some_tables_can_be_read_again_and_the_others_are_as_they_were(store, counts):
    everything(store)
    snapshot = store.snapshot()
    write(store, "d")
    store.rows.write_examples("other", [{"dataset": "other", "image": 5, "pixels": b"5"}])
    counts.clear()
    again = store.snapshot(("examples", "neighbours"), known=snapshot)
    assert {name.partition("/")[0] for _, name in counts} == {"examples", "neighbours"}
    assert again.has_examples("other")
    assert not snapshot.has_examples("other")
    assert again.outcomes() == snapshot.outcomes()


def test_a_table_that_was_not_read_is_no_empty_one(store):
    everything(store)
    snapshot = store.snapshot(("members",))
    assert len(snapshot.table("members")) == 6
    with pytest.raises(KeyError):
        snapshot.table("measures")


def test_no_member_is_read_without_the_rows_that_were_written_before_it(store, monkeypatch):
    """Another process stores a run between any two lists of folders: its rows are read whole or not at all."""
    listed = Files.inside

    def inside(files: Files, folder: str):
        entries = listed(files, folder)
        monkeypatch.setattr(Files, "inside", listed)
        measured(store, "late", write(store, "late"))
        return entries

    write(store, "a")
    monkeypatch.setattr(Files, "inside", inside)
    snapshot = store.snapshot()
    assert set(snapshot.table("trajectories")["member_id"].to_pylist()) == set(snapshot.outcomes()) == {"a"}
    assert len(snapshot.table("measures")) == len(snapshot.table("probes")) == 0
    assert store.snapshot().outcomes() == {"a": "ok", "late": "ok"}


def test_what_is_set_aside_is_out_of_the_snapshot_with_its_run(store):
    run = write(store, "a")
    write(store, "b")
    truncate(store, f"trajectories/{run}.parquet", 9)
    snapshot = store.snapshot()
    assert snapshot.outcomes() == {"a": "ok", "b": "ok"}
    usable = store.rows.set_aside_damaged(snapshot)
    assert usable.outcomes() == store.snapshot().outcomes() == {"b": "ok"}
    assert usable.damaged == {}
    assert len(usable.table("trajectories")) == 2


def test_examples_that_are_damaged_are_as_if_there_were_none(store):
    everything(store)
    truncate(store, "examples/shapes.parquet", 9)
    assert not store.snapshot().has_examples("shapes")


def test_members_whose_weights_are_not_kept_are_told(store):
    runs = {member: write(store, member) for member in "abc"}
    write(store, "bad", outcome="nonfinite")
    store.blobs.write_weights(runs["a"], "a", b"weights")
    store.blobs.write_weights("another run", "b", b"weights")
    assert store.snapshot().without_weights() == {"b", "c"}


# --- outcomes alone ---------------------------------------------------------------------------------------------


def test_the_outcomes_of_a_cell_cost_the_files_of_that_cell(store, counts):
    cell = MEMBER.cell_id
    for number, outcome in enumerate(("failed", "ok", "nonfinite")):
        store_row(store, new_run_id(cell), f"of the cell {number}", outcome)
    store_row(store, new_run_id(), "of another cell", "ok")
    counts.clear()
    expected = {"of the cell 0": "failed", "of the cell 1": "ok", "of the cell 2": "nonfinite"}
    assert store.rows.outcomes(cell) == expected
    assert len([name for kind, name in counts if kind == "read"]) == 3
    assert store.rows.outcomes() == expected | {"of another cell": "ok"}
    assert store.rows.outcomes() == store.snapshot().outcomes()


def store_row(store: Store, run_id: str, member: str, outcome: str) -> None:
    row = {"member_id": member, "run_id": run_id, "subset": "test", "outcome": outcome}
    store.rows.write_run(run_id, {"members": [row]})


def test_outcomes_are_asked_again_for_the_price_of_what_is_new(store, counts):
    for member in "abc":
        write(store, member)
    assert set(store.rows.outcomes()) == set("abc")
    write(store, "d")
    counts.clear()
    assert set(store.rows.outcomes()) == set("abcd")
    assert len([name for kind, name in counts if kind == "read"]) == 1
    store.snapshot()
    counts.clear()
    assert set(store.rows.outcomes()) == set("abcd")
    assert [kind for kind, _ in counts] == ["inside"]


@pytest.mark.parametrize("outcomes", [("failed", "ok"), ("ok", "failed"), ("nonfinite", "failed"), ("ok", "nonfinite")])
def test_of_two_runs_the_better_outcome_counts_everywhere(store, outcomes):
    for minute, outcome in enumerate(outcomes):
        write(store, "a", outcome=outcome, minute=minute)
    assert store.rows.outcomes() == store.snapshot().outcomes()


def test_a_file_that_was_damaged_has_no_outcome(store):
    run = write(store, "a")
    write(store, "b")
    truncate(store, f"members/{run}.parquet", 9)
    assert store.rows.outcomes() == {"b": "ok"}
    store.rows.set_aside_damaged(store.snapshot())
    write(store, "a")
    assert store.rows.outcomes() == {"a": "ok", "b": "ok"}


def test_a_run_s_id_begins_with_its_cell_and_no_two_are_equal():
    cell = MEMBER.cell_id
    ids = {new_run_id(cell) for _ in range(97)} | {new_run_id() for _ in range(97)}
    assert len(ids) == 2 * 97
    assert {len(each) for each in ids} == {32}
    assert sum(each.startswith(cell) for each in ids) == 97
