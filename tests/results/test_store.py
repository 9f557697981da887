"""A results folder: what it is known by, what is refused, and what happens when it goes away."""

from collections.abc import Callable

import pytest

from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.declaration import Declaration
from rdstudy.results.files import Files, StorageError
from rdstudy.results.store import FolderGoneError, Store
from tests.results.stores import KEY, measured, near, write, writing


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


@pytest.mark.parametrize("uri", ["s3://", "s3:///folder", "s3://?region=x", "gs://"])
def test_a_uri_without_a_bucket_is_one_line(uri):
    for way in (Store.create, Store.open, Store.exists):
        with pytest.raises(ValueError, match=r"names no bucket|cannot be opened|cannot be read|cannot be written"):
            way(uri)


def test_a_place_with_something_else_in_it_is_refused(uri):
    files = Files(uri)
    files.make()
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
    assert Store.open(uri).declarations.names() == []


def test_a_place_where_nothing_is_is_told_from_a_store(uri):
    assert not Store.exists(uri)
    with pytest.raises(ValueError, match=r"no store\.json"):
        Store.open(uri)
    assert not Store.exists(uri)
    store = Store.create(uri)
    assert Store.exists(uri)
    assert Store.create(uri).location == Store.open(store.location).location


def test_files_of_a_file_manager_make_no_folder_one_of_something_else(uri):
    files = Files(uri)
    files.make()
    files.write(".DS_Store", b"macOS")
    assert Store.create(uri).declarations.names() == []


@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"null", b"{}", b'{"format": "another"}', b"\xff\xfe"])
def test_a_folder_of_another_program_is_one_line_and_is_not_written_to(uri, content):
    files = Files(uri)
    files.make()
    files.write("store.json", content)
    for way in (Store.open, Store.create):
        with pytest.raises(ValueError, match=r"store\.json is damaged, or of another program; allowed"):
            way(uri)
    assert files.read("store.json") == content
    assert {entry.base_name for entry in files.inside("")} - {"tmp"} == {"store.json"}


def test_a_folder_of_a_later_version_is_refused(uri):
    files = Files(uri)
    files.make()
    files.write("store.json", b'{"format": "rdstudy results", "version": 2, "id": "x"}')
    for way in (Store.open, Store.create):
        with pytest.raises(ValueError, match=r"the version in .*store\.json is 2; allowed: 1"):
            way(uri)


WAYS_TO_WRITE: dict[str, Callable[[Store], object]] = {
    "rows": lambda store: write(store, "b"),
    "measures": lambda store: measured(store, "a", "run"),
    "neighbours": lambda store: store.rows.write_neighbours(KEY, near(3, hard=3)),
    "examples": lambda store: store.rows.write_examples("shapes", []),
    "declaration": lambda store: store.declarations.declare(Declaration("quick", "Quick")),
    "weights": lambda store: store.blobs.write_weights("run", "a", b""),
    "log": lambda store: store.blobs.write_log("quick", "0", ""),
    "checkpoint": lambda store: Checkpoints(store, "pack").save(writing(b"state")),
    "entry of a run": lambda store: store.blobs.write_run_entry("token", "{}"),
    "beat": lambda store: store.blobs.write_beat("token", "1"),
}


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
def test_nothing_is_written_where_the_folder_is_gone_or_another_one(store, uri, way):
    write(store, "a")
    files = Files(uri)
    files.write("store.json", b'{"format": "rdstudy results", "version": 1, "id": "of another"}')
    with pytest.raises(FolderGoneError, match="is another one now: it was moved or deleted"):
        WAYS_TO_WRITE[way](store)
    for entry in files.inside(""):
        (files.delete if entry.is_file else files.delete_folder)(entry.base_name)
    with pytest.raises(FolderGoneError, match="is gone: it was moved or deleted"):
        WAYS_TO_WRITE[way](store)
    assert [entry.base_name for entry in files.inside("")] == []


def test_a_folder_that_goes_between_two_looks_is_not_made_again(tmp_path):
    files = Files(str(tmp_path / "out"))
    with pytest.raises(StorageError, match="No such file or directory"):
        files.write("members/a.parquet", b"rows")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_moved_can_be_gone_on_with_in_its_new_place(tmp_path):
    store = Store.create(str(tmp_path / "old"))
    write(store, "a")
    (tmp_path / "old").rename(tmp_path / "new")
    with pytest.raises(FolderGoneError):
        write(store, "b")
    moved = Store.create(str(tmp_path / "new"))
    write(moved, "b")
    assert moved.snapshot().outcomes() == {"a": "ok", "b": "ok"}
    assert not (tmp_path / "old").exists()
