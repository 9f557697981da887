"""What ends a study on Ray before it is done: a kill, an interrupt, a limit. Nothing is lost, and the end is said."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.running.tune.cluster_runs import ENVIRONMENT, descendants, end, is_training, run, run_here, slow_down, start
from tests.test_run import OFTEN_SAVED, table
from tests.waiting import PATIENCE_SECONDS, wait_until

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True)
def study(study: Path) -> None:
    slow_down(study)
    study.write_text(study.read_text().replace('"depth": [1, 2]', '"depth": [1]'))


def test_a_killed_worker_process_costs_nothing():
    """SIGKILL of trial processes in the middle of their work: Tune starts them again, and the rows are the same."""
    steps = ("--set", "recipe.steps=300", *OFTEN_SAVED)
    assert run_here("--out", "whole", "--local", *steps) == 0
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
    Path("tiny.py").write_text(Path("tiny.py").read_text().replace('"beta": [0.1, 1]', '"beta": [1]'))
    length = 1200 if number is signal.SIGINT else 10**7  # the second is not trained to its end
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
        assert run_here("--out", "whole", "--local", *steps) == 0
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
    """At the first checkpoint an hour has passed: however long Ray takes to start, a trial is at work then."""
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from rdstudy.run import main\n"
        "from rdstudy.running import driver\n"
        "limit_reached = driver.limit_reached\n"
        "def in_an_hour(total, *, elapsed, **limits):\n"
        "    hour = 3600 * any(Path('out').glob('checkpoints/*/*'))\n"
        "    return limit_reached(total, elapsed=elapsed + hour, **limits)\n"
        "driver.limit_reached = in_an_hour\n"
        "sys.exit(main(['tiny.py', '--no-report', '--out', 'out', *sys.argv[1:]]))\n"
    )
    options = ("--set", "recipe.steps=10000000000", "--max-hours", "1", *OFTEN_SAVED)
    done = subprocess.run(
        [sys.executable, "-c", code, *options], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130, done.stderr
    assert "--max-hours 1 stops this run at about" in done.stdout
    assert "--max-hours 1 is reached" in done.stdout
    assert list(Path("out").glob("checkpoints/*/*"))


def _wait_for_training(process: subprocess.Popen[str]) -> None:
    try:
        wait_until(lambda: any(map(is_training, descendants(process.pid))), "a trial trains", process=process)
        time.sleep(2)
    except AssertionError:
        end(process)
        raise
