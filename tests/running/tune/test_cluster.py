"""The same study through Ray: the same bits, reused processes, killed workers, and a clear end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.running.tune.cluster_runs import ENVIRONMENT, TWO_CPUS, descendants, end, is_training, run, start
from tests.test_run import STUDY, table
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("study")]


@pytest.fixture
def study(study: Path) -> None:
    study.write_text(study.read_text().replace('"seed": [0]', '"seed": [0, 1]'))


def test_through_ray_and_in_this_process_the_tables_are_equal():
    through_ray = run("--out", "ray", "--set", "resources.pack_size=2", environment=TWO_CPUS)
    assert through_ray.returncode == 0, through_ray.stderr
    assert "8/8 models" in through_ray.stderr
    assert "Ray: a private one for this run, 2 CPU cores\n" in through_ray.stderr
    assert run("--out", "local", "--local").returncode == 0
    for name in ("members", "trajectories"):
        assert table(name, "ray") == table(name, "local")
        assert table(name, "ray")
    again = run("--out", "ray")
    assert "nothing to do" in again.stdout


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


def test_a_killed_worker_process_costs_nothing():
    """SIGKILL of trial processes in the middle of their work: Tune starts them again, and the rows are the same."""
    Path("tiny.py").write_text(STUDY)
    steps = ("--set", "recipe.steps=3000")
    assert run("--out", "whole", "--local", *steps).returncode == 0
    process = start("--out", "out", *steps)
    victims: list[int] = []

    def one_is_seen() -> bool:
        if list(Path("out").glob("checkpoints/*/*")):
            victims.extend(pid for pid in descendants(process.pid) if is_training(pid))
        return bool(victims)

    wait_until(one_is_seen, "a trial trains that has saved", process=process)
    os.kill(victims[0], signal.SIGKILL)
    printed, said = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, printed + said
    assert "its process ended" in said
    assert "; again" in said
    for name in ("members", "trajectories"):
        assert table(name, "out") == table(name, "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_in_order_and_the_same_command_goes_on(number):
    """A model that trains for several times the seconds after which a trial hears of the interrupt."""
    Path("tiny.py").write_text(
        STUDY.replace('"depth": [1, 2]', '"depth": [1]').replace('"beta": [0.1, 1]', '"beta": [1]')
    )
    length = 16_000 if number is signal.SIGINT else 10**7  # the second is not trained to its end
    steps = ("--set", f"recipe.steps={length}", "--set", "resources.checkpoint_seconds=1e6")
    process = start("--out", "out", *steps)
    _wait_for_training(process)
    process.send_signal(number)
    said, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, error
    assert f"Go on with: python -m rdstudy.run tiny.py --out out --set recipe.steps={length}" in said
    assert list(Path("out").glob("checkpoints/*/*"))  # saved because of the interrupt: no other was due
    (log,) = Store.open("out").blobs.logs("tiny")
    assert Store.open("out").blobs.read_log(log).endswith("end of this run: exit status 130\n")
    if number is signal.SIGINT:
        assert run("--out", "out", *steps).returncode == 0
        assert run("--out", "whole", "--local", *steps).returncode == 0
        assert table("members", "out") == table("members", "whole")


def test_a_second_interrupt_stops_at_once_and_says_how_to_go_on():
    process = start("--out", "out", "--set", "recipe.steps=10000000")
    _wait_for_training(process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert "Go on with: python -m rdstudy.run tiny.py --out out" in said


def test_a_limit_of_time_stops_in_order():
    """The time begins before Ray is started, which takes a good part of it."""
    done = run("--out", "out", "--set", "recipe.steps=100000000", "--max-hours", "0.025")
    assert done.returncode == 130, done.stderr
    assert "--max-hours 0.025 stops this run at about" in done.stdout
    assert "--max-hours 0.025 is reached" in done.stdout
    assert list(Path("out").glob("checkpoints/*/*"))


def _wait_for_training(process: subprocess.Popen[str]) -> None:
    try:
        wait_until(lambda: any(map(is_training, descendants(process.pid))), "a trial trains", process=process)
        time.sleep(2)
    except AssertionError:
        end(process)
        raise


def test_more_than_there_is_to_ask_for_is_one_clear_line():
    for options, expected in (
        (
            ("--set", "resources.cpus=4096"),
            "resources ask for 4096 CPUs and no GPU for each trial; allowed: what the largest node of this Ray has, ",
        ),
        (
            ("--address", "127.0.0.1:1"),
            "no Ray head listens at '127.0.0.1:1': [Errno 111] Connection refused",
        ),
        (("--address", "nonsense"), "--address is 'nonsense'; allowed: HOST:PORT of a Ray head, "),
    ):
        done = run("--out", "out", *options)
        assert done.returncode == 2
        assert expected in done.stderr
        assert done.stderr.count("error:") == 1
    assert Store.open("out").snapshot().outcomes() == {}


def test_several_nodes_are_refused_a_folder_that_one_of_them_does_not_see(tmp_path):
    """Two real nodes on this machine; both see the folder, and another one than the driver's at a second path."""
    code = (
        "import ray, sys\n"
        "from ray.cluster_utils import Cluster\n"
        "from rdstudy.running.tune.nodes import check_nodes\n"
        "from rdstudy.results.store import Store\n"
        "cluster = Cluster(initialize_head=True, head_node_args={'num_cpus': 1})\n"
        "cluster.add_node(num_cpus=1)\n"
        "ray.init(address=cluster.address, log_to_driver=False)\n"
        f"check_nodes(Store.create({str(tmp_path / 'there')!r}), gpus=False)\n"
        f"other = Store.create({str(tmp_path / 'nowhere')!r})\n"
        "other.identity = lambda: 'as it is here alone'\n"
        "try:\n"
        "    check_nodes(other, gpus=False)\n"
        "except ValueError as error:\n"
        "    print(error)\n"
        "ray.shutdown()\n"
        "cluster.shutdown()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nowhere cannot be used from" in done.stdout
    assert done.stdout.count("another folder lies there on") == 1


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
