"""The contract of the files of a store that are no rows, the same in a local folder and in a bucket."""

import hashlib
from typing import Any

import pytest

from rdstudy.results import checkpoints
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.files import Files
from rdstudy.results.store import Store
from tests.results.stores import truncate, writing
from tests.s3 import s3_server, s3_uri


def test_more_files_than_one_answer_of_a_bucket_lists():
    lists: list[str] = []

    def of_five(application):
        """A server that lists five files in an answer, as one of AWS lists a thousand."""

        def answer(environment, start):
            if "list-type=2" in environment["QUERY_STRING"]:
                lists.append(environment["QUERY_STRING"])
                environment["QUERY_STRING"] = environment["QUERY_STRING"].replace("max-keys=1000", "max-keys=5")
            return application(environment, start)

        return answer

    with s3_server(of_five) as endpoint:
        files = Files(s3_uri(endpoint, "listed"))
        names = sorted(f"weights/{number}.bin" for number in range(13))
        for name in names:
            files.write(name, b"")
        assert files.names("weights", ".bin") == names
    assert len(lists) >= 3


def test_checkpoints_keep_two_and_fall_back_from_a_damaged_one(store):
    slot = Checkpoints(store, "pack")
    assert slot.load() is None
    for body in (b"one", b"two", b"three"):
        slot.save(writing(body))
    assert store.blobs.checkpoint_names("pack") == [2, 3]
    assert slot.load() == b"three"
    truncate(store, "checkpoints/pack/3.bin", -2)
    assert slot.load() == b"two"
    slot.save(writing(b"four"))
    assert slot.load() == b"four"
    assert store.blobs.checkpoint_packs() == ["pack"]
    slot.clear()
    assert slot.load() is None
    slot.clear()
    assert store.blobs.checkpoint_packs() == []
    assert Checkpoints(store, "other").load() is None


def test_logs_are_kept_by_study_in_the_order_of_their_starts(store):
    second = store.blobs.write_log("quick", "2026-11-23T12:48:01+00:00", "two")
    first = store.blobs.write_log("quick", "2026-11-23T09:00:00+00:00", "one")
    store.blobs.write_log("quick-2", "2026-11-23T10:00:00+00:00", "another study")
    store.blobs.write_log("quick", "2026-11-23T12:48:01+00:00", "two, and β\n")
    assert store.blobs.logs("quick") == [first, second]
    assert store.blobs.read_log(second) == "two, and β\n"
    assert store.blobs.logs("slow") == []


def test_files_of_a_data_set_are_kept_once_and_come_back(store, tmp_path, monkeypatch):
    assert store.blobs.dataset_files("faces-00") == []
    files = {"images.npy": tmp_path / "a", "about.json": tmp_path / "b"}
    content = bytes(range(256)) * 70_000  # more than one piece
    files["images.npy"].write_bytes(content)
    files["about.json"].write_bytes(b"{}")
    store.blobs.write_dataset("faces-00", files)
    assert store.blobs.dataset_files("faces-00") == ["about.json", "images.npy"]
    store.blobs.fetch_dataset_file("faces-00", "images.npy", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    truncate(store, "datasets/faces-00/about.json", 1)
    sent = []
    monkeypatch.setattr(Files, "upload", lambda _, file, name: sent.append((file, name)))
    store.blobs.write_dataset("faces-00", files)
    assert sent == [(tmp_path / "b", "datasets/faces-00/about.json")]


def test_a_file_of_a_data_set_that_changed_on_a_disk_is_sent_again(tmp_path):
    store, file = Store.create(str(tmp_path / "out")), tmp_path / "images"
    file.write_bytes(bytes(range(256)) * 100_000)
    store.blobs.write_dataset("faces-00", {"images.npy": file})
    there = tmp_path / "out/datasets/faces-00/images.npy"
    with there.open("r+b") as stream:
        stream.seek(20_000_000)
        stream.write(b"!")
    store.blobs.write_dataset("faces-00", {"images.npy": file})
    assert there.read_bytes() == file.read_bytes()


def test_strange_files_among_checkpoints_are_no_checkpoints(store):
    slot = Checkpoints(store, "pack")
    slot.save(writing(b"one"))
    for name in ("notes.bin", "0.bin", "-1.bin", "1 (2).bin", "١.bin", "7.txt"):
        store._files.write(f"checkpoints/pack/{name}", b"strange")
    store._files.write("checkpoints/stray", b"a file")
    assert slot.load() == b"one"
    assert store.blobs.checkpoint_packs() == ["pack"]
    slot.save(writing(b"two"))
    assert slot.load() == b"two"


def test_weights_come_back_by_member_and_run_those_of_an_earlier_version_too(store):
    with pytest.raises(FileNotFoundError, match=r"weights/m-r\.safetensors is not there"):
        store.blobs.read_weights("r", "m")
    store._files.write("weights/m-r.bin", b"old")
    old = store.blobs.read_weights("r", "m")
    assert (old.content, old.is_old, store.blobs.weights()) == (b"old", True, ["m-r"])
    store.blobs.write_weights("r", "m", b"new")
    new = store.blobs.read_weights("r", "m")
    assert (new.content, new.is_old, store.blobs.weights()) == (b"new", False, ["m-r"])
    for file in (new, old):
        assert file.path == store._files.path(file.name)
        store.blobs.copy_aside_weights(file)
        assert store._files.read(f"{file.name}.damaged") == store._files.read(file.name) == file.content
        store.blobs.set_aside_weights(file)
        assert store._files.read(f"{file.name}.damaged") == file.content
    assert store.blobs.weights() == []


class CountingStream:
    """Remembers how much is written at once, and what was hashed when it was."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.content = b""

    def write(self, piece: bytes) -> None:
        self.sizes.append(len(piece))
        self.content += piece


def test_a_checkpoint_is_written_piece_by_piece_and_hashed_as_it_passes(monkeypatch):
    hashed: list[int] = []

    class Counting:
        def __init__(self, body: bytes) -> None:
            self._digest = hashlib.blake2b(body, digest_size=16)

        def update(self, piece: bytes) -> None:
            hashed.append(len(piece))
            self._digest.update(piece)

        def digest(self) -> bytes:
            return self._digest.digest()

    monkeypatch.setattr(checkpoints, "_hash", Counting)
    stream = CountingStream()
    pieces = [b"a" * 7, b"b" * 11, b"c" * 13]
    checkpoints._write_hashed(lambda file: [file.write(piece) for piece in pieces], stream)
    assert stream.sizes == [7, 11, 13, 16], "and the digest last: nothing was put together"
    assert hashed == [7, 11, 13], "each byte once"
    body = b"".join(pieces)
    assert stream.content == body + hashlib.blake2b(body, digest_size=16).digest()


def test_what_a_library_swallows_is_raised_all_the_same():
    class Full(CountingStream):
        def write(self, _: bytes) -> None:
            raise OSError(28, "No space left on device")

    def careless(file: Any) -> None:
        assert file.write(b"one") == 3

    with pytest.raises(OSError, match="No space left"):
        checkpoints._write_hashed(careless, Full())
