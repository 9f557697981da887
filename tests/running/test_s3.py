"""Whole runs on bad storage: a bucket, a driver that is killed, a network that is cut, a disk that is full."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from rdstudy.report.__main__ import main as report
from rdstudy.results import schema
from rdstudy.results.files import Files
from rdstudy.results.store import Store
from rdstudy.run import main
from tests.running.tune.cluster_runs import LOCAL_RAY
from tests.s3 import Network, s3_server, s3_uri
from tests.test_run import ROOT, STUDY
from tests.test_run import table as read_table
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.cluster

MEMBERS = 8  # of the study
QUICK = [
    "--no-report",
    *("--set", "recipe.steps=60"),
    *("--set", "evaluation.trajectory_points=3"),
    *("--set", "evaluation.final_images=101"),
    *("--set", "evaluation.trajectory_images=31"),
    *("--set", "evaluation.validation_images=53"),
    *("--set", "measures.names=['rate_parts', 'reconstructions']"),
    *("--set", "measures.aggregate_images=101"),
    *("--set", "measures.latent_samples=11"),
    *("--set", "resources.checkpoint_seconds=1000"),
]
CHECKPOINTS = ("--set", "resources.checkpoint_seconds=0")
TABLES = ("members", "trajectories", "measures", "reconstructions")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a study: the quick one, with one seed and small networks."""
    path = tmp_path_factory.mktemp("study") / "quick.py"
    text = (ROOT / "studies" / "quick.py").read_text()
    path.write_text(text.replace('"seed": range(3)', '"seed": [0]').replace('"width": [128]', '"width": [9]'))
    return str(path)


@pytest.fixture(scope="module")
def undisturbed(study: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list]:
    """The tables of a run that nothing happens to."""
    out = str(tmp_path_factory.mktemp("undisturbed") / "out")
    assert main([study, *QUICK, "--local", "--out", out]) == 0
    tables = {name: table(name, out) for name in TABLES}
    assert len(tables["members"]) == 3 * MEMBERS  # of each, a row of three subsets
    return tables


def table(name: str, out: str) -> list:
    """Rows without what the clock says."""
    return [{key: row[key] for key in row if key != "measure_seconds"} for row in read_table(name, out)]


def start(study: str, *options: str, stderr: IO[str] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rdstudy.run", study, *QUICK, *options]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **LOCAL_RAY, "PYTHONPATH": path}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=stderr or subprocess.PIPE, text=True
    )


def rows_of(out: str) -> int:
    """Files of members that are stored so far."""
    store = Store(out)
    return len(store._files.names("members", ".parquet"))


def assert_whole(out: str, tables: dict[str, list]) -> None:
    """The tables of an undisturbed run, and nothing that work leaves behind."""
    for name, expected in tables.items():
        assert table(name, out) == expected, name
    store = Store.open(out)
    assert list(store.snapshot().damaged.values()) == []
    assert store.blobs.checkpoint_packs() == []
    assert store._files.inside("tmp") == []
    kept = {entry.base_name for entry in store._files.inside("")}
    assert kept <= {
        *schema.TABLES,
        "checkpoints",
        "datasets",
        "logs",
        "runs",
        "store.json",
        "studies",
        "tmp",
        "weights",
    }


def test_a_driver_that_is_killed_loses_nothing_in_a_bucket(s3, study, undisturbed):
    out = s3_uri(s3, "killed/results")
    process = start(study, "--out", out, *CHECKPOINTS)
    wait_until(lambda: rows_of(out) >= 1, "a row is stored", process=process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert rows_of(out) < MEMBERS
    process = start(study, "--out", out, *CHECKPOINTS)
    printed, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, printed + said
    assert_whole(out, undisturbed)


def test_a_network_that_is_cut_costs_the_time_until_it_is_mended_and_nothing_else(s3, study, undisturbed, tmp_path):
    said, there = tmp_path / "stderr", s3_uri(s3, "cut/results")
    with Network(s3) as network, said.open("w") as stderr:
        process = start(study, "--local", "--out", s3_uri(network.endpoint, "cut/results"), stderr=stderr)
        wait_until(lambda: rows_of(there) >= 1, "a row is stored", process=process)
        network.cut()
        stored = rows_of(there)
        wait_until(lambda: "tried again for 120 s" in said.read_text(), "the cut is noticed", process=process)
        assert rows_of(there) <= stored + 1
        network.mend()
        printed, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, printed + said.read_text()
    assert "answers again" in said.read_text()
    assert_whole(there, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes: the rows of the study are a half."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk to fill: only root may mount one ({mounted.stderr.strip()})")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_full_is_one_line_and_the_same_command_goes_on(small_disk, study, undisturbed, capsys):
    out = str(small_disk / "out")
    options = [study, *QUICK, "--local", "--out", out, "--set", "resources.keep_weights=False"]
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1_750_000))
    assert main(options) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert line.startswith(f"error: {out}/")
    assert "cannot be written: No space left on device; nothing that was stored is lost: free some space" in line
    assert f"Go on with: python -m rdstudy.run {study} --out {out}" in line
    stored = rows_of(out)
    assert 0 < stored < MEMBERS
    ballast.unlink()
    assert main(options) == 0
    assert_whole(out, undisturbed)


def test_keys_in_an_address_stand_nowhere(s3, capfd, caplog, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("tiny.py").write_text(STUDY)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    plain = s3_uri(s3, "keys")
    with_keys = plain.replace("s3://", "s3://KEYKEY:SECRET%2FSECRET@")
    assert main(["tiny.py", "--out", with_keys, "--local"]) == 0
    assert os.environ["AWS_SECRET_ACCESS_KEY"] == "SECRET/SECRET"
    assert main(["tiny.py", "--out", with_keys, "--plan"]) == 0
    assert report([with_keys]) == 0
    output = "".join(capfd.readouterr()) + caplog.text
    assert "the keys in the address can be read in the process list" in output
    files = Files(plain)
    kept = [files.read(name) for folder in files.inside("") for name in files.names(folder.base_name, "")]
    page = Path("reports/tiny.html").read_bytes()
    assert len(kept) > 8
    for text in (output.encode(), page, *kept):
        assert b"SECRET" not in text.replace(b"AWS_SECRET", b"")
        assert b"KEYKEY" not in text
