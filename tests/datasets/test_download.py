"""Laws of a download: whole and right or not there, whatever its mirrors do, and never a traceback."""

import errno
import hashlib
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from rdstudy.datasets import download as module
from rdstudy.datasets.download import Patience, RemoteFile, download
from rdstudy.datasets.published import PUBLISHED

BODY = np.random.default_rng(5).bytes(300_007)
CUT = 100_003
IMPATIENT = Patience(silence_seconds=0.3)


def remote(*urls: str, size: int | None = len(BODY), body: bytes = BODY, algorithm: str = "sha256") -> RemoteFile:
    return RemoteFile("small", "file", urls, f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}", size)


# --- what mirrors do ----------------------------------------------------------------------------------------------


def good(handler):
    wanted = handler.headers.get("Range")
    start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
    if start >= len(BODY):
        handler.start(416, Content_Range=f"bytes */{len(BODY)}")
    elif wanted:
        span = f"bytes {start}-{len(BODY) - 1}/{len(BODY)}"
        handler.start(206, Content_Length=len(BODY) - start, Content_Range=span)
        handler.wfile.write(BODY[start:])
    else:
        handler.start(200, Content_Length=len(BODY))
        handler.wfile.write(BODY)


def ignores_ranges(handler):
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY)


def says_no_length(handler):
    handler.start(200)
    handler.wfile.write(BODY)


def absent(handler):
    handler.start(404)


def broken(handler):
    handler.start(503)


def silent(handler):
    handler.server.released.wait(30)


def cuts(handler):
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[:CUT])


def hangs_halfway(handler):
    cuts(handler)
    handler.wfile.flush()
    handler.server.released.wait(30)


def drips(handler):
    handler.start(200, Content_Length=len(BODY))
    for byte in BODY:
        handler.wfile.write(bytes([byte]))
        if handler.server.released.wait(0.05):
            return


def wrong(handler):
    handler.start(200, Content_Length=len(BODY))
    handler.wfile.write(BODY[::-1])


def another_size(handler):
    handler.start(200, Content_Length=11)
    handler.wfile.write(b"login, user")


def wrong_range(handler):
    handler.start(206, Content_Length=len(BODY), Content_Range=f"bytes 0-{len(BODY) - 1}/{len(BODY)}")
    handler.wfile.write(BODY)


# --- the laws -----------------------------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path) -> Path:
    return Path(tmp_path, "file")


def expect_whole(path: Path):
    assert path.read_bytes() == BODY
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_file_comes_whole(mirror, path, size, algorithm):
    download(remote(mirror(good).url, size=size, algorithm=algorithm), path)
    expect_whole(path)


@pytest.mark.parametrize("answer", [ignores_ranges, says_no_length])
def test_a_plain_server_will_do(mirror, path, answer):
    download(remote(mirror(answer).url), path)
    expect_whole(path)


@pytest.mark.parametrize("bad", [absent, broken, silent, drips, wrong, another_size])
def test_a_bad_mirror_is_left_for_the_next(mirror, path, bad):
    first, second = mirror(bad), mirror(good)
    begun = time.monotonic()
    download(remote(first.url, second.url), path, patience=IMPATIENT)
    assert time.monotonic() - begun < 15
    assert first.ranges
    assert len(second.ranges) == 1
    expect_whole(path)


def test_a_mirror_that_nobody_runs_is_left_for_the_next(mirror, path):
    stopped = mirror(good)
    stopped.shutdown()
    stopped.server_close()
    download(remote(stopped.url, mirror(good).url), path)
    expect_whole(path)


@pytest.mark.parametrize("stop", [cuts, hangs_halfway])
def test_a_broken_connection_is_resumed_where_it_broke(mirror, path, stop):
    only = mirror(stop, good)
    download(remote(only.url), path, patience=IMPATIENT)
    assert only.ranges == [None, f"bytes={CUT}-"]
    expect_whole(path)


def test_another_mirror_goes_on_where_one_broke(mirror, path):
    first, second = mirror(cuts, absent), mirror(good)
    download(remote(first.url, second.url), path)
    assert second.ranges == [f"bytes={CUT}-"]
    expect_whole(path)


def test_what_an_interrupted_process_left_is_resumed(mirror, path):
    path.with_name("file.part").write_bytes(BODY[:CUT])
    only = mirror(good)
    download(remote(only.url), path)
    assert only.ranges == [f"bytes={CUT}-"]
    expect_whole(path)


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_file_that_lacks_only_its_name_is_not_asked_for_again(mirror, path, size):
    path.with_name("file.part").write_bytes(BODY)
    only = mirror(absent)
    download(remote(only.url, size=size), path)
    assert not only.ranges
    expect_whole(path)


