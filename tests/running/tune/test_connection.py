"""Where Ray is joined or started: addresses, folders that a kill leaves, and Ray in places where it fails."""

import contextlib
import fcntl
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
from ray._private import ray_constants, services
from ray._private.utils import get_ray_address_file, validate_socket_filepath
from ray.tune.experiment import Trial

from rdstudy.run import main
from rdstudy.running.tune import address, connection, folders
from rdstudy.running.tune import listener as listener_module
from rdstudy.running.tune.address import find_head
from rdstudy.running.tune.connection import connected
from rdstudy.running.tune.folders import NotStartedError, own_folder, ray_folder
from rdstudy.study import Resources
from tests.running.tune.cluster_runs import ENVIRONMENT, descendants, end, is_training, start
from tests.waiting import wait_until

GRPC = bytes(3) + b"\x04" + bytes(5)  # how any gRPC server begins to answer


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variables of Ray's, and no Ray that was started here."""
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_USE_TLS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(address, "get_ray_address_file", lambda _: str(tmp_path / "ray_current_cluster"))
    folders._parent.cache_clear()


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short name, as folders of sockets need."""
    path = Path("/tmp") / f"rdt{os.getpid()}"
    path.mkdir()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], str]]:
    """Something that listens on loopback and answers with these bytes: its address."""
    monkeypatch.setattr(services, "canonicalize_bootstrap_address", lambda value: value)  # no outer address of Ray's
    open_sockets = []

    def listen(answer: bytes) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        open_sockets.append(server)

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(answer)
                peer.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        return f"127.0.0.1:{server.getsockname()[1]}"

    yield listen
    for server in open_sockets:
        server.close()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "garbage",
        "host",
        "::1:6379",
        "host:0",
        "host:99999",
        ":6379",
        "host:port",
        "[::1]",
        "a b:6379",
        "host:6379/x",
    ],
)
def test_what_is_no_address_is_one_line_with_those_that_are_allowed(value, monkeypatch):
    with pytest.raises(ValueError, match=r"^--address is .*; allowed: HOST:PORT of a Ray head, .*auto; local$"):
        find_head(value)
    if value:
        monkeypatch.setenv("RAY_ADDRESS", value)
        with pytest.raises(ValueError, match=r"^RAY_ADDRESS is .*; allowed: HOST:PORT"):
            find_head(None)


@pytest.mark.parametrize(
    ("value", "what", "server"),
    [
        ("ray://127.0.0.1:10001", "Ray Client", "http://HEAD:8265"),
        ("RAY://h:1", "Ray Client", "http://HEAD:8265"),
        ("http://127.0.0.1:8265", "Ray's job server", "http://127.0.0.1:8265"),
        ("https://host:8265", "Ray's job server", "https://host:8265"),
    ],
)
def test_ray_client_and_the_job_server_run_no_study_and_the_line_says_what_does(value, what, server):
    works = rf"allowed: --address HEAD:6379 on a machine of the cluster, .* ray job submit --address {server} -- python"
    with pytest.raises(ValueError, match=rf"^--address is '{value}', and no study runs through {what}; {works}"):
        find_head(value)


@pytest.mark.parametrize("value", ["ray://127.0.0.1:10001", "nonsense"])
@pytest.mark.parametrize("option", [["--plan"], []])
def test_such_an_address_is_refused_before_anything_is_made(value, option, study, capsys, monkeypatch):  # noqa: ARG001
    assert main(["tiny.py", "--out", "out", "--address", value, *option]) == 2
    assert capsys.readouterr().err.count("error: --address is ") == 1
    monkeypatch.setenv("RAY_ADDRESS", value)
    assert main(["tiny.py", "--out", "out", *option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: RAY_ADDRESS is ")
    assert not Path("out").exists()
    assert main(["tiny.py", "--plan", "--local"]) == 0, "which uses no Ray"


def test_a_run_says_which_ray_it_has(monkeypatch):
    head, worker = {"CPU": 0.0}, {"CPU": 8.0, "GPU": 2.0}
    nodes = [(head, True), (worker, True), (worker, False)]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Resources": node, "Alive": alive} for node, alive in nodes])
    context = SimpleNamespace(gcs_address="10.0.0.1:6379")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: context)
    monkeypatch.setattr(connection, "_joined", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(connection, "_own_ray", contextlib.nullcontext)
    monkeypatch.setattr(connection, "find_head", lambda address: None if address == "local" else "10.0.0.1:6379")

    def which(address: str | None) -> str:
        with connected(address, Resources()) as connection:
            return connection.which

    here = "Ray: joined the one at 10.0.0.1:6379, 2 nodes with 8 CPU cores, 2 GPUs up"
    assert which(None) == f"{here}; --address local starts a private one"
    assert which("10.0.0.1:6379") == here
    del nodes[0]
    assert which("auto") == here.replace("2 nodes", "1 node")
    assert which("local") == "Ray: a private one for this run, 8 CPU cores, 2 GPUs"


@pytest.mark.parametrize("value", ["127.0.0.1:1", "localhost:1", "[::1]:1", "no.such.host.invalid:6379", "a..b:6379"])
def test_where_nothing_listens_is_one_line(value):
    with pytest.raises(ValueError, match=r"^no Ray head listens at '"):
        find_head(value)


def test_what_listens_and_is_no_ray_is_one_line_and_what_answers_as_one_is_joined(listener):
    with pytest.raises(ValueError, match=r"does not answer as a Ray head; .*6379.*RAY_USE_TLS=1"):
        find_head(listener(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    with pytest.raises(ValueError, match="does not answer as a Ray head"):
        find_head(listener(b""))
    head = listener(GRPC)
    assert find_head(head) == head


def test_local_and_an_empty_variable_start_a_ray_and_auto_needs_one_that_runs(monkeypatch):
    assert find_head(None) is None
    assert find_head("local") is None
    for value in ("local", ""):
        monkeypatch.setenv("RAY_ADDRESS", value)
        assert find_head(None) is None
    with pytest.raises(ValueError, match=r"^--address is 'auto', and no Ray that could be joined was started here"):
        find_head("auto")


def test_a_ray_that_this_user_started_here_is_joined_and_that_of_another_is_not(
    listener, tmp_path, monkeypatch, caplog
):
    head = listener(GRPC)
    (tmp_path / "ray_current_cluster").write_text(head)
    assert find_head(None) == head
    monkeypatch.setattr(os, "getuid", lambda: os.stat(tmp_path).st_uid + 1)
    assert find_head(None) is None
    assert "was started by another user" in caplog.text


@pytest.mark.parametrize("text", ["127.0.0.1:1", "garbage", ""])
def test_a_ray_that_was_started_here_once_is_not_joined(text, tmp_path, caplog):
    (tmp_path / "ray_current_cluster").write_text(text)
    assert find_head(None) is None
    assert "was started here once, and is not joined" in caplog.text


def test_a_folder_is_closed_to_others_and_goes_away_with_its_block(short, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with own_folder() as folder:
        assert folder.parent == short
        assert folder.stat().st_mode & 0o077 == 0
        (folder / "logs").mkdir()
        (folder / "link").symlink_to(short)
        other = own_folder()
        with other as second:
            assert folder.exists(), "a run that lives is left alone"
            assert second != folder
    assert list(short.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), own_folder():
        raise KeyboardInterrupt
    assert list(short.iterdir()) == []


KEEP = """
import time
from rdstudy.running.tune.folders import own_folder
with own_folder() as folder:
    (folder / "session").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_a_kill_leaves_is_removed_by_the_next_run_which_says_so_and_nothing_else_is(short, monkeypatch, caplog):
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    environment = {**ENVIRONMENT, "RAY_TMPDIR": str(short)}
    for name in ("rd-without-lock", "rd-elsewhere", "session_1", "mine"):
        (short / name).mkdir()
    (short / "rd-elsewhere" / "rdstudy.lock").write_text("another host")
    (short / "rd-link").symlink_to(short / "mine")
    (short / "mine" / "rdstudy.lock").write_text(platform.node())
    before = set(short.iterdir())
    with subprocess.Popen([sys.executable, "-c", KEEP], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        with own_folder():
            assert folder.exists()
        process.send_signal(signal.SIGKILL)
    assert (folder / "session").exists()
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with own_folder():
        assert folder.exists(), "another user's"
    monkeypatch.undo()
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with own_folder():
        assert not folder.exists()
    assert f"removed {folder}, which was left by a run" in caplog.text
    assert set(short.iterdir()) == before


def test_the_log_of_a_ray_that_did_not_start_stays_until_the_next_run(short, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with pytest.raises(NotStartedError), own_folder() as folder:
        raise NotStartedError
    assert folder.exists()
    with own_folder():
        assert not folder.exists()


def test_without_locks_a_folder_is_never_taken_for_one_that_a_kill_left(short, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setenv("RAY_TMPDIR", str(short))
    monkeypatch.setattr(fcntl, "flock", refuse)
    with own_folder() as folder:
        monkeypatch.undo()
        monkeypatch.setenv("RAY_TMPDIR", str(short))
        with own_folder():
            assert folder.exists()
    assert list(short.iterdir()) == []


@pytest.fixture
def bad_folder(short, monkeypatch) -> Callable[[str], str]:
    """A folder that Ray cannot use, for one of the reasons there are."""

    def make(why: str) -> str:
        if why == "missing":
            return str(short / "no")
        if why == "long":
            path = short / ("x" * 40)
            path.mkdir()
            return str(path)
        if why == "full":
            whole = shutil.disk_usage
            free = SimpleNamespace(free=1000)
            monkeypatch.setattr(shutil, "disk_usage", lambda path: free if path == str(short) else whole(path))
        if why == "closed":
            allowed = os.access
            monkeypatch.setattr(os, "access", lambda path, mode: path != str(short) and allowed(path, mode))
        return str(short)

    return make


@pytest.mark.parametrize(
    ("why", "said"),
    [
        ("missing", "is no folder"),
        ("long", "is longer than the"),
        ("full", "is on a disk that is full"),
        ("closed", "cannot be written"),
    ],
)
def test_a_folder_that_ray_cannot_use_is_passed_by_with_a_word_and_refused_where_it_was_asked_for(
    bad_folder, why, said, monkeypatch, caplog
):
    bad = bad_folder(why)
    monkeypatch.setenv("TMPDIR", bad)
    with own_folder() as folder:
        assert folder.parent == Path("/tmp")
    with own_folder():
        pass
    assert caplog.text.count(f"TMPDIR is {bad}, which {said}") == 1, "said, and once"
    monkeypatch.setenv("RAY_TMPDIR", bad)
    with pytest.raises(ValueError, match=rf"^RAY_TMPDIR is {bad}, which {said}.*; allowed: a folder"), own_folder():
        pass


def test_the_longest_folder_leaves_ray_its_longest_socket():
    folder = ray_folder(Path("/" + "x" * (folders._longest() - 1)) / "rd-12345678")
    session = f"session_{time.strftime('%Y-%m-%d_%H-%M-%S')}_123456_{2**22}"
    validate_socket_filepath(str(folder / session / "sockets" / "plasma_store"))
    with pytest.raises(OSError, match="AF_UNIX path length"):
        validate_socket_filepath(str(folder / session / "sockets" / "plasma_store1"))


def test_private_names_of_ray_that_connections_use():
    """What `ray` has an upper bound for in pyproject.toml: `ray.init` reads the constants, and these are called."""
    assert isinstance(ray_constants.ENABLE_RAY_CLUSTER, bool)
    assert isinstance(ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV, bool)
    assert Path(get_ray_address_file(None)).name == "ray_current_cluster"
    assert services.canonicalize_bootstrap_address("192.0.2.1:6379") == "192.0.2.1:6379"
    connection._read_token()  # two classes of `ray._raylet`


def test_private_names_of_ray_that_the_listener_and_the_question_to_the_autoscaler_use():
    trial = Trial("any", stub=True)
    trial.run_metadata.update_metric("loss", 1.0)
    assert trial.run_metadata.metric_analysis
    listener_module._forget(trial)
    assert not trial.run_metadata.metric_analysis
    assert not trial.run_metadata.metric_n_steps
    assert isinstance(ray._raylet.GcsClient, type)


def test_a_constant_and_a_token_are_as_before_in_the_end(monkeypatch):
    before = ray_constants.ENABLE_RAY_CLUSTER
    with connection._constants(ENABLE_RAY_CLUSTER=not before):
        assert ray_constants.ENABLE_RAY_CLUSTER is not before
    assert ray_constants.ENABLE_RAY_CLUSTER is before
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with connection._own_token():
        assert os.environ["RAY_AUTH_MODE"] == "token"
        first = os.environ["RAY_AUTH_TOKEN"]
        assert len(first) == 64
    assert os.environ["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in os.environ
    with connection._own_token():
        assert os.environ["RAY_AUTH_TOKEN"] != first


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), OSError("no memory"), ValueError("a port"), Exception("late")]
)
def test_a_ray_that_does_not_start_is_one_line_with_its_log_and_the_way_without(error, short, monkeypatch):
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setenv("RAY_TMPDIR", str(short))
    monkeypatch.setattr(ray, "init", fail)
    said = r"^Ray did not start \(.*\); its log is in .*/session_latest/logs .*--local"
    with pytest.raises(ValueError, match=said), connected(None, Resources()):
        pass


def test_an_open_file_with_a_token_is_closed_and_that_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("HOME", str(tmp_path))
    connection._close_token_file()
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0" * 64)
    token.chmod(0o644)
    connection._close_token_file()
    connection._close_token_file()
    assert token.stat().st_mode & 0o777 == 0o600
    assert caplog.text.count("was open to other users") == 1


UNDER_UV = """
import os, sys
from ray._private.runtime_env import uv_runtime_env_hook
uv_runtime_env_hook._get_uv_run_cmdline = lambda: ["uv", "run", "python", "-m", "rdstudy.run"]
from ray._private import ray_constants
assert ray_constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV
import ray
from rdstudy.running.tune.connection import connected
from rdstudy.study import Resources
with connected(None, Resources()) as connection:
    print("joined", connection.joined, "in", ray.get(ray.remote(lambda: os.getcwd()).remote()))
    print("kept", [name for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_MODE") if os.environ.get(name) == "odd"])
print("home", os.listdir(os.environ["HOME"]))
"""


@pytest.mark.cluster
def test_a_ray_of_our_own_under_uv_works_where_it_is_started_and_leaves_nothing_in_the_home(tmp_path, short):
    """As Ray sees `uv run`, with an odd mode of authentication, in the longest folder there may be."""
    home = tmp_path / "home"
    home.mkdir()
    longest = short / ("x" * (folders._longest() - len(str(short)) - 1))
    longest.mkdir()
    environment = {**ENVIRONMENT, "HOME": str(home), "RAY_AUTH_MODE": "odd", "RAY_TMPDIR": str(longest)}
    command = [sys.executable, "-c", UNDER_UV]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"joined False in {tmp_path}", "kept []", "home []"]
    assert list(longest.iterdir()) == []


