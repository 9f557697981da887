"""Nodes come while a study runs, though none that could run it is there when it starts, and go when it is done."""

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.running.tune.cluster_runs import slow_down
from tests.test_run import ROOT, table
from tests.waiting import wait_until

pytestmark = pytest.mark.cluster

WORKERS, CPUS = 2, 2

COUNT_NODES = """
import socket, sys, time, ray
host, port = sys.argv[1].split(":")
while socket.socket().connect_ex((host, int(port))):
    time.sleep(0.2)
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50)
while True:
    print("nodes", sum(node["Alive"] for node in ray.nodes()), flush=True)
    time.sleep(0.5)
"""

ASK = """
import socket, sys, time, ray
from rdstudy.running.tune.growth import can_grow
host, port = sys.argv[1].split(":")
while socket.socket().connect_ex((host, int(port))):
    time.sleep(0.2)
ray.init(address=sys.argv[1], log_to_driver=False, logging_level=50)
print([can_grow({"CPU": int(cpus)}) for cpus in sys.argv[2:]])
"""


@pytest.fixture
def study(study):
    slow_down(study)
    text = study.read_text().replace('"seed": [0]', '"seed": [0, 1]')
    study.write_text(text.replace("Resources()", f"Resources(cpus={CPUS})"))


@pytest.fixture(scope="module")
def address():
    """Of a cluster that is a head without CPUs until somebody asks for more, and again some seconds after that."""
    from tests.running.tune.autoscaling import autoscaling_head

    types = {"worker": {"resources": {"CPU": CPUS}, "max_workers": WORKERS}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("RAY_worker_niceness", "0")
        with autoscaling_head(types, idle_minutes=0.15) as address:
            yield address


@pytest.mark.usefixtures("study")
def test_nodes_come_while_a_study_runs_and_go_when_it_is_done(address):
    with node_counts(address) as counts:
        wait_until(lambda: counts, "the head is up")
        assert set(counts) == {1}
        refused = run(address, "--out", "elsewhere")
        assert refused.returncode == 2, refused.stdout + refused.stderr
        assert "results folder elsewhere may be on this machine alone, and nodes that train are still" in refused.stderr
        done = run(address, "--set", "recipe.steps=150")
        assert done.returncode == 0, done.stdout + done.stderr
        assert max(counts) == 1 + WORKERS
        wait_until(lambda: counts[-1] == 1, "nodes are gone")
    assert len(table()) == 16


def test_what_some_node_can_bring_is_known_while_it_starts_and_after_and_what_none_can_bring_too(address):
    """The first question starts a node, the second comes while it starts, and the third when it is idle."""
    command = [sys.executable, "-c", ASK, address, str(CPUS), str(CPUS), str(CPUS), str(CPUS + 1)]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[True, True, True, False]"


def run(address: str, *options: str) -> subprocess.CompletedProcess[str]:
    shared = f"file://{Path.cwd()}/out"
    command = [sys.executable, "-m", "rdstudy.run", "tiny.py", "--no-report", "--out", shared, "--address", address]
    return subprocess.run([*command, *options], env=dict(os.environ), capture_output=True, text=True, check=False)


@contextlib.contextmanager
def node_counts(address: str):
    """How many nodes are alive, twice a second: a list that grows."""
    counts: list[int] = []
    watcher = subprocess.Popen(
        [sys.executable, "-c", COUNT_NODES, address], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    said = (line.split() for line in watcher.stdout or ())  # Ray says this and that too
    reader = threading.Thread(target=lambda: counts.extend(int(words[1]) for words in said if words[:1] == ["nodes"]))
    reader.start()
    try:
        yield counts
    finally:
        watcher.kill()
        reader.join()
        watcher.communicate()
