"""What bad storage costs: time where the fault passes, else one line that says what to do, and never a stored file."""

import errno
import http.server
import logging
import os
import pickle
import threading
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy, FileInfo, FileType, S3FileSystem

from rdstudy import whole_files
from rdstudy.results.checkpoints import Checkpoints
from rdstudy.results.files import Files, StorageError
from rdstudy.results.store import Store
from tests.results.stores import writing
from tests.s3 import Network, s3_uri


@pytest.fixture
def network(s3):
    with Network(s3) as network:
        yield network


@pytest.fixture
def client_that_tries_once(monkeypatch):
    """The client of S3 tries for six seconds by itself: here all patience is that of `Files`."""

    def resolve(uri):
        parts = urlsplit(uri)
        client = S3FileSystem(
            endpoint_override=dict(parse_qsl(parts.query))["endpoint_override"],
            scheme="http",
            region="us-east-1",
            allow_delayed_open=True,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=1),
        )
        return client, f"{parts.netloc}{parts.path}"

    monkeypatch.setattr("rdstudy.results.files._resolve", resolve)


@pytest.fixture
def nobody_waits(monkeypatch):
    def sleep(seconds):
        raise AssertionError(f"slept for {seconds} s")

    monkeypatch.setattr("rdstudy.results.files.time.sleep", sleep)


class Answering(NamedTuple):
    endpoint: str
    commands: list[str]  # what was asked


@contextmanager
def answering(statuses):
    """A server that answers each request with the next of some statuses, and then with the last of them for ever."""

    commands: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            commands.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Answering(f"127.0.0.1:{server.server_port}", commands)
        server.shutdown()


@pytest.mark.usefixtures("client_that_tries_once")
def test_a_network_that_is_cut_costs_time_and_nothing_else(network, caplog):
    files = Files(s3_uri(network.endpoint, "cut"))
    files.write("rows/a", b"a")
    network.cut()
    threading.Timer(0.5, network.mend).start()
    files.write("rows/b", b"b")
    assert files.names("rows", "") == ["rows/a", "rows/b"]
    assert files.read("rows/b") == b"b"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # the fault, once, and its end
    assert "rows/b cannot be written" in said[0]
    assert said[1] == "s3://bucket/cut answers again"


@pytest.mark.usefixtures("client_that_tries_once")
def test_a_network_that_stays_cut_is_one_line_and_no_file_is_taken_for_damaged(network, monkeypatch):
    uri = s3_uri(network.endpoint, "gone")
    store = Store.create(uri)
    store.blobs.write_log("quick", "0", "still here")
    network.cut()
    monkeypatch.setattr(Files, "inside", lambda *_: [FileInfo("a.parquet", FileType.File)])
    with pytest.raises(StorageError) as raised:
        store.hurried().snapshot()
    (line,) = str(raised.value).splitlines()
    assert line.startswith("s3://bucket/gone/members/a.parquet cannot be read: NETWORK_CONNECTION")
    assert line.endswith("when the storage answers again, the same command goes on")
    network.mend()
    assert Store.open(uri).blobs.read_log("quick-0") == "still here"


@pytest.mark.usefixtures("nobody_waits")
def test_a_refusal_is_told_at_once():
    with answering([403]) as server:
        files = Files(s3_uri(server.endpoint, "x"))
        with pytest.raises(
            StorageError, match=r"x/a cannot be written: ACCESS_DENIED.*; allowed: a place where this user"
        ):
            files.write("a", b"a")
        with pytest.raises(StorageError, match="x/a cannot be read: ACCESS_DENIED"):
            files.read("a")
    assert len(server.commands) == 2


def test_a_server_that_is_busy_is_asked_again():
    asked = [503, 503, 503, 503, 200]
    with answering(asked) as server:
        Files(s3_uri(server.endpoint, "x")).write("a", b"a")
    assert asked == [200]


@pytest.mark.usefixtures("nobody_waits")
def test_a_full_disk_is_one_line_that_leaves_what_is_stored_and_no_rest(tmp_path, monkeypatch):
    files = Files(str(tmp_path / "out"))
    files.make()
    files.write("rows/a", b"a")
    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "_flush", lambda _: os.write(os.open("/dev/full", os.O_WRONLY), b"a"))
        with pytest.raises(StorageError) as raised:
            files.write("rows/a", b"b")
    expected = "No space left on device; nothing that was stored is lost: free some space there, and the same command"
    assert str(raised.value) == f"{tmp_path}/out/rows/a cannot be written: {expected} goes on"
    assert raised.value.errno == errno.ENOSPC
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)
    assert files.read("rows/a") == b"a"
    assert files.inside("tmp") == []
    files.write("rows/a", b"b")
    assert files.read("rows/a") == b"b"


def test_a_file_that_is_not_there_is_told_apart(uri):
    files = Files(uri)
    files.make()
    with pytest.raises(FileNotFoundError, match="rows/a cannot be read") as raised:
        files.read("rows/a")
    assert isinstance(raised.value, StorageError)
    files.delete("rows/a")
    files.delete_folder("rows")
    files.move("rows/a", "rows/b")
    assert files.names("rows", "") == []
    assert files.kind("") in ("nothing", "folder")


def test_credentials_in_a_uri_are_in_no_message(s3):
    files = Files(s3_uri(s3, "x").replace("s3://", "s3://KEY:SECRET@"))
    with pytest.raises(FileNotFoundError) as raised:
        files.read("a")
    assert str(raised.value).startswith("s3://bucket/x/a cannot be read")
    assert "SECRET" not in str(raised.value)


def test_the_endpoint_may_come_from_the_environment(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{s3}")
    Files("s3://bucket/environment").write("a", b"a")
    assert Files(s3_uri(s3, "environment")).read("a") == b"a"


def test_a_small_file_in_a_bucket_is_one_request():
    with answering([200]) as server:
        Files(s3_uri(server.endpoint, "x")).write("a", b"a")
    assert server.commands == ["PUT"]


def test_a_checkpoint_that_cannot_be_written_is_a_warning_and_the_next_one_is_kept(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)
    store = Store.create(str(tmp_path / "out"))
    slot = Checkpoints(store, "pack")
    slot.save(writing(b"one"))

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "_flush", full)
        for body in (b"two", b"three"):
            slot.save(writing(body))
    assert [record.getMessage() for record in caplog.records][1:] == []
    assert "training goes on: " in caplog.text
    assert "No space left on device" in caplog.text
    assert slot.load() == b"one"
    slot.save(writing(b"four"))
    assert slot.load() == b"four"
    assert "are kept again" in caplog.text
    monkeypatch.setattr(Files, "delete_folder", full_storage)
    slot.clear()
    assert "cannot be deleted" in caplog.text


def full_storage(*_):
    raise StorageError("it is full")
