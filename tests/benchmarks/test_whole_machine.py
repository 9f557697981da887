"""All cores against pythae on as many. No time is asserted."""

import sys
from pathlib import Path

import pytest

from benchmarks.contenders import PEAK
from benchmarks.race import Course, Times, _task
from benchmarks.sizes import SIZES
from benchmarks.whole_machine import EACH, ONE, entries, rows_of

CORES = 3


def test_everybody_has_all_cores():
    field = {entry.name: entry for entry in entries(CORES, pythae="its python")}
    assert list(field) == ["products", "rdstudy", ONE, EACH]
    course = Course(SIZES["mlp-1"], processes=1, threads=1, steps=2, repeats=1, images="")
    threads = {name: _task(course, entry).threads for name, entry in field.items()}
    assert threads == {"products": 1, "rdstudy": 1, ONE: CORES, EACH: 1}
    assert {name: entry.shares for name, entry in field.items()} == {
        "products": (CORES,),
        "rdstudy": (CORES,),
        ONE: (1,),
        EACH: (CORES,),
    }
    assert (field[ONE].python, field["rdstudy"].python) == ("its python", sys.executable)


def test_pythae_is_left_out_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr("benchmarks.contenders.ROOT", Path("nowhere"))
    assert [entry.name for entry in entries(CORES)] == ["products", "rdstudy"]


def test_ratios_are_of_models_per_second_within_a_repeat():
    times = {
        "rdstudy": Times((1.0, 2.0, 4.0), busy=1.0, share=CORES),
        ONE: Times((2.0, 5.0, 12.0), busy=0.9),
        EACH: Times((1.5, 3.0, 4.0), busy=1.0, share=CORES),
        PEAK.name: Times((1.0, 1.0, 1.0), busy=1.0),
    }
    rows = {row.contender: row for row in rows_of("mlp-1", entries(CORES, pythae="its python"), times)}
    assert set(rows) == {"rdstudy", ONE, EACH}
    own = rows["rdstudy"]
    assert (own.speed_over_one, own.least_over_one, own.most_over_one, own.speed_over_each) == (2.5, 2.0, 3.0, 1.5)
    assert own.model_steps_per_second == pytest.approx(1 / 2.0)
    assert (own.processes, own.threads) == (CORES, 1)
    assert (rows[ONE].processes, rows[ONE].threads) == (1, CORES)
    assert rows[ONE].speed_over_one == 1.0
