"""clusters/slurm.sh on a Slurm of this machine: the study's rows are there, its status is the job's, nothing stays."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.slurm.controller import CPUS, Slurm, slurm
from tests.test_run import OFTEN_SAVED, STUDY
from tests.waiting import wait_until

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).resolve().parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Slurm]:
    missing = [name for name in ("munged", "slurmctld", "slurmd") if shutil.which(name) is None]
    assert not missing, f"{missing} not installed: apt-get install slurmctld slurmd munge"
    assert os.geteuid() == 0, "slurmd starts jobs as root alone"
    with tempfile.TemporaryDirectory(prefix="rdslurm") as folder, slurm(Path(folder)) as running:
        yield running


def submit(cluster: Slurm, out: Path, *options: str) -> str:
    """Start the script with few resources; returns the id of the job."""
    variables = {
        "PYTHON": sys.executable,
        "PYTHONPATH": str(ROOT),
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "OMP_NUM_THREADS": "1",
        "RAY_worker_niceness": "0",
    }
    words = ["sbatch", "--parsable", "--nodes=1", "--gres=none", f"--cpus-per-task={CPUS}", f"--output={out}.txt"]
    words += ["clusters/slurm.sh", *options, "--out", str(out), "--no-report"]
    environment = {**cluster.environment, **variables}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + cluster.logs()
    return done.stdout.strip()


def said(cluster: Slurm, out: Path) -> str:
    text = Path(f"{out}.txt")
    return (text.read_text() if text.exists() else "nothing was said") + cluster.logs()


def test_a_study_runs_as_a_job_to_its_rows(cluster, tmp_path):
    (tmp_path / "tiny.py").write_text(STUDY)
    out = tmp_path / "out"
    job = submit(cluster, out, str(tmp_path / "tiny.py"))
    wait_until(lambda: cluster.state_of(job) in ENDED, lambda: said(cluster, out))
    assert cluster.state_of(job) == "COMPLETED", said(cluster, out)
    assert set(Store.open(str(out)).snapshot().outcomes().values()) == {"ok"}
    assert "Ray: joined the one at" in said(cluster, out)
    assert not Path(f"/tmp/rd-{job}").exists()


def test_the_end_of_a_jobs_time_saves_and_says_how_to_go_on_and_a_failure_is_the_jobs(cluster, tmp_path):
    (tmp_path / "tiny.py").write_text(STUDY)
    out = tmp_path / "out"
    job = submit(cluster, out, str(tmp_path / "tiny.py"), "--set", "recipe.steps=100000000", *OFTEN_SAVED)
    wait_until(
        lambda: any(out.glob("checkpoints/*/*")) or cluster.state_of(job) in ENDED,
        lambda: said(cluster, out),
    )
    assert cluster.state_of(job) == "RUNNING", said(cluster, out)
    cluster.ask("scancel", "--batch", "--signal=TERM", job)  # what --signal=B:TERM@120 sends
    wait_until(lambda: cluster.state_of(job) in ENDED, lambda: said(cluster, out))
    assert cluster.state_of(job) == "FAILED"
    assert "ExitCode=130:0" in cluster.ask("scontrol", "show", "job", job)
    assert "Go on with: python -m rdstudy.run" in said(cluster, out)
