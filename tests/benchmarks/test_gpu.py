"""What a GPU machine is asked in one command: sections that fail alone, tables, and nothing that it does not have."""

import contextlib
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import gpu, gpu_sections
from benchmarks.bounds import bound_of_card, table
from benchmarks.contenders import ROOT
from benchmarks.gpu import FAILED, OVER, SECTIONS, Ending
from benchmarks.gpu_sections import Table, Task
from benchmarks.sizes import SIZES
from benchmarks.tables import write_table
from rdstudy.planning.cards import CARDS
from rdstudy.training.stacked import StackedTrainer
from tests.waiting import wait_until

BLOCKED = ("ray", "altair", "pandas", "vl_convert", "h5py", "scipy", "hypothesis", "pytest")


def lines(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture
def task(tmp_path) -> Task:
    return Task(tmp_path, tmp_path / "store", torch.device("cpu"), is_smoke=True, end=time.monotonic() + 1e6)


def test_each_section_has_its_share_of_what_is_left_and_none_stops_another():
    names = ["ceilings", "equality", "ladder"]
    given: list[float] = []

    def run(name: str, seconds: float) -> str:
        given.append(seconds)
        return {"equality": FAILED}.get(name, "ok")

    endings = list(gpu.run_sections(names, time.monotonic() + 100, run))
    assert [ending.outcome for ending in endings] == ["ok", FAILED, "ok"]
    weights = [SECTIONS[name] for name in names]
    assert given[0] == pytest.approx(100 * weights[0] / sum(weights), rel=0.1)
    assert given[2] == pytest.approx(100, rel=0.1), "what others did not use"
    assert list(gpu.run_sections(names, time.monotonic() - 1, lambda *_: OVER))[2].allowed_seconds == 0


def test_a_section_that_fails_is_told_and_the_status_is_1(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "_run", lambda name, *_: FAILED if name == "bounds" else "ok")
    assert gpu.main(["--minutes", "1", "--out", str(tmp_path), "--sections", "ceilings", "bounds", "memory"]) == 1
    assert [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()] == [
        "ceilings: ok",
        "bounds: failed",
        "memory: ok",
    ]
    assert [row[:2] for row in lines(tmp_path / "summary.csv")[1:]] == [
        ["ceilings", "ok"],
        ["bounds", "failed"],
        ["memory", "ok"],
    ]
    monkeypatch.setattr(gpu, "_run", lambda *_: "ok")
    assert gpu.main(["--minutes", "1", "--out", str(tmp_path), "--sections", "ceilings"]) == 0


def test_a_section_whose_time_is_over_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    """The command is one that starts another and waits for it."""
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(9000)'])"
    popen = subprocess.Popen
    started: list[subprocess.Popen[bytes]] = []

    def start(_: list[str], **settings: object) -> "subprocess.Popen[bytes]":
        started.append(popen([sys.executable, "-c", child], **settings))  # type: ignore[call-overload]
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    options = gpu._parse(["--smoke", "--out", str(tmp_path)])
    assert gpu._run("bounds", 1.0, options) == OVER
    wait_until(lambda: not working_in_group(started[0].pid), "the end of all processes", pause=0.01)  # killed: soon


def working_in_group(group: int) -> list[int]:
    """Processes of a group that have not ended."""
    working = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, _, of_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(of_group) == group and state not in "ZX":
                working.append(int(path.parent.name))
    return working


def test_every_section_is_one_that_runs():
    assert list(gpu_sections._RUN) == list(SECTIONS)


def test_a_table_is_there_from_its_first_line(tmp_path):
    results = Table(tmp_path, "t", ("name", "value"))
    results.add("a|b", 1 / 3)
    assert lines(tmp_path / "t.csv") == [["name", "value"], ["a|b", str(1 / 3)]]
    results.add("c", None)
    assert (tmp_path / "t.md").read_text() == "| name | value |\n| --- | --- |\n| a\\|b | 0.3333 |\n| c |  |\n"


def test_bounds_of_the_measured_card_stand_beside_the_data_sheets(task):
    write_table(
        task.folder,
        "ceilings",
        ("what", "precision", "value", "unit"),
        [("copy", "", 2e12, ""), ("large product", "float32", 4e13, ""), ("large product", "tf32", 3e14, "")],
    )
    gpu_sections.bounds(task)
    rows = lines(task.folder / "bounds.csv")[1:]
    assert {row[1] for row in rows} == {"measured", *CARDS}
    assert len(rows) == len(SIZES) * (1 + len(CARDS)) * 2 * 2
    for _, *rest in rows:
        arithmetic, traffic, larger, kernels, fused = (float(cell.replace(",", "")) for cell in rest[3:])
        assert larger == max(arithmetic, traffic) < kernels
        assert fused < kernels


def test_the_honest_bound_of_a_card_is_what_its_kernels_take_in_turn():
    of_h100 = bound_of_card(SIZES["mlp-1"], CARDS["H100"])
    assert 1e6 * of_h100.honest_seconds == pytest.approx(61.4, abs=0.1)
    assert of_h100.seconds == pytest.approx(37.8e-6, abs=1e-7)
    assert len(table([SIZES["mlp-1"]], [CARDS["L4"]])) == 4


def test_ways_that_differ_fail_the_section(task, monkeypatch):
    monkeypatch.setattr(gpu_sections, "advance", lambda *_: 1.0)
    gpu_sections_trainer = gpu_sections.make_trainer
    made: list[int] = []

    def make(*args):
        trainer = gpu_sections_trainer(*args)
        made.append(1)
        with torch.no_grad():
            next(iter(trainer.parameters.values())).add_(0.1 * (len(made) % 2))
        return trainer

    monkeypatch.setattr(gpu_sections, "make_trainer", make)
    with pytest.raises(AssertionError, match=r"tiny-mlp in float32 by a traced network differs by .*; allowed: 0\.01"):
        gpu_sections.equality(task)
    assert len(lines(task.folder / "equality.csv")) > 1, "what was seen is there"


def test_ways_that_agree_pass_and_a_way_that_was_not_taken_does_not(task, monkeypatch):
    monkeypatch.setattr(gpu_sections, "advance", lambda *_: 1.0)
    gpu_sections.equality(task)
    monkeypatch.setattr(StackedTrainer, "step_mode", property(lambda _: "plain", lambda *_: None), raising=False)
    with pytest.raises(AssertionError, match=r"tiny-mlp in float32 cannot be taken by a traced network"):
        gpu_sections.equality(task)


def test_nothing_of_a_pack_is_alive_when_it_has_ended(task):
    gpu_sections.memory(task)
    alive = {row[0]: int(row[3]) for row in lines(task.folder / "memory.csv")[1:]}
    assert alive["pack 0 in training"] > alive["pack 0 ended"] == alive["pack 2 ended"]


@pytest.mark.slow
def test_all_of_it_runs_without_what_a_gpu_machine_lacks(tmp_path):
    """Imports of everything but NumPy, PyArrow, filelock and PyTorch fail in each process that it starts."""
    (tmp_path / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        "find = PathFinder.find_spec\n"
        f"lacking = {BLOCKED!r}\n"
        "def find_spec(name, path=None, target=None):\n"
        "    return None if name.partition('.')[0] in lacking else find(name, path, target)\n"
        "PathFinder.find_spec = find_spec\n"
    )
    out = tmp_path / "taken"
    command = [sys.executable, "-m", "benchmarks.gpu", "--smoke", "--minutes", "30", "--out", str(out)]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = subprocess.run(
        [*command, "--store", str(tmp_path / "store")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    endings = [Ending(row[0], row[1], float(row[2]), float(row[3])) for row in lines(out / "summary.csv")[1:]]
    logs = {ending.section: (out / f"{ending.section}.log").read_text()[-2000:] for ending in endings}
    assert {ending.section: ending.outcome for ending in endings} == dict.fromkeys(SECTIONS, "ok"), logs
    assert done.returncode == 0
    tables = ("machine", "ceilings", "bounds", "equality", "ladder", "memory", "precision", "training", "figure-3")
    assert all(len(lines(out / f"{name}.csv")) > 1 for name in tables)
    assert json.loads((out / "training.json").read_text())["rows"][0]["step_mode"] == "stacked, plain steps"
    assert not (out / "figure-3" / "checkpoints").exists()
