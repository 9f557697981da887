"""Laws of the cache: drawn once, whole or not there, mended with a warning, whoever dies while writing."""

import contextlib
import errno
import hashlib
import os
import pwd
import signal
import threading
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from rdstudy.datasets import cache
from rdstudy.datasets.cache import FOLDER_VARIABLE, cache_folder, cached_images
from tests.datasets.moves import die_at_move
from tests.datasets.processes import apart

SHAPE = (5, 3, 7, 11)
PATTERN = np.random.default_rng(3).integers(1, 256, SHAPE, np.uint8)
PATIENCE_SECONDS = 30.0
PROCESSES = 4


def ask(folder: Path) -> np.ndarray:
    """Ask for the images; each drawing leaves a file in `drawings`."""

    def generate(out):
        assert not out.any()
        (folder / "drawings").mkdir(exist_ok=True)
        (folder / "drawings" / uuid.uuid4().hex).touch()
        out[:] = PATTERN

    return cached_images("small", SHAPE, generate, folder=folder / "cache")


def drawings(folder: Path) -> int:
    return len(list((folder / "drawings").glob("*")))


def path_of(folder: Path) -> Path:
    return folder / "cache" / "small.npy"


def leftovers(folder: Path) -> list[Path]:
    return list((folder / "cache").glob("*.tmp"))


# --- run in processes of their own --------------------------------------------------------------------------------


def ask_at_once(barrier, folder: Path, number: int):
    barrier.wait(PATIENCE_SECONDS)
    np.save(folder / f"answer-{number}.npy", ask(folder))


