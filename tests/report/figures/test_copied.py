"""Shares of reconstructions that are nearer to training images: their bars, and what is said of chance."""

import numpy as np
import pytest

from rdstudy.report import measures
from rdstudy.report.figures import copied
from tests.report.conftest import Simulation, tables_of


def test_bars_hold_the_runs_and_the_answers(simulate):
    study = simulate(Simulation(measured=True, betas=[1.0], depths=[1]))
    shares = {"memorization": [0.5, 0.6, 0.7], "memorization_se": [0.1, 0.2, 0.3]}
    shares |= {"copied_fraction": [0.9] * 3, "copied_fraction_se": [0.05] * 3}
    test = study.measures[study.measures["subset"] == "test"]
    table = copied.table(tables_of(study, measures=test.assign(**shares))).set_index("series")
    half = (table["high"] - table["low"]) / 2
    assert half[copied.NEARER] == pytest.approx(np.hypot(0.1, 0.2))
    assert half[copied.BLUR_COUNTS] == pytest.approx(0.05)
    assert set(table.reset_index().columns) == {*measures.CURVES, "low", "high"}


def test_with_one_split_the_page_says_that_nothing_is_left_out(simulate):
    figures = simulate.figures(Simulation(measured=True))
    assert "no image is left out" in figures["depth-copied"].note
    assert "Chance" not in figures["depth-copied"].note  # older rows: only the share that blur raises too
    assert "depth-leave-one-out" not in figures
