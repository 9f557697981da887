"""A cluster that is there already: its nodes get the run's own code or are refused, and so is what it can never do."""

import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from rdstudy.running.provenance import versions
from rdstudy.running.tune.nodes import NodeReport, refuse
from tests.chaos.nodes import SpotNodes
from tests.running.tune.cluster_runs import ENVIRONMENT, ROOT, run, run_here
from tests.test_run import STUDY, table

pytestmark = pytest.mark.cluster

TRACKED = """
from pathlib import Path
from ray import tune

class Notes(tune.Callback):
    def on_trial_complete(self, iteration, trials, trial, **info):
        with Path("notes").open("a") as file:
            file.write(f"{trial.config['dataset']} {trial.config['depth']} {trial.last_result['members_done']}\\n")

def callbacks():
    return [Notes()]
"""
WITHOUT_ITS_CODE = (
    "import sys\n"
    "from rdstudy.running.tune import connection\n"
    "assert connection._runtime_environment()\n"
    "connection._runtime_environment = dict\n"
    "from rdstudy.run import main\n"
    "sys.exit(main(sys.argv[1:]))\n"
)


@pytest.fixture
def study(study: Path) -> None:
    declared = "\nSTUDY = Study("
    study.write_text(study.read_text().replace(declared, f"{TRACKED}{declared}\n    callbacks=callbacks,"))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster whose two nodes of one CPU have this checkout's code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_worker_niceness", "0")
        with SpotNodes(2, back_after_seconds=(1, 1), randomness=random.Random(0)) as nodes:
            yield nodes.address


@pytest.fixture
def other_code(tmp_path: Path) -> dict[str, str]:
    """An environment in which the driver's package differs from that of the nodes."""
    copy = tmp_path / "other" / "rdstudy"
    shutil.copytree(ROOT / "rdstudy", copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (copy / "__init__.py").open("a") as file:
        file.write('\n__version__ = "97.5"\n')
    return {"PYTHONPATH": str(copy.parent)}


@pytest.mark.usefixtures("study")
def test_the_code_of_the_run_reaches_the_nodes_and_trackers_see_packs(address, other_code):
    done = run("--out", "out", "--address", address, environment=other_code)
    assert done.returncode == 0, done.stdout + done.stderr
    (version,) = {row["code_version"] for row in Store.open("out").snapshot().table("members").to_pylist()}
    assert re.fullmatch("97.5-f[0-9a-f]{12}", version)  # no checkout: a hash of its files
    assert "`ray down` with its file takes it down" in done.stdout
    assert f"Ray: joined the one at {address}, 3 nodes with " in done.stderr
    assert sorted(Path("notes").read_text().splitlines()) == ["tetrominoes 1 1"] * 2 + ["tetrominoes 2 1"] * 2
    assert run_here("--out", "local", "--local") == 0
    without = [{key: row[key] for key in row if key != "code_version"} for row in table("members", "out")]
    assert without == [{key: row[key] for key in row if key != "code_version"} for row in table("members", "local")]


@pytest.mark.usefixtures("study")
def test_without_it_nodes_with_other_code_are_refused(address, other_code):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_ITS_CODE, "tiny.py", "--no-report", "--out", "out", "--address", address],
        env={**ENVIRONMENT, **other_code},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "runs rdstudy " in line
    assert "allowed: the same on all nodes" in line
    assert Store.open("out").snapshot().outcomes() == {}


@pytest.mark.usefixtures("study")
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("gpus=1", "1 CPUs and a whole GPU for each trial; allowed: what the largest node of this Ray has, 1 CPUs and"),
        ("cpus=2", "2 CPUs and no GPU for each trial; allowed: what the largest node of this Ray has, 1 CPUs"),
    ],
)
def test_what_no_single_node_has_and_nobody_can_bring_is_one_line(address, setting, expected):
    done = run("--out", "out", "--address", address, "--set", f"resources.{setting}")
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"resources ask for {expected}" in line


