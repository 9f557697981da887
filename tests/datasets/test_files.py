"""Where files are looked for: by hand first, then the node's cache, downloaded once, and offline a word about where."""

import hashlib
import os
from pathlib import Path

import pytest

from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.download import RemoteFile
from rdstudy.datasets.files import DATA_VARIABLE, OFFLINE_VARIABLE, local_path, offline
from tests.datasets.processes import apart

BODY = b"the right bytes" * 1_009
PATIENCE_SECONDS = 60.0


def remote(*urls: str) -> RemoteFile:
    return RemoteFile(
        "small",
        "file.gz",
        urls or ("http://127.0.0.1:9/file",),
        f"sha256:{hashlib.sha256(BODY).hexdigest()}",
        len(BODY),
    )


def good(handler):
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY)


def ask_at_once(barrier, cache: str, url: str):
    os.environ[FOLDER_VARIABLE] = cache
    barrier.wait(PATIENCE_SECONDS)
    assert local_path(remote(url)).read_bytes() == BODY


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return Path(tmp_path, "cache", "files", "small", "file.gz")


@pytest.fixture
def by_hand(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    (tmp_path / "data" / "small").mkdir(parents=True)
    return Path(tmp_path, "data", "small", "file.gz")


def test_a_file_is_downloaded_once(mirror, cache):
    only = mirror(good)
    for _ in range(2):
        assert local_path(remote(only.url)) == cache
        assert cache.read_bytes() == BODY
    assert len(only.ranges) == 1


def test_processes_that_ask_at_once_download_once(mirror, tmp_path):
    only = mirror(good)
    barrier = apart.Barrier(3)
    arguments = (barrier, str(tmp_path / "cache"), only.url)
    processes = [apart.Process(target=ask_at_once, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(2 * PATIENCE_SECONDS)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(only.ranges) == 1


def test_a_file_put_there_by_hand_comes_first_and_its_folder_is_only_read(mirror, cache, by_hand):
    by_hand.write_bytes(BODY)
    only = mirror(good)
    assert local_path(remote(only.url)) == by_hand
    assert os.listdir(by_hand.parent) == ["file.gz"]
    assert not only.ranges
    assert not cache.exists()


def test_what_is_not_there_by_hand_is_downloaded_into_the_cache(mirror, cache, by_hand):
    assert local_path(remote(mirror(good).url)) == cache
    assert not by_hand.exists()


@pytest.mark.parametrize("content", [BODY[:-1], BODY[::-1]], ids=["short", "of another data set"])
def test_a_wrong_file_put_there_by_hand_is_refused(mirror, cache, by_hand, content):
    by_hand.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"is not that file of small: it.*, not (15,135|sha256:.*); it is at http"
    ) as caught:
        local_path(remote(mirror(good).url))
    assert str(by_hand) in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize("content", [BODY[:-1], BODY[::-1], b""])
def test_a_damaged_file_in_the_cache_is_had_again_with_a_warning(mirror, cache, caplog, content):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert local_path(remote(mirror(good).url)).read_bytes() == BODY
    assert "is damaged" in caplog.text


def test_what_a_broken_download_left_goes_once_the_file_has_come_another_way(mirror, cache):
    """As the error of a download advises: the file put there by hand."""
    cache.parent.mkdir(parents=True)
    cache.write_bytes(BODY)
    part, other = (cache.with_name(f"{name}.part") for name in ("file.gz", "other.gz"))
    part.write_bytes(BODY[:97])
    other.write_bytes(BODY[:97])
    only = mirror(good)
    assert local_path(remote(only.url)) == cache
    assert not only.ranges
    assert not part.exists()
    assert other.exists()


def test_a_whole_file_serves_where_nothing_can_be_locked(mirror, cache):
    """As on a disk that can only be read; a file that is not whole is one line there."""
    (cache.parent / "file.gz.lock").mkdir(parents=True)
    cache.write_bytes(BODY)
    cache.with_name("file.gz.part").touch()
    only = mirror(good)
    assert local_path(remote(only.url)) == cache
    cache.write_bytes(BODY[::-1])
    with pytest.raises(ValueError, match=r"cannot be used: file.gz is not whole, and .*; set RDSTUDY_CACHE to another"):
        local_path(remote(only.url))
    assert not only.ranges


@pytest.mark.parametrize("has_folder", [False, True])
def test_offline_the_error_says_what_to_put_where(mirror, cache, monkeypatch, tmp_path, has_folder):
    place = cache
    if has_folder:
        monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
        place = tmp_path / "data" / "small" / "file.gz"
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    only = mirror(good)
    file = remote(only.url)
    with pytest.raises(
        ValueError, match=r"^file.gz of small is not on this machine, and RDSTUDY_OFFLINE is set"
    ) as caught:
        local_path(file)
    message = str(caught.value)
    assert f"put it at {place} " in message
    assert only.url in message
    assert file.checksum in message
    assert not only.ranges
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(BODY)
    assert local_path(file) == place


@pytest.mark.parametrize(("value", "says"), [("", False), ("0", False), ("1", True)])
def test_the_offline_setting(monkeypatch, value, says):
    monkeypatch.setenv(OFFLINE_VARIABLE, value)
    assert offline() == says


def test_another_offline_setting_is_refused(monkeypatch):
    monkeypatch.setenv(OFFLINE_VARIABLE, "yes")
    with pytest.raises(ValueError, match=r"^RDSTUDY_OFFLINE is 'yes'; allowed: 0, 1$"):
        offline()


def test_a_cache_that_cannot_be_written_names_the_variable(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("a regular file")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"cannot be used: .*; set RDSTUDY_CACHE to another"):
        local_path(remote())
