"""The contract of the rows of a store, the same in a local folder and in a bucket."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdstudy.results import schema
from rdstudy.results.files import Files
from rdstudy.results.rows import new_run_id
from rdstudy.results.snapshot import neighbours_key
from rdstudy.results.store import Store
from rdstudy.results.tables import from_parquet
from rdstudy.study import Measures, Member
from tests.results.stores import KEY, folder, measured, near, set_aside, truncate, write


def test_what_is_written_is_read_in_a_fixed_order_with_all_columns(store):
    for member in ("b", "a", "c"):
        write(store, member)
    members = store.snapshot().table("members")
    assert members.schema.equals(schema.MEMBERS)
    pairs = [(row["member_id"], row["subset"]) for row in members.to_pylist()]
    assert pairs == [(member, subset) for member in "abc" for subset in ("test", "train")]
    assert store.snapshot().table("trajectories")["step"].to_pylist() == [1, 5] * 3
    assert store.snapshot().outcomes() == {"a": "ok", "b": "ok", "c": "ok"}


def test_an_empty_store_has_empty_tables(store):
    assert store.snapshot().table("members").num_rows == store.snapshot().table("trajectories").num_rows == 0
    assert store.snapshot().outcomes() == {}
    assert store.declarations.names() == []


def test_a_member_trained_twice_is_read_once_and_always_the_same(store):
    write(store, "a", distortion=2.0, minute=2)
    write(store, "a", distortion=1.0, minute=1)
    assert store.snapshot().table("members")["distortion"].to_pylist() == [1.0, 1.0]
    assert store.snapshot().table("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


def test_a_later_success_takes_the_place_of_a_failure(store):
    write(store, "a", outcome="failed", distortion=9.0, minute=0)
    write(store, "a", outcome="ok", distortion=1.0, minute=5)
    assert store.snapshot().outcomes() == {"a": "ok"}
    assert store.snapshot().table("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


def test_rows_of_a_run_that_was_killed_before_its_members_were_stored_are_not_read(store, monkeypatch):
    real = Files.write

    def killed(self: Files, name: str, content: bytes) -> None:
        if name.startswith("members/"):
            raise KeyboardInterrupt
        real(self, name, content)

    monkeypatch.setattr(Files, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        write(store, "a", distortion=7.0)
    monkeypatch.undo()
    assert store.snapshot().table("trajectories").num_rows == 0
    write(store, "a", distortion=1.0)
    assert store.snapshot().table("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


def test_a_kill_while_writing_leaves_no_half_file(store, monkeypatch):
    class Killed:
        """A bucket that a process dies at before it has sent a file."""

        def __init__(self, fs):
            self._fs = fs

        def __getattr__(self, name):
            if name == "open_output_stream":
                raise KeyboardInterrupt
            return getattr(self._fs, name)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if store._files._fs.type_name == "local":
            patch.setattr("rdstudy.whole_files.os.replace", killed)
        else:
            patch.setattr(store._files, "_fs", Killed(store._files._fs))
        with pytest.raises(KeyboardInterrupt):
            write(store, "a")
    assert list(store.snapshot().damaged.values()) == []
    assert store.snapshot().outcomes() == {}
    assert folder(store, "tmp") == []


def test_an_unknown_column_or_table_is_refused_before_anything_is_written(store):
    with pytest.raises(ValueError, match=r"no column \['distorsion'\]; allowed: member_id, run_id"):
        store.rows.write_run(new_run_id(), {"members": [{"member_id": "a", "distorsion": 1.0}]})
    with pytest.raises(KeyError):
        store.rows.write_run(new_run_id(), {"nonsense": []})
    assert store.snapshot().outcomes() == {}


def test_a_table_of_an_older_version_reads_with_nulls(store):
    write(store, "a")
    (name,) = store._files.names("members", ".parquet")
    old = pq.read_table(io.BytesIO(store._files.read(name))).drop_columns(["distortion_floor", "host"])
    pq.write_table(old.replace_schema_metadata(), sink := io.BytesIO())
    store._files.write(name, sink.getvalue())
    write(store, "b")
    members = store.snapshot().table("members").to_pylist()
    assert [row["member_id"] for row in members] == ["a", "a", "b", "b"]
    assert members[0]["host"] is None
    assert members[0]["distortion"] == 1.0


@pytest.mark.parametrize(("table", "keep"), [("members", 0), ("trajectories", 3), ("members", 200)])
def test_a_truncated_file_is_named_set_aside_with_its_run_and_costs_no_other_row(store, table, keep):
    run_id = write(store, "a")
    write(store, "b")
    truncate(store, f"{table}/{run_id}.parquet", keep)
    assert store.snapshot().outcomes() == ({"b": "ok"} if table == "members" else {"a": "ok", "b": "ok"})
    (aside,) = set_aside(store)
    assert aside.path == store._files.path(f"{table}/{run_id}.parquet")
    assert aside.reason
    assert store.snapshot().outcomes() == {"b": "ok"}  # a run is read whole or not at all
    assert len(store._files.read(f"{table}/{run_id}.parquet.damaged")) == keep
    assert list(store.snapshot().damaged.values()) == []
    write(store, "a")
    assert store.snapshot().outcomes() == {"a": "ok", "b": "ok"}
    assert store.snapshot().table("trajectories").num_rows == 4


def test_what_was_measured_later_and_is_damaged_is_measured_again(store):
    run_id = write(store, "a")
    measured(store, "a", run_id)
    (name,) = store._files.names("probes", ".parquet")
    truncate(store, name, 9)
    assert store.snapshot().unmeasured("m") == {}
    set_aside(store)
    assert store.snapshot().unmeasured("m") == {"a": None}
    assert store.snapshot().outcomes() == {"a": "ok"}


def test_two_who_set_aside_at_the_same_time_do_not_disturb_each_other(store):
    run_id = write(store, "a")
    truncate(store, f"members/{run_id}.parquet", 3)
    both_see = store.snapshot()
    assert set_aside(Store(store.uri)) == list(both_see.damaged.values())
    assert store.rows.set_aside_damaged(both_see).table("members").num_rows == 0
    assert store.snapshot().table("members").num_rows == 0


def test_many_writers_at_once_lose_no_row(store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda member: write(Store.open(store.uri), f"{member:04}"), range(17)))
    snapshot = store.snapshot()
    assert sorted(snapshot.outcomes()) == [f"{member:04}" for member in range(17)]
    assert snapshot.table("trajectories").num_rows == 34
    assert snapshot.damaged == {}
    assert folder(store, "tmp") == []


def test_what_is_measured_later_belongs_to_the_run_that_trained_the_member(store):
    run_id = write(store, "a")
    measured(store, "a", run_id)
    measured(store, "a", "another run", value=9.0)
    measured(store, "never trained", run_id, value=9.0)
    assert store.snapshot().table("measures")["log_marginal"].to_pylist() == [1.0, 1.0]
    assert store.snapshot().table("probes")["image"].to_pylist() == [3, 5]


def test_a_measuring_that_was_cut_off_and_done_again_is_read_once(store):
    run_id = write(store, "a")
    common = {"member_id": "a", "run_id": run_id, "measures_id": "m"}
    store.rows.write_measured({"probes": [{**common, "image": 3, "in_train": True, "log_marginal": 1.0}]})
    measured(store, "a", run_id)
    measured(store, "a", run_id)
    assert len(store.snapshot().table("probes")) == 2
    assert len(store.snapshot().table("measures")) == 2


def test_numbers_image_by_image_are_read_with_their_rows(store):
    run_id = write(store, "a")
    common = {"member_id": "a", "run_id": run_id, "subset": "test", "measures_id": "m"}
    store.rows.write_measured({"measures": [{**common, "image_elbo": [1.0, 2.0, 5.0]}, {**common, "subset": "train"}]})
    assert store.snapshot().table("measures")["image_elbo"].to_pylist() == [[1.0, 2.0, 5.0], None]


def test_members_that_lack_measures_are_told_with_the_run_that_kept_their_weights(store):
    runs = {member: write(store, member) for member in "abc"}
    write(store, "bad", outcome="nonfinite")
    store.blobs.write_weights(runs["a"], "a", b"weights of a")
    store.blobs.write_weights("another run", "b", b"weights of b")
    assert store.snapshot().unmeasured("m") == {"a": runs["a"], "b": None, "c": None}
    measured(store, "a", runs["a"])
    assert store.snapshot().unmeasured("m") == {"b": None, "c": None}
    assert store.snapshot().unmeasured("other settings") == {"a": runs["a"], "b": None, "c": None}
    assert store.blobs.read_weights(runs["a"], "a").content == b"weights of a"


def test_neighbours_are_kept_by_all_that_they_depend_on_and_know_the_hard_example(store):
    assert store.rows.hard_image(KEY) is None
    store.rows.write_neighbours(KEY, near(3, 5, hard=5))
    store.rows.write_neighbours(KEY, near(3, 5, hard=5))
    assert store.rows.hard_image(KEY) == 5
    for field in ("dataset", "split"):
        renamed: dict[str, Any] = {field: "cv(77)"}
        assert store.rows.hard_image(replace(KEY, **renamed)) is None
    for field in ("study_seed", "validation_images", "neighbour_images", "reconstruction_images"):
        changes: dict[str, Any] = {field: 77}
        other = replace(KEY, **changes)
        assert store.rows.hard_image(other) is None
        store.rows.write_neighbours(other, near(3, 5, hard=3))
        assert (store.rows.hard_image(other), store.rows.hard_image(KEY)) == (3, 5)
    assert len(store.snapshot().table("neighbours")) == 2 * 5


def test_neighbours_that_are_damaged_or_of_another_split_are_as_if_there_were_none(store):
    store.rows.write_neighbours(KEY, near(3, 5, hard=5))
    truncate(store, KEY.name, 99)
    assert store.rows.hard_image(KEY) is None
    store.rows.write_neighbours(KEY, near(3, 5, hard=5))
    other = replace(KEY, split="cv(9)")
    store._files.write(other.name, store._files.read(KEY.name))
    assert store.rows.hard_image(other) is None


def test_a_member_s_split_without_neighbours_is_told_unless_an_earlier_version_found_them(store):
    member, measures = Member("shapes", "cv(7)", 1.0, 0), Measures()
    key = neighbours_key(member, measures)
    assert store.snapshot().without_neighbours([member, replace(member, seed=1)], measures) == [
        (key, [member, replace(member, seed=1)])
    ]
    store._files.write("neighbours/shapes-cv-7--0.parquet", b"of an earlier version")
    assert store.snapshot().without_neighbours([member], measures) == []
    store._files.delete("neighbours/shapes-cv-7--0.parquet")
    store.rows.write_neighbours(key, near(3, hard=3))
    assert store.snapshot().without_neighbours([member], measures) == []


@pytest.mark.parametrize("table", ["members", "trajectories"])
def test_a_copy_of_a_file_doubles_no_row_and_is_named_once(store, table):
    run_id = write(store, "a")
    write(store, "b")
    rows = store.snapshot().table(table)
    content = store._files.read(f"{table}/{run_id}.parquet")
    copy = f"{table}/{run_id} (Anna's conflicted copy).parquet"
    store._files.write(copy, content)
    store._files.write(f"{table}/.{run_id}.parquet", b"of a file manager")
    assert store.snapshot().table(table).equals(rows)
    assert store.snapshot().copies == [store._files.path(copy)]
    assert set_aside(store) == []
    store._files.delete(f"{table}/{run_id}.parquet")  # a client that renames: the copy is all that there is
    assert store.snapshot().table(table).equals(rows)


@pytest.mark.parametrize("table", ["members", "trajectories", "measures", "probes"])
def test_a_copy_of_a_file_goes_with_its_run_when_that_is_damaged(store, table):
    """Else a member would count as stored, by the copy, whose other rows are set aside."""
    kept, lost = write(store, "a"), write(store, "b")
    for member, run in (("a", kept), ("b", lost)):
        measured(store, member, run)
    names = [f"{table}/{entry}" for entry in folder(store, table)]
    (name,) = (name for name in names if store._files.read(name) and lost in _runs_of(store, name))
    store._files.write(name.replace(".parquet", " (copy).parquet"), store._files.read(name))
    damaged = name.replace(table, "probes" if table in ("measures", "probes") else "trajectories", 1)
    truncate(store, damaged, 90)
    assert [bad.path for bad in set_aside(store)] == [store._files.path(damaged)]
    after = store.snapshot()
    assert after.copies == []
    assert after.table(table)["member_id"].unique().to_pylist() == ["a"]
    measured_now = set(after.unmeasured("m"))
    assert measured_now == ({"b"} if table in ("measures", "probes") else set())


def _runs_of(store: Store, name: str) -> list[str]:
    table = from_parquet(name.partition("/")[0], store._files.read(name), path=name)
    assert isinstance(table, pa.Table)
    return [str(run) for run in table["run_id"].to_pylist()]


@pytest.mark.parametrize("table", ["measures", "probes"])
def test_two_files_that_are_exchanged_are_both_made_again(store, table):
    """Each would be set aside, or lost, with the other's run."""
    for member in "ab":
        measured(store, member, write(store, member))
    first, second = (f"{table}/{entry}" for entry in folder(store, table))
    contents = store._files.read(first), store._files.read(second)
    store._files.write(first, contents[1])
    store._files.write(second, contents[0])
    damaged = set_aside(store)
    assert {bad.path for bad in damaged} == {store._files.path(name) for name in (first, second)}
    assert all("was written as" in bad.reason for bad in damaged)
    assert store.snapshot().unmeasured("m").keys() == {"a", "b"}