def test_several_nodes_are_refused_a_folder_that_one_of_them_does_not_see(address, tmp_path):
    """All nodes see the folder, and another one than the driver's at a second path."""
    code = (
        "import ray, sys\n"
        "from rdstudy.running.tune.nodes import check_nodes\n"
        "from rdstudy.results.store import Store\n"
        f"ray.init(address={address!r}, log_to_driver=False)\n"
        f"check_nodes(Store.create({str(tmp_path / 'there')!r}), gpus=False)\n"
        f"other = Store.create({str(tmp_path / 'nowhere')!r})\n"
        "other.identity = lambda: 'as it is here alone'\n"
        "try:\n"
        "    check_nodes(other, gpus=False)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "ray.shutdown()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nowhere cannot be used from" in done.stdout
    assert done.stdout.count("another folder lies there on") == 1


def test_what_a_node_lacks_is_named():
    good = NodeReport(versions(), "", gpu=True)
    refuse("out", [("a", good)])
    other = NodeReport({**versions(), "torch": "2.0.1", "python": "3.10.2"}, "", gpu=True)
    with pytest.raises(ValueError, match=r"node b runs python 3\.10\.2, here .*, torch 2\.0\.1, here .*; allowed"):
        refuse("out", [("a", good), ("b", other)])
    blind = NodeReport(versions(), "no such folder", gpu=True)
    with pytest.raises(ValueError, match=r"out cannot be used from b, c: no such folder; allowed with several nodes"):
        refuse("out", [("a", good), ("b", blind), ("c", blind)])
    with pytest.raises(ValueError, match=r"PyTorch sees no GPU on b, where Ray counts one"):
        refuse("out", [("a", good), ("b", NodeReport(versions(), "", gpu=False))])


def test_images_of_ones_own_reach_a_node_that_lacks_them(address, tmp_path, monkeypatch):
    """The nodes draw and keep images elsewhere than this run does, as other machines do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RDSTUDY_CACHE", str(tmp_path / "cache of the driver"))
    images = (
        "import numpy\nIMAGES = numpy.random.default_rng(0).integers(0, 256, (211, 1, 32, 32), dtype=numpy.uint8)\n"
    )
    own = "from rdstudy.datasets import own_dataset\n" + images
    text = own + STUDY.replace('["tetrominoes"]', '[own_dataset("mine", IMAGES)]').replace('"cv(97)"', '"default"')
    (tmp_path / "tiny.py").write_text(text)
    done = run("--out", "out", "--address", address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert run_here("--out", "local", "--local") == 0
    assert table("members", "out") == table("members", "local")
    assert list((tmp_path / "out" / "datasets").iterdir())


def test_a_part_of_ones_own_reaches_nodes_that_never_saw_its_file(address, tmp_path, monkeypatch):
    """The nodes were there before the file was, and it is gone before any of them is asked: both run its bytes."""
    monkeypatch.chdir(tmp_path)
    seen = tmp_path / "seen"
    (tmp_path / "nets.py").write_text(
        "import ray\nfrom torch import nn\n\n"
        "if ray.is_initialized():\n"
        f"    with open({str(seen)!r}, 'a') as file:\n"
        "        file.write(ray.get_runtime_context().get_node_id() + '\\n')\n\n"
        "def net(shape):\n"
        "    return nn.Linear(shape.pixels, 2 * shape.latent_dim), nn.Linear(shape.latent_dim, shape.pixels)\n"
    )
    axis = '"architecture": [part("nets.py:net")],\n                "seed": [3, 4, 5, 6],'
    own = STUDY.replace("import Evaluation", "import part, Evaluation").replace('"depth": [1, 2],', axis)
    own = own.replace('"width": [7],', "").replace('"seed": [0],', "")
    (tmp_path / "tiny.py").write_text(own)
    assert run("--out", "local", "--local").returncode == 0
    (tmp_path / "tiny.py").write_text(
        f"{own}\nfrom pathlib import Path\nPath(__file__).with_name('nets.py').unlink()\n"
    )
    done = run("--out", "out", "--address", address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "nets.py").exists()
    assert len(set(seen.read_text().split())) == 2, "both nodes took part"
    assert table("members", "out") == table("members", "local")
