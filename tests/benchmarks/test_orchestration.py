"""The parts of a run add up to it, and all works run. No time is asserted."""

import json

import pytest

from benchmarks import orchestration
from benchmarks.orchestration_runs import Phases, Run, write_study
from rdstudy.planning.plan import make_plan
from rdstudy.run import load_study


def test_the_parts_of_a_run_are_those_that_were_put_in_and_add_up_to_its_wall_time():
    """Two slots that begin at 5 and 7, three packs of 10 on each, 2 between two of them, and 4 after the last."""
    trained = [(first + 12 * at, first + 12 * at + 10) for first in (5, 7) for at in range(3)]
    phases = Run(tuple(sorted(trained)), end=44).phases(2)
    assert phases == Phases(start=6, pack=10, gap=2, end=4)  # the last packs end at 39 and 41
    assert phases.wall(3) == 44
    assert phases.wall(5, seconds=60) == 6 + 5 * 60 + 4 * 2 + 4


def test_packs_without_a_next_one_have_no_gap_between_them():
    assert Run(((1.0, 5.0), (2.0, 6.0)), end=8.0).phases(2) == Phases(start=1.5, pack=4.0, gap=0.0, end=2.5)


def test_a_study_has_as_many_packs_as_it_is_asked_for(tmp_path):
    study = load_study(str(write_study(tmp_path / "study.py", packs=7, steps=13)))
    packs = make_plan(study, {}).packs
    assert [len(pack.members) for pack in packs] == [1] * 7
    assert packs[0].members[0].width == 512


@pytest.mark.cluster
def test_all_works_run(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(orchestration, "first_step", lambda *_, **__: [1.0])  # is a run up to its start
    file = tmp_path / "orchestration.json"
    sizes = ["--steps", "16", "--packs", "2", "--slots", "1", "--repeats", "1", "--many", "0"]
    orchestration.main([*sizes, "--json", str(file)])
    assert "wall time over plain processes" in capsys.readouterr().out
    measured = json.loads(file.read_text())
    for side in ("ray", "plain"):
        run = measured["repeats"][0][side]
        assert len(run["trained"]) == 2
        assert all(0 < begin < end < run["end"] for begin, end in run["trained"])
