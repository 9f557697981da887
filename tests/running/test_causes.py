"""Faults inside of trials on a real Ray: what is tried again, what becomes a row, and what ends the run."""

import dataclasses
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from tests.running.tune.cluster_runs import ROOT, TWO_CPUS, run, run_here
from tests.test_run import STUDY, table

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("study")]

# Read by every Python process that starts with this folder on its path: breaks the training in the trials of Ray.
FAULTS = """
import os, pathlib
if b"default_worker" in pathlib.Path("/proc/self/cmdline").read_bytes():
    import rdstudy.running.worker as worker
    train_pack, notes = worker._train_pack, pathlib.Path(os.environ["NOTES"])

    def broken(pack, *arguments, **options):
        kind, earlier = os.environ["FAULT"], notes.read_text().splitlines() if notes.exists() else []
        first = not any(line.startswith(pack.pack_id) for line in earlier)
        with notes.open("a") as file:
            file.write(f"{pack.pack_id} {os.getpid()}\\n")
        if kind == "all" or (kind == "some" and pack.members[0].beta == 1):
            raise RuntimeError(f"a bug in {pack.pack_id}")
        if kind == "memory" and first and pack.members[0].beta == 1:
            raise MemoryError
        yield from train_pack(pack, *arguments, **options)

    worker._train_pack = broken
"""


@pytest.fixture
def study(study: Path) -> None:
    folder = study.with_name("faults")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(FAULTS)
    study.write_text(STUDY.replace('"depth": [1, 2]', '"depth": [1]'))  # two members: each process is dear to start


def faulty(kind: str) -> dict[str, str]:
    here = Path.cwd()
    return {**TWO_CPUS, "FAULT": kind, "NOTES": str(here / "notes"), "PYTHONPATH": f"{here / 'faults'}:{ROOT}"}


def tries() -> dict[str, list[str]]:
    """Id of a pack -> the processes that tried it, in order."""
    tries: dict[str, list[str]] = {}
    for line in Path("notes").read_text().splitlines():
        pack_id, process = line.split()
        tries.setdefault(pack_id, []).append(process)
    return tries


def test_an_exception_is_tried_twice_each_time_in_a_new_process_and_then_a_row():
    done = run("--out", "out", environment=faulty("some"))
    assert done.returncode == 1, done.stderr
    failed = [row for row in table("members", "out") if row["outcome"] == "failed"]
    assert {row["beta"] for row in failed} == {1.0}
    assert len({row["member_id"] for row in failed}) == 1
    assert all(row["reason"].startswith("RuntimeError: a bug in ") for row in failed)
    assert all(", in broken\n" in row["traceback"] for row in failed)
    assert done.stderr.count(", in broken\n") == 1, "once for each reason"
    assert done.stdout.count("sitecustomize.py:") == 1, "the place of each cause"
    (again,) = (processes for processes in tries().values() if len(processes) > 1)
    assert len(again) == len(set(again)) == 2
    assert set(Store.open("out").snapshot().outcomes().values()) == {"ok", "failed"}


def test_where_everything_fails_the_run_ends_itself_and_says_how_to_see_it():
    Path("tiny.py").write_text(STUDY.replace('"seed": [0]', '"seed": [0, 1]'))  # more packs than the run waits for
    done = run("--out", "out", environment=faulty("all"))
    assert done.returncode == 1, done.stderr
    assert "failures in a row on" in done.stdout
    assert "nothing stored: RuntimeError: a bug in" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "see it here:" in line]
    member = line.rpartition("--member ")[2].split()[0]
    assert member in {row["member_id"] for row in _planned()}
    assert "--out out --local" in line
    assert len(tries()) < 8


def test_out_of_memory_is_tried_on_a_larger_share():
    done = run("--out", "out", environment=faulty("memory"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("again, on a larger share") == 1
    assert run_here("--out", "local", "--local") == 0
    assert table("members", "out") == table("members", "local")


def _planned() -> list[dict[str, str]]:
    from rdstudy.run import load_study

    return [
        {**dataclasses.asdict(member), "member_id": member.member_id}
        for experiment in load_study("tiny.py").experiments
        for member in experiment.members(load_study("tiny.py"))
    ]
