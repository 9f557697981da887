"""The contract of the store, the same in a local folder and in a bucket."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest

from rdstudy.results import schema
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.files import Files
from rdstudy.results.store import Store, new_run_id


@pytest.fixture
def store(uri: str) -> Store:
    return Store.create(uri)


def truncate(store: Store, name: str, size: int) -> None:
    """What a disk or a copy may do to a file."""
    store._files.write(name, store._files.read(name)[:size])


def folder(store: Store, name: str) -> list[str]:
    return sorted(entry.base_name for entry in store._files.inside(name))


def write(store: Store, member: str, *, distortion: float = 1.0, outcome: str = "ok", minute: int = 0) -> str:
    run_id = new_run_id()
    common = {"member_id": member, "run_id": run_id}
    row = {**common, "outcome": outcome, "finished_at": datetime(2026, 1, 2, 3, minute, tzinfo=UTC)}
    store.write_run(
        run_id,
        {
            "members": [{**row, "subset": name, "distortion": distortion} for name in ("train", "test")],
            "trajectories": [{**common, "subset": "test", "step": step, "distortion": distortion} for step in (1, 5)],
        },
    )
    return run_id


def test_what_is_written_is_read_in_a_fixed_order_with_all_columns(store):
    for member in ("b", "a", "c"):
        write(store, member)
    members = store.read("members")
    assert members.schema.equals(schema.MEMBERS)
    pairs = [(row["member_id"], row["subset"]) for row in members.to_pylist()]
    assert pairs == [(member, subset) for member in "abc" for subset in ("test", "train")]
    assert store.read("trajectories")["step"].to_pylist() == [1, 5] * 3
    assert store.outcomes() == {"a": "ok", "b": "ok", "c": "ok"}


def test_a_store_is_known_by_one_identity_and_another_by_another(store, uri):
    known = store.identity()
    assert known
    assert Store.create(uri).identity() == Store.open(uri).identity() == known
    store._files.write("store.json", b'{"format": "rdstudy results", "version": 1}')  # of an earlier version
    assert Store.open(uri).identity() == ""
    assert Store.create(uri).identity() not in ("", known)
    store._files.delete("store.json")
    with pytest.raises(FileNotFoundError):
        store.identity()


def test_an_empty_store_has_empty_tables(store):
    assert store.read("members").num_rows == store.read("trajectories").num_rows == 0
    assert store.outcomes() == {}
    assert store.studies() == []


def test_a_member_trained_twice_is_read_once_and_always_the_same(store):
    write(store, "a", distortion=2.0, minute=2)
    write(store, "a", distortion=1.0, minute=1)
    assert store.read("members")["distortion"].to_pylist() == [1.0, 1.0]
    assert store.read("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


def test_a_later_success_takes_the_place_of_a_failure(store):
    write(store, "a", outcome="failed", distortion=9.0, minute=0)
    write(store, "a", outcome="ok", distortion=1.0, minute=5)
    assert store.outcomes() == {"a": "ok"}
    assert store.read("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


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
    assert store.read("trajectories").num_rows == 0
    write(store, "a", distortion=1.0)
    assert store.read("trajectories")["distortion"].to_pylist() == [1.0, 1.0]


def test_a_kill_while_writing_leaves_no_half_file(store, monkeypatch):
    class Killed:
        """A file system whose process dies before a file is moved into place, in a bucket before it is sent."""

        def __init__(self, fs):
            self._fs = fs

        def __getattr__(self, name):
            if name == ("move" if self._fs.type_name == "local" else "open_output_stream"):
                raise KeyboardInterrupt
            return getattr(self._fs, name)

    with monkeypatch.context() as patch:
        patch.setattr(store._files, "_fs", Killed(store._files._fs))
        with pytest.raises(KeyboardInterrupt):
            write(store, "a")
    assert store.damaged() == []
    assert store.outcomes() == {}
    assert folder(store, "tmp") == []


def test_an_unknown_column_or_table_is_refused_before_anything_is_written(store):
    with pytest.raises(ValueError, match=r"no column \['distorsion'\]; allowed: member_id, run_id"):
        store.write_run(new_run_id(), {"members": [{"member_id": "a", "distorsion": 1.0}]})
    with pytest.raises(KeyError):
        store.write_run(new_run_id(), {"nonsense": []})
    assert store.outcomes() == {}


def test_a_table_of_an_older_version_reads_with_nulls(store):
    write(store, "a")
    (name,) = store._files.names("members", ".parquet")
    old = pq.read_table(io.BytesIO(store._files.read(name))).drop_columns(["distortion_floor", "host"])
    pq.write_table(old, sink := io.BytesIO())
    store._files.write(name, sink.getvalue())
    write(store, "b")
    members = store.read("members").to_pylist()
    assert [row["member_id"] for row in members] == ["a", "a", "b", "b"]
    assert members[0]["host"] is None
    assert members[0]["distortion"] == 1.0


@pytest.mark.parametrize("keep", [0, 3, 200])
@pytest.mark.parametrize("table", ["members", "trajectories"])
def test_a_truncated_file_is_named_set_aside_with_its_run_and_costs_no_other_row(store, table, keep):
    run_id = write(store, "a")
    write(store, "b")
    truncate(store, f"{table}/{run_id}.parquet", keep)
    assert store.outcomes() == ({"b": "ok"} if table == "members" else {"a": "ok", "b": "ok"})
    (aside,) = store.set_aside_damaged()
    assert aside.path == store._files.path(f"{table}/{run_id}.parquet")
    assert aside.reason
    assert store.outcomes() == {"b": "ok"}  # a run is read whole or not at all
    assert len(store._files.read(f"{table}/{run_id}.parquet.damaged")) == keep
    assert store.damaged() == []
    write(store, "a")
    assert store.outcomes() == {"a": "ok", "b": "ok"}
    assert store.read("trajectories").num_rows == 4


def test_what_was_measured_later_and_is_damaged_is_measured_again(store):
    run_id = write(store, "a")
    measured(store, "a", run_id)
    (name,) = store._files.names("probes", ".parquet")
    truncate(store, name, 9)
    assert store.unmeasured("m") == {}
    store.set_aside_damaged()
    assert store.unmeasured("m") == {"a": None}
    assert store.outcomes() == {"a": "ok"}


def test_two_who_set_aside_at_the_same_time_do_not_disturb_each_other(store, monkeypatch):
    run_id = write(store, "a")
    truncate(store, f"members/{run_id}.parquet", 3)
    bad = store.damaged()
    assert Store(store.uri).set_aside_damaged() == bad
    monkeypatch.setattr(store, "damaged", lambda: bad)
    assert store.set_aside_damaged() == bad
    assert store.read("members").num_rows == 0


def test_many_writers_at_once_lose_no_row(store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda member: write(Store.open(store.uri), f"{member:04}"), range(48)))
    assert sorted(store.outcomes()) == [f"{member:04}" for member in range(48)]
    assert store.read("trajectories").num_rows == 96
    assert store.damaged() == []
    assert folder(store, "tmp") == []


def test_more_files_than_one_answer_of_a_bucket_lists(store):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: store._files.write(f"weights/{number}.bin", b""), range(1_003)))
    assert len(store._files.names("weights", ".bin")) == 1_003


def test_a_folder_that_is_something_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ValueError, match="no results folder; allowed"):
        Store.create(str(tmp_path / "photos"))
    with pytest.raises(ValueError, match="is a file"):
        Store.create(str(tmp_path / "file"))
    with pytest.raises(ValueError, match="cannot be written"):
        Store.create(str(tmp_path / "file" / "below"))
    with pytest.raises(ValueError, match=r"no store\.json"):
        Store.open(str(tmp_path / "photos"))
    with pytest.raises(ValueError, match=r"no store\.json"):
        Store.open(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="cannot be opened"):
        Store.create("nonsense://bucket/path")
    assert [path.name for path in (tmp_path / "photos").iterdir()] == ["cat.png"]
    assert not (tmp_path / "nowhere").exists()


def test_a_place_with_something_else_in_it_is_refused(uri):
    files = Files(uri)
    files.write("photos/cat.png", b"cat")
    assert Store.exists(uri)
    with pytest.raises(ValueError, match="no results folder; allowed"):
        Store.create(uri)
    with pytest.raises(ValueError, match=r"no store\.json"):
        Store.open(uri)
    assert {entry.base_name for entry in files.inside("")} - {"tmp"} == {"photos"}
    files.delete("photos/cat.png")
    files.delete_folder("photos")  # a bucket keeps a mark of an empty folder
    Store.create(uri)
    assert Store.open(uri).studies() == []


def test_a_place_where_nothing_is_is_told_from_a_store(uri):
    assert not Store.exists(uri)
    with pytest.raises(ValueError, match=r"no store\.json"):
        Store.open(uri)
    assert not Store.exists(uri)
    store = Store.create(uri)
    assert Store.exists(uri)
    assert Store.create(uri).location == Store.open(store.location).location


def test_declarations_are_kept_by_study(store):
    store.declare("quick", {"name": "quick", "β": 1})
    store.declare("quick", {"name": "quick", "β": 2})
    store.declare("other", {"name": "other"})
    assert store.studies() == ["other", "quick"]
    assert store.declaration("quick") == {"name": "quick", "β": 2}
    with pytest.raises(ValueError, match=r"'slow' is not in .*; allowed: other, quick"):
        store.declaration("slow")


def test_a_damaged_declaration_is_one_clear_line(store):
    store.declare("quick", {"name": "quick"})
    truncate(store, "studies/quick.json", 7)
    with pytest.raises(ValueError, match="is damaged"):
        store.declaration("quick")


def test_checkpoints_keep_two_and_fall_back_from_a_damaged_one(store):
    slot = Checkpoints(store, "unit")
    assert slot.load() is None
    for body in (b"one", b"two", b"three"):
        slot.save(body)
    assert store.checkpoint_names("unit") == [2, 3]
    assert slot.load() == b"three"
    truncate(store, "checkpoints/unit/3.bin", -2)
    assert slot.load() == b"two"
    slot.save(b"four")
    assert slot.load() == b"four"
    assert store.checkpoint_units() == ["unit"]
    slot.clear()
    assert slot.load() is None
    slot.clear()
    assert store.checkpoint_units() == []
    assert Checkpoints(store, "other").load() is None


# --- measures, weights and neighbours -------------------------------------------------------------------------------


def measured(store: Store, member: str, run_id: str, measures_id: str = "m", *, value: float = 1.0) -> None:
    common = {"member_id": member, "run_id": run_id, "measures_id": measures_id}
    tables = {
        "measures": [{**common, "subset": name, "log_marginal": value} for name in ("train", "test")],
        "probes": [{**common, "image": image, "log_marginal": value} for image in (3, 5)],
    }
    store.write_measured(tables)


def test_what_is_measured_later_belongs_to_the_run_that_trained_the_member(store):
    run_id = write(store, "a")
    measured(store, "a", run_id)
    measured(store, "a", "another run", value=9.0)
    measured(store, "never trained", run_id, value=9.0)
    assert store.read("measures")["log_marginal"].to_pylist() == [1.0, 1.0]
    assert store.read("probes")["image"].to_pylist() == [3, 5]


def test_a_measuring_that_was_cut_off_and_done_again_is_read_once(store):
    run_id = write(store, "a")
    common = {"member_id": "a", "run_id": run_id, "measures_id": "m"}
    store.write_measured({"probes": [{**common, "image": 3, "log_marginal": 1.0}]})
    measured(store, "a", run_id)
    measured(store, "a", run_id)
    assert len(store.read("probes")) == 2
    assert len(store.read("measures")) == 2


def test_numbers_image_by_image_are_read_with_their_rows(store):
    run_id = write(store, "a")
    common = {"member_id": "a", "run_id": run_id, "subset": "test", "measures_id": "m"}
    store.write_measured({"measures": [{**common, "image_elbo": [1.0, 2.0, 5.0]}, {**common, "subset": "train"}]})
    assert store.read("measures")["image_elbo"].to_pylist() == [[1.0, 2.0, 5.0], None]


def test_members_that_lack_measures_are_told_with_the_run_that_kept_their_weights(store):
    runs = {member: write(store, member) for member in "abc"}
    write(store, "bad", outcome="nonfinite")
    store.write_weights(runs["a"], "a", b"weights of a")
    store.write_weights("another run", "b", b"weights of b")
    assert store.unmeasured("m") == {"a": runs["a"], "b": None, "c": None}
    measured(store, "a", runs["a"])
    assert store.unmeasured("m") == {"b": None, "c": None}
    assert store.unmeasured("other settings") == {"a": runs["a"], "b": None, "c": None}
    assert store.read_weights(runs["a"], "a") == b"weights of a"


def test_neighbours_are_kept_by_split_and_know_the_hard_example(store):
    assert store.hard_image("shapes", "cv(7)", 0) is None
    rows = [{"dataset": "shapes", "split": "cv(7)", "image": image, "hard": image == 5} for image in (3, 5)]
    store.write_neighbours("shapes", "cv(7)", 0, rows)
    store.write_neighbours("shapes", "cv(7)", 0, rows)
    assert store.hard_image("shapes", "cv(7)", 0) == 5
    assert store.hard_image("shapes", "cv(77)", 0) is None
    assert len(store.read("neighbours")) == 2


# --- logs and data sets -----------------------------------------------------------------------------------------------


def test_logs_are_kept_by_study_in_the_order_of_their_starts(store):
    second = store.write_log("quick", "2026-11-23T12:48:01+00:00", "two")
    first = store.write_log("quick", "2026-11-23T09:00:00+00:00", "one")
    store.write_log("quick-2", "2026-11-23T10:00:00+00:00", "another study")
    store.write_log("quick", "2026-11-23T12:48:01+00:00", "two, and β\n")
    assert store.logs("quick") == [first, second]
    assert store.read_log(second) == "two, and β\n"
    assert store.logs("slow") == []


def test_files_of_a_data_set_are_kept_once_and_come_back(store, tmp_path, monkeypatch):
    assert store.dataset_files("faces-00") == []
    files = {"images.npy": tmp_path / "a", "about.json": tmp_path / "b"}
    content = bytes(range(256)) * 150_000  # more than one piece
    files["images.npy"].write_bytes(content)
    files["about.json"].write_bytes(b"{}")
    store.write_dataset("faces-00", files)
    assert store.dataset_files("faces-00") == ["about.json", "images.npy"]
    store.fetch_dataset_file("faces-00", "images.npy", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    truncate(store, "datasets/faces-00/about.json", 1)
    sent = []
    monkeypatch.setattr(Files, "upload", lambda _, file, name: sent.append((file, name)))
    store.write_dataset("faces-00", files)
    assert sent == [(tmp_path / "b", "datasets/faces-00/about.json")]