@pytest.mark.parametrize("table", ["members", "trajectories"])
def test_a_file_with_the_rows_of_another_run_is_damaged_and_both_are_made_again(store, table):
    runs = [write(store, member) for member in "ab"]
    names = [f"{table}/{run}.parquet" for run in runs]
    contents = [store._files.read(name) for name in names]
    store._files.write(names[0], contents[1])
    store._files.write(names[1], b"what was there is lost")
    assert {bad.path for bad in set_aside(store)} == {store._files.path(name) for name in names}
    assert store.snapshot().outcomes() == store.rows.outcomes() == {}


def test_copies_of_neighbours_and_examples_double_no_row(store):
    store.rows.write_neighbours(KEY, near(3, 5, hard=5))
    store.rows.write_examples("shapes", [{"dataset": "shapes", "image": 3, "pixels": b"3"}])
    for name in (KEY.name, "examples/shapes.parquet"):
        store._files.write(name.replace(".parquet", " (2).parquet"), store._files.read(name))
    assert len(store.snapshot().table("neighbours")) == 2
    assert len(store.snapshot().table("examples")) == 1
    assert len(store.snapshot().copies) == 2


def test_files_of_other_tables_and_types_are_damaged_and_cost_no_other_row(store):
    write(store, "a")
    measured(store, "a", write(store, "b"))
    sources = {table: store._files.read(store._files.names(table, ".parquet")[0]) for table in ("members", "probes")}
    foreign = {
        f"{table}/{new_run_id()}.parquet": content
        for table in schema.TABLES
        for source, content in sources.items()
        if source != table
    }
    tables = [
        {"member_id": [1], "run_id": ["r"], "subset": ["test"], "outcome": ["ok"]},
        {"member_id": ["a"], "run_id": [None], "subset": ["test"], "outcome": ["ok"]},
        {"member_id": ["a"], "run_id": ["r"], "subset": ["test"], "outcome": ["splendid"]},
        {"member_id": ["a"], "run_id": ["r"], "subset": ["test"], "outcome": ["ok"], "distortion": ["far"]},
        {"price": [7.0]},
    ]
    for rows in tables:
        pq.write_table(pa.table(rows), sink := io.BytesIO())
        foreign[f"members/{new_run_id()}.parquet"] = sink.getvalue()
    before = store.snapshot()
    for name, content in foreign.items():
        store._files.write(name, content)
    among = store.snapshot()
    assert {bad.path for bad in list(among.damaged.values())} == {store._files.path(name) for name in foreign}
    assert all(among.table(table).equals(before.table(table)) for table in schema.TABLES)
    set_aside(store)
    after = store.snapshot()
    assert list(after.damaged.values()) == []
    assert all(after.table(table).equals(before.table(table)) for table in schema.TABLES)


def test_a_folder_in_place_of_a_file_is_damaged_and_is_set_aside(tmp_path):
    store = Store.create(str(tmp_path / "out"))
    write(store, "a")
    path = tmp_path / "out/members" / f"{new_run_id()}.parquet"
    path.mkdir()
    assert [bad.path for bad in set_aside(store)] == [str(path)]
    assert (path.exists(), list(store.snapshot().damaged.values()), store.snapshot().outcomes()) == (
        False,
        [],
        {"a": "ok"},
    )