@pytest.mark.parametrize("size", [len(BODY), None])
@pytest.mark.parametrize("left", [b"x" * CUT, BODY + b"x", b"x" * len(BODY)], ids=["half", "longer", "as long"])
def test_what_was_left_of_something_else_is_dropped(mirror, path, left, size):
    path.with_name("file.part").write_bytes(left)
    download(remote(mirror(good).url, size=size), path)
    expect_whole(path)


@pytest.mark.parametrize("second", [ignores_ranges, says_no_length])
def test_a_server_that_ignores_ranges_starts_over(mirror, path, second):
    only = mirror(cuts, second)
    download(remote(only.url), path)
    assert len(only.ranges) == 2
    expect_whole(path)


@pytest.mark.parametrize("size", [len(BODY), None])
def test_an_answer_to_another_range_is_not_taken(mirror, path, size):
    first, second = mirror(cuts, wrong_range), mirror(good)
    download(remote(first.url, second.url, size=size), path)
    assert len(first.ranges) == 2
    assert second.ranges == [f"bytes={CUT}-"], "what came before is kept, and nothing was added to it"
    expect_whole(path)


def test_when_all_fail_one_line_says_why_and_what_to_do(mirror, path):
    behaviours = {
        absent: "HTTP 404",
        silent: r"silent for 0\.3 s",
        wrong: "its checksum is sha256:",
        cuts: "ended after",
    }
    mirrors = [mirror(behave) for behave in behaviours]
    file = remote(*(server.url for server in mirrors))
    with pytest.raises(ValueError, match=r"^file of small cannot be downloaded \(.*\); put it at") as caught:
        download(file, path, patience=IMPATIENT)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert file.checksum in message
    for server, why in zip(mirrors, behaviours.values(), strict=True):
        assert server.url in message
        assert re.search(why, message)
    assert not path.exists()


def test_a_mirror_that_always_breaks_is_tried_a_few_times(mirror, path):
    only = mirror(lambda handler: (handler.start(200, Content_Length=len(BODY)), handler.wfile.write(BODY[:7])))
    with pytest.raises(ValueError, match="ended after 7 of"):
        download(remote(only.url), path)
    assert len(only.ranges) == module._ATTEMPTS


def test_a_disk_without_room_is_said_before_anything_is_asked(mirror, path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 7, 7))
    only = mirror(good)
    with pytest.raises(
        ValueError, match=r"0\.0 MB free, and a download needs 0\.3 MB; make room, or set RDSTUDY_CACHE"
    ):
        download(remote(only.url), path)
    assert not only.ranges
    with pytest.raises(ValueError, match="make room"):
        download(remote(only.url, size=None), path)
    assert not path.exists()


def test_a_disk_that_fills_up_is_no_reason_to_try_another_mirror(mirror, path):
    path.with_name("file.part").symlink_to("/dev/full")
    second = mirror(good)
    with pytest.raises(ValueError, match=r"cannot be written: No space left on device; make room") as caught:
        download(remote(mirror(good).url, second.url), path)
    assert not second.ranges
    assert Path(str(caught.traceback[-1].path)).name == "download.py"


def test_a_write_that_fails_halfway_leaves_what_can_be_resumed(mirror, path, monkeypatch):
    write = module._write
    written: list[bytes] = []

    def full_after_one(out, block, part):
        if written:
            with module._disk(part):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(block)
        write(out, block, part)

    monkeypatch.setattr(module, "_write", full_after_one)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 1_009)
    only = mirror(good)
    with pytest.raises(ValueError, match="No space left"):
        download(remote(only.url), path)
    assert not path.exists()
    monkeypatch.undo()
    download(remote(only.url), path)
    assert only.ranges == [None, f"bytes={len(written[0])}-"]
    expect_whole(path)


def test_progress_is_plain_lines_without_a_terminal(mirror, path, capsys):
    download(remote(mirror(good).url), path)
    shown = capsys.readouterr()
    assert not shown.out
    assert "\r" not in shown.err
    assert shown.err.splitlines()[-1] == "small: file from 127.0.0.1: 0.3 of 0.3 MB"


def test_progress_is_one_line_on_a_terminal(mirror, path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    download(remote(mirror(good).url), path)
    shown = capsys.readouterr().err
    assert shown.startswith("\r")
    assert shown.count("\n") == 1


def test_the_published_files_have_addresses_and_checksums():
    lengths = {"sha256": 64, "md5": 32}
    files = [file for data in PUBLISHED for file in data.files]
    for file in files:
        algorithm, _, digest = file.checksum.partition(":")
        assert len(bytes.fromhex(digest)) * 2 == lengths[algorithm]
        assert len(set(file.urls)) >= 2
        assert all(url.startswith(("http://", "https://")) and url.endswith(f"/{file.name}") for url in file.urls)
    assert len({file.checksum for file in files}) == len(files)
    assert len({(file.dataset, file.name) for file in files}) == len(files)