IN_PROCESS = """
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=50, _temp_dir={folder!r})
from rdstudy.run import main
print("status", main(["tiny.py", "--no-report", "--out", "out"]), "up", ray.is_initialized())
print("status", main(["tiny.py", "--no-report", "--out", "other", "--address", "local"]), "up", ray.is_initialized())
ray.shutdown()
"""


@pytest.mark.cluster
@pytest.mark.usefixtures("study")
def test_a_ray_that_this_process_has_is_used_and_left_as_it_is(short):
    code = IN_PROCESS.format(folder=str(short))
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("status")] == [
        "status 0 up True",
        "status 2 up True",
    ]
    assert "this process is connected to Ray already: that Ray is used, and left as it is" in done.stderr
    assert "error: --address is 'local', and this process is connected to the Ray at" in done.stderr


def test_ray_client_in_this_process_is_refused(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(connection, "ray_client", SimpleNamespace(is_connected=lambda: True))
    with (
        pytest.raises(ValueError, match="through Ray Client, through which no study runs"),
        connected(None, Resources()),
    ):
        pass


@pytest.mark.cluster
@pytest.mark.usefixtures("study")
def test_a_killed_driver_leaves_nothing_at_work_and_its_folders_go_with_the_next_run(short):
    environment = {"RAY_TMPDIR": str(short)}
    process = start("--out", "out", "--set", "recipe.steps=10000000", environment=environment)
    try:
        wait_until(lambda: any(map(is_training, descendants(process.pid))), "a trial trains", process=process)
        # but for Ray's agents, which try for more than a minute to tell their dead head of it before they end too
        children = [pid for pid in descendants(process.pid) if "Agent" not in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(children) >= 4, "a head, a node, its log, a trial"
    finally:
        end(process)
    assert len(list(short.iterdir())) == 2, "of Ray, and of Tune"
    wait_until(lambda: not any(map(_lives, children)), "the end of what Ray started, which outlives its driver")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", str(short))
        with own_folder() as folder:
            assert list(short.iterdir()) == [folder]


def _lives(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
