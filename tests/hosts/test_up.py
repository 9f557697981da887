"""`ray up cluster.local.yaml`, then studies, as they are run: a worker is lost, then the head, and no number changes.

Takes some four minutes. `make test-cluster` runs it; it is skipped without root and the programs that make hosts.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rdstudy.results.store import Store
from tests.hosts.lan import ROOT, Lan, missing
from tests.test_run import STUDY, table
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.hosts, pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

MEMBERS = 8
OPTIONS = ("--no-report", "--set", "recipe.steps=3000", "--set", "resources.cpus=2", "--set", "resources.pack_size=2")
TRAINS = "ray::.*train"  # Ray writes into the command line of a worker what it does
RAYLET = "raylet/raylet"
DRIVER = "^[^ ]*python -m rdstudy"  # not tmux, whose command line names the study for ever


@pytest.fixture
def lan(tmp_path: Path, image_cache: Path):
    folder = tmp_path / "lan"
    folder.mkdir()
    with Lan(folder, image_cache).running() as lan:
        yield lan


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text(
        STUDY.replace('"seed": [0]', '"seed": [0, 1]').replace("Resources()", "Resources(checkpoint_seconds=2)")
    )
    return path


@pytest.fixture
def undisturbed(tmp_path: Path, study: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The same study in one process here, beside the cluster."""
    command = [sys.executable, "-m", "rdstudy.run", str(study), "--local", "--out", str(tmp_path / "here"), *OPTIONS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        yield process
        process.kill()


@pytest.fixture
def cluster(lan: Lan, tmp_path: Path) -> Path:
    """The file of the repository, with the addresses filled in that a user fills in."""
    settings = yaml.safe_load((ROOT / "cluster.local.yaml").read_text())
    head, *workers = lan.addresses.values()
    settings["provider"].update(head_ip=head, worker_ips=workers)
    settings["auth"].update(ssh_user="root", ssh_private_key=str(lan.key))
    for node in ("head", "worker"):  # two cores on any machine: OPTIONS keep one trial a host
        commands = settings[f"{node}_start_ray_commands"]
        commands[:] = [re.sub(r"\bray start\b", "ray start --num-cpus=2", command) for command in commands]
    path = tmp_path / "cluster.local.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def without_host(name: str, out: Path) -> list[dict[str, Any]]:
    """The rows of a table, without what differs from run to run and from host to host."""
    return [{column: value for column, value in row.items() if column != "host"} for row in table(name, str(out))]


def test_a_study_on_a_cluster_outlives_a_worker_and_the_head(lan, cluster, study, undisturbed, tmp_path):
    def up() -> None:
        lan.at_desk(["ray", "up", "--yes", str(cluster)])

    def submit(out: Path) -> None:
        """Start the study; the command returns at once, and nothing of it stays at the desk."""
        settings = {"VENV": sys.prefix, "CLUSTER": cluster, "STUDY": study, "OUT": out, "OPTIONS": " ".join(OPTIONS)}
        lan.at_desk(["make", "submit", *(f"{name}={value}" for name, value in settings.items())])
        wait_until(lambda: lan.runs("head", DRIVER), "the study runs", pause=0.5)

    def stored(out: Path) -> int:
        return len(Store.open(str(out)).snapshot().outcomes()) if Store.exists(str(out)) else 0

    def finish(out: Path) -> None:
        wait_until(lambda: not lan.runs("head", DRIVER), "the study ended", pause=0.5)
        assert stored(out) == MEMBERS

    up()
    wait_until(lambda: lan.runs("w1", RAYLET) and lan.runs("w2", RAYLET), "the workers joined", pause=0.5)

    first, second = tmp_path / "first", tmp_path / "second"
    submit(first)
    wait_until(lambda: lan.runs("w1", TRAINS), "w1 trains", pause=0.5)
    assert lan.ssh("w1", f"pkill -KILL -f {RAYLET}").returncode == 0
    assert stored(first) < MEMBERS
    finish(first)
    wait_until(lambda: lan.runs("w1", RAYLET), "the autoscaler brought w1 back", pause=0.5)

    submit(second)
    wait_until(lambda: lan.runs("w2", TRAINS), "w2 trains", pause=0.5)
    lan.kill("head")
    assert stored(second) < MEMBERS
    lan.start("head")
    assert not lan.runs("head", "raylet")
    up()
    submit(second)
    finish(second)

    lan.at_desk(["ray", "down", "--yes", str(cluster)])
    assert not lan.runs("head", RAYLET)

    assert undisturbed.wait(timeout=PATIENCE_SECONDS) == 0
    for name in ("members", "trajectories"):
        expected = without_host(name, tmp_path / "here")
        assert expected
        assert without_host(name, first) == expected  # the commit too: it travels with the code
        assert without_host(name, second) == expected
