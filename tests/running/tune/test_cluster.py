"""The same study through Ray: the same bits, reused processes, and a clear end."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.running.tune.cluster_runs import ENVIRONMENT, TWO_CPUS, run, run_here
from tests.test_run import table

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("study")]


@pytest.fixture
def study(study: Path) -> None:
    study.write_text(study.read_text().replace('"seed": [0]', '"seed": [0, 1]'))


def test_through_ray_and_in_this_process_the_tables_are_equal(capsys):
    through_ray = run("--out", "ray", "--set", "resources.pack_size=2", environment=TWO_CPUS)
    assert through_ray.returncode == 0, through_ray.stderr
    assert "8/8 models" in through_ray.stderr
    assert "Ray: a private one for this run, 2 CPU cores\n" in through_ray.stderr
    assert run_here("--out", "local", "--local") == 0
    for name in ("members", "trajectories"):
        assert table(name, "ray") == table(name, "local")
        assert table(name, "ray")
    assert run_here("--out", "ray") == 0
    assert "nothing to do" in capsys.readouterr().out


def test_each_trial_asks_ray_for_the_share_of_its_own_pack():
    code = (
        "from rdstudy.running.tune.queue import request\n"
        "for share in (0.25, 1.0, 0.0):\n"
        "    print(request({'cpus': 3, 'gpus': share}).required_resources)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["{'CPU': 3.0, 'GPU': 0.25}", "{'CPU': 3.0, 'GPU': 1.0}", "{'CPU': 3.0}"]


def test_local_never_imports_ray():
    code = (
        "import sys; from rdstudy.run import main\n"
        "main(['tiny.py', '--local', '--no-report', '--out', 'out'])\n"
        "sys.exit('ray' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, check=False).returncode == 0


def test_more_than_there_is_to_ask_for_is_one_clear_line(capsys):
    done = run("--out", "out", "--set", "resources.cpus=4096")
    assert done.returncode == 2
    expected = "resources ask for 4096 CPUs and no GPU for each trial; allowed: what the largest node of this Ray has, "
    assert expected in done.stderr
    assert done.stderr.count("error:") == 1
    for address, expected in (
        ("127.0.0.1:1", "no Ray head listens at '127.0.0.1:1': [Errno 111] Connection refused"),
        ("nonsense", "--address is 'nonsense'; allowed: HOST:PORT of a Ray head, "),
    ):
        assert run_here("--out", "out", "--address", address) == 2
        said = capsys.readouterr().err
        assert expected in said
        assert said.count("error:") == 1
    assert Store.open("out").snapshot().outcomes() == {}


def test_a_trial_that_finds_another_folder_ends_the_run_and_writes_nothing():
    code = (
        "import sys\n"
        "from rdstudy.results.store import Store\n"
        "from rdstudy.run import main\n"
        "Store.identity = lambda self: 'as it is here alone'\n"
        "sys.exit(main(['tiny.py', '--no-report', '--out', 'out']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "stopped: results folder" in done.stdout
    assert "another folder lies there on" in done.stdout
    assert Store.open("out").snapshot().outcomes() == {}


def test_a_trial_that_ends_without_its_rows_is_started_again():
    """Tune may take a trial for finished that is not: what counts is in the store."""
    code = (
        "import sys\n"
        "from rdstudy.running.tune import executor\n"
        "from rdstudy.run import main\n"
        "run_round, rounds = executor.run_round, []\n"
        "def forgetful(packs, work, observer):\n"
        "    rounds.append(len(packs))\n"
        "    return run_round(packs[1:] if len(rounds) == 1 else packs, work, observer)\n"
        "executor.run_round = forgetful\n"
        "status = main(['tiny.py', '--no-report', '--out', 'out'])\n"
        "print('rounds', rounds)\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "rounds [8, 1]" in done.stdout
    assert "1 packs ended without all their rows; started again" in done.stderr
    assert len(table("members", "out")) == 16