def hang_while_writing(folder: Path):
    def generate(out):
        out[: SHAPE[0] // 2] = PATTERN[: SHAPE[0] // 2]
        (folder / "writing").touch()
        time.sleep(10 * PATIENCE_SECONDS)

    cached_images("small", SHAPE, generate, folder=folder / "cache")


def die_while_moving(folder: Path, number: int):
    """Ask for the images, and die when a file is to be moved into place: the first of them, or the second."""
    die_at_move(number)
    ask(folder)


@contextlib.contextmanager
def a_writer_that_hangs(folder: Path):
    """A process that has written half of the file; killed at the latest when the block ends."""
    process = apart.Process(target=hang_while_writing, args=(folder,))
    process.start()
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (folder / "writing").exists():
            assert process.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process
    finally:
        kill(process)


def kill(process):
    process.kill()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL


# --- the laws -----------------------------------------------------------------------------------------------------


def test_images_are_drawn_once_and_are_what_was_drawn(tmp_path):
    first, second = ask(tmp_path), ask(tmp_path)
    assert drawings(tmp_path) == 1
    for images in (first, second):
        assert np.array_equal(images, PATTERN)
        assert images.dtype == np.uint8


def test_images_are_mapped_and_nobody_can_change_them(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST_READ_BYTES", 0)
    images = ask(tmp_path)
    assert isinstance(images.base, np.memmap)
    assert not images.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        images[0] = 0
    assert np.array_equal(ask(tmp_path), PATTERN)


def test_names_are_kept_apart(tmp_path):
    def fill(value):
        def generate(out):
            out[:] = value

        return generate

    names = {"a": 3, "b": 5, "a.npy": 7}
    for _ in range(2):
        for name, value in names.items():
            assert (cached_images(name, SHAPE, fill(value), folder=tmp_path) == value).all()
    assert {path.stem for path in tmp_path.glob("*.npy")} == set(names)


@pytest.mark.parametrize("damaged", [False, True])
def test_processes_that_ask_at_once_draw_once(tmp_path, damaged):
    if damaged:
        ask(tmp_path)
        spoil(path_of(tmp_path), "a bit")
    barrier = apart.Barrier(PROCESSES)
    processes = [apart.Process(target=ask_at_once, args=(barrier, tmp_path, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(2 * PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    assert drawings(tmp_path) == 1 + damaged
    for number in range(PROCESSES):
        assert np.array_equal(np.load(tmp_path / f"answer-{number}.npy"), PATTERN)


def test_a_damaged_file_that_is_replaced_before_its_digest_is_read_is_not_taken_for_whole(tmp_path, monkeypatch):
    """Another process writes the whole file between the two: the digest is right, of images that nobody has read."""
    ask(tmp_path)
    whole = path_of(tmp_path).read_bytes()
    spoil(path_of(tmp_path), "a bit")
    read = cache.map_images

    def read_and_replace(path: Path) -> np.ndarray:
        images = read(path)
        if path.read_bytes() != whole:
            new = path.with_suffix(".new")
            new.write_bytes(whole)
            new.replace(path)
        return images

    monkeypatch.setattr(cache, "map_images", read_and_replace)
    assert np.array_equal(ask(tmp_path), PATTERN)


def test_a_writer_killed_leaves_nothing_that_is_taken_for_whole(tmp_path):
    with a_writer_that_hangs(tmp_path) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE_SECONDS)
    assert not path_of(tmp_path).exists()
    assert len(leftovers(tmp_path)) == 1
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert drawings(tmp_path) == 1
    assert not leftovers(tmp_path)


def test_who_waits_for_a_writer_that_is_killed_writes_instead(tmp_path):
    answers = []
    with a_writer_that_hangs(tmp_path) as process:
        waiting = threading.Thread(target=lambda: answers.append(ask(tmp_path)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert not answers
        kill(process)
        waiting.join(PATIENCE_SECONDS)
    assert np.array_equal(answers[0], PATTERN)
    assert not leftovers(tmp_path)


def test_leftovers_of_others_are_left_alone(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    own = [folder / f"small.npy.{number}.tmp" for number in range(3)]
    own.append(folder / "small.npy.sha256.0.tmp")
    kept = [folder / name for name in ("large.npy.0.tmp", "small-v2.npy.0.tmp", "small.npy.old", "notes.tmp")]
    for path in (*own, *kept):
        path.write_bytes(b"half")
    ask(tmp_path)
    assert not any(path.exists() for path in own)
    assert all(path.read_bytes() == b"half" for path in kept)


def test_a_drawing_that_fails_leaves_nothing_that_is_taken_for_whole(tmp_path):
    def generate(out):
        out[0] = 1
        raise RuntimeError("a drawing that fails")

    with pytest.raises(RuntimeError, match="a drawing that fails"):
        cached_images("small", SHAPE, generate, folder=tmp_path / "cache")
    assert not path_of(tmp_path).exists()
    assert not leftovers(tmp_path)
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert not leftovers(tmp_path)


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="no way to ask this disk for room")
def test_a_full_disk_is_one_line_and_nothing_is_left_on_it(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(
        ValueError, match=r"^cache folder .* cannot be used: .*No space left.*; set RDSTUDY_CACHE"
    ) as it:
        ask(tmp_path)
    assert "\n" not in str(it.value)
    assert not leftovers(tmp_path)
    assert drawings(tmp_path) == 0


def spoil(path: Path, how: str):
    whole = path.read_bytes()
    pixels = PATTERN.size
    spoilt = {
        "empty": b"",
        "half a header": whole[:17],
        "header alone": whole[:-pixels],
        "a byte short": whole[:-1],
        "half": whole[: len(whole) - pixels // 2],
        "no array": b"x" * len(whole),
        "an archive": b"PK\x03\x04" + whole[4:],
        "zeros": bytes(len(whole)),
        "zeroed pixels": whole[: len(whole) - 97] + bytes(97),
        "a bit": whole[:-1] + bytes([whole[-1] ^ 1]),
        "a byte more": whole + b"x",
    }
    path.write_bytes(spoilt[how])


SPOILT = ["empty", "half a header", "header alone", "a byte short", "half", "no array", "an archive", "zeros"]


@pytest.mark.parametrize("how", [*SPOILT, "zeroed pixels", "a bit", "a byte more"])
def test_a_damaged_file_is_mended_with_a_warning(tmp_path, caplog, how):
    ask(tmp_path)
    assert not caplog.records
    spoil(path_of(tmp_path), how)
    assert np.array_equal(ask(tmp_path), PATTERN)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(path_of(tmp_path)) in record.getMessage()
    assert "making it again" in record.getMessage()
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert drawings(tmp_path) == 2


@pytest.mark.parametrize(
    "other",
    [
        np.asfortranarray(PATTERN),
        np.zeros((*SHAPE[:-1], 13), np.uint8),
        np.zeros(SHAPE[::-1], np.uint8),
        np.zeros(SHAPE[1:], np.uint8),
        np.zeros(SHAPE, np.int8),
        np.zeros(SHAPE, np.float64),
    ],
    ids=["in columns", "wider", "turned", "fewer axes", "int8", "float64"],
)
def test_a_file_of_something_else_is_replaced_with_a_warning(tmp_path, caplog, other):
    path_of(tmp_path).parent.mkdir()
    np.save(path_of(tmp_path), other)
    assert np.array_equal(ask(tmp_path), PATTERN)
    (record,) = caplog.records
    assert "holds something else: making it again" in record.getMessage()


@pytest.mark.parametrize("written", [None, b"", b"0" * 64, b"no digest", b"\xff\0"])
def test_a_file_without_its_digest_is_made_again_with_a_warning(tmp_path, caplog, written):
    ask(tmp_path)
    digest = tmp_path / "cache" / "small.npy.sha256"
    digest.unlink()
    if written is not None:
        digest.write_bytes(written)
    assert np.array_equal(ask(tmp_path), PATTERN)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert str(path_of(tmp_path)) in record.getMessage()
    assert "making it again" in record.getMessage()
    assert "\n" not in record.getMessage()
    ask(tmp_path)
    assert drawings(tmp_path) == 2


def test_the_digest_is_what_sha256sum_checks(tmp_path):
    ask(tmp_path)
    digest = hashlib.sha256(path_of(tmp_path).read_bytes()).hexdigest()
    assert (tmp_path / "cache" / "small.npy.sha256").read_text() == f"{digest}  small.npy\n"


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the files whose digests were taken, in order."""
    names = []

    def file_digest(file, digest, file_digest=hashlib.file_digest):
        names.append(Path(file.name).name)
        return file_digest(file, digest)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)
    return names


def test_a_file_is_read_once_for_its_digest_by_each_process(tmp_path, monkeypatch, read):
    for _ in range(3):
        ask(tmp_path)
    assert len(read) == 1, "by the writer, under its temporary name"
    monkeypatch.setattr(cache, "_digests", {})  # as in another process
    for _ in range(3):
        ask(tmp_path)
    assert read[1:] == ["small.npy"]


def test_a_file_that_changes_behind_the_back_of_who_has_mapped_it_is_noticed(tmp_path, caplog, monkeypatch):
    """The same inode and size: only the time of its last change says so."""
    monkeypatch.setattr(cache, "LARGEST_READ_BYTES", 0)
    images = ask(tmp_path)
    with open(path_of(tmp_path), "r+b") as file:
        file.seek(-97, os.SEEK_END)
        file.write(bytes(97))
    assert not np.array_equal(images, PATTERN), "the mapping is of the file"
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert len(caplog.records) == 1


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("before", ["nothing", "damaged", "whole without a digest"])
def test_a_kill_between_digest_and_file_is_mended_by_the_next(tmp_path, number, before):
    if before != "nothing":
        ask(tmp_path)
        (tmp_path / "cache" / "small.npy.sha256").unlink()
    if before == "damaged":
        spoil(path_of(tmp_path), "zeroed pixels")
    process = apart.Process(target=die_while_moving, args=(tmp_path, number))
    process.start()
    process.join(PATIENCE_SECONDS)
    assert process.exitcode == -signal.SIGKILL
    assert leftovers(tmp_path)
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert not leftovers(tmp_path)


def forbid_locks(folder: Path):
    """Make it impossible to lock the file, as it is in a folder that can only be read, for root too."""
    lock = folder / "cache" / "small.npy.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir(parents=True)


def test_a_whole_file_is_used_where_nothing_can_be_locked(tmp_path):
    ask(tmp_path)
    forbid_locks(tmp_path)
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert drawings(tmp_path) == 1


@pytest.mark.parametrize("how", ["absent", "not whole"])
def test_a_file_that_cannot_be_made_again_is_one_line(tmp_path, how):
    if how == "not whole":
        ask(tmp_path)
        spoil(path_of(tmp_path), "a bit")
    forbid_locks(tmp_path)
    says = "not there" if how == "absent" else how
    with pytest.raises(
        ValueError,
        match=rf"^cache folder .* cannot be used: small.npy is {says}, and .*; set RDSTUDY_CACHE to another$",
    ) as caught:
        ask(tmp_path)
    assert "\n" not in str(caught.value)


def test_who_has_mapped_a_file_keeps_it_when_it_is_replaced(tmp_path):
    before = ask(tmp_path)
    path_of(tmp_path).unlink()
    assert np.array_equal(ask(tmp_path), PATTERN)
    assert np.array_equal(before, PATTERN)
    assert drawings(tmp_path) == 2


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_folder_that_cannot_be_written_names_the_variable(tmp_path, below):
    (tmp_path / "file").write_text("a regular file")
    folder = tmp_path / "file" / below
    with pytest.raises(
        ValueError, match=r"^cache folder .* cannot be used: .*; set RDSTUDY_CACHE to another$"
    ) as caught:
        cached_images("small", SHAPE, lambda out: out.fill(7), folder=folder)
    assert str(folder) in str(caught.value)


def test_the_folder_is_what_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    cached_images("small", SHAPE, lambda out: out.fill(7))
    assert (tmp_path / "own" / "small.npy").exists()


@pytest.mark.parametrize("empty", [True, False])
def test_without_the_variable_it_is_the_users_cache(monkeypatch, tmp_path, empty):
    if empty:
        monkeypatch.setenv(FOLDER_VARIABLE, "")
    else:
        monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "rdstudy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / ".cache" / "rdstudy"


@pytest.fixture
def homeless(monkeypatch):
    """A user without a home folder: no variable, and no entry for the user's number."""

    def unknown(number):
        raise KeyError(number)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize("variable", [FOLDER_VARIABLE, "XDG_CACHE_HOME"])
def test_who_names_a_folder_needs_no_home(monkeypatch, tmp_path, variable):
    monkeypatch.delenv(FOLDER_VARIABLE)
    monkeypatch.setenv(variable, str(tmp_path))
    assert cache_folder() in (tmp_path, tmp_path / "rdstudy")


@pytest.mark.usefixtures("homeless")
def test_without_a_home_the_error_names_the_variable(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE)
    with pytest.raises(ValueError, match=r"^there is no home folder .*; set RDSTUDY_CACHE to a folder$"):
        cache_folder()
