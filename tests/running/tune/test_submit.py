"""`ray job submit` of a study, as on Kubernetes: its folder goes to a head with a dashboard, which trains it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.running.tune.cluster_runs import LOCAL_RAY, ROOT
from tests.test_run import STUDY
from tests.waiting import wait_until

pytestmark = pytest.mark.heavy

RAY = (sys.executable, "-m", "ray.scripts.scripts")  # the command `ray`, also where it lies in another environment
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("RAY_TMPDIR", "RAY_ADDRESS")},
    **LOCAL_RAY,
    "PYTHONPATH": str(ROOT),
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "OMP_NUM_THREADS": "1",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}
FACES = """
import numpy as np
from pathlib import Path
from rdstudy import own_dataset

FACES = own_dataset("faces", np.load(Path(__file__).with_name("faces.npy")))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of the job server of a Ray that listens on loopback alone."""
    gcs, dashboard, agent, other_agent, client = _free_ports(5)
    with tempfile.TemporaryDirectory(prefix="rd-", ignore_cleanup_errors=True) as folder:
        words = [*RAY, "start", "--head", "--block", "--node-ip-address=127.0.0.1", f"--port={gcs}", "--num-cpus=2"]
        words += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"]
        words += [f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={other_agent}"]
        words += [f"--ray-client-server-port={client}", "--object-store-memory=100000000", f"--temp-dir={folder}"]
        log = Path(folder, "head.log")
        with log.open("w") as stream:
            head = subprocess.Popen(words, env=ENVIRONMENT, stdout=stream, stderr=stream, start_new_session=True)
        try:
            address = f"http://127.0.0.1:{dashboard}"
            wait_until(
                # Not `list`, which asks no agent.
                lambda: ray("job", "submit", "--address", address, "--", "true").returncode == 0,
                lambda: f"a job of the job server: python -m pip install 'ray[default]'?\n{log.read_text()}",
                process=head,
                pause=1,
            )
            yield address
        finally:
            head.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                head.wait(timeout=60)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(head.pid, signal.SIGKILL)
            head.wait()


def ray(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RAY, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


def submitted(server: str, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """What the command of the page on clusters does, which waits here for the job's end."""
    words = ["python", "-m", "rdstudy.run", "tiny.py", "--no-report", *options]
    return ray("job", "submit", "--address", server, "--working-dir", str(folder), "--", *words, folder=folder.parent)


def test_a_study_is_trained_with_the_images_of_its_folder(server, tmp_path):
    import numpy as np

    folder, out = tmp_path / "mine", tmp_path / "out"
    folder.mkdir()
    np.save(folder / "faces.npy", np.random.default_rng(0).integers(0, 256, (131, 1, 8, 8), np.uint8))
    study = STUDY.replace("\nSTUDY = Study(", FACES + "\nSTUDY = Study(").replace('"tetrominoes"', "FACES")
    (folder / "tiny.py").write_text(study.replace("cv(97)", "cv(61)"))
    done = submitted(server, folder, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Ray: joined the one at " in done.stdout
    assert set(Store.open(str(out)).snapshot().outcomes().values()) == {"ok"}


def test_a_mistake_in_it_is_the_jobs_failure_and_its_line_is_shown(server, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "tiny.py").write_text(STUDY)
    done = submitted(server, folder, "--out", str(tmp_path / "out"), "--set", "recipe.stepps=3")
    assert done.returncode != 0
    assert "error: --set is 'recipe.stepps' (did you mean recipe.steps?)" in done.stdout
