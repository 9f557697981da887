"""Early stopping: both weights side by side, in one colour each, and at how many steps it looks."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import measures
from rdstudy.report.figures import early_stopping, early_stopping_distortion
from tests.report.conftest import Simulation, tables_of


def test_a_series_has_one_colour_in_both_figures_of_early_stopping(simulate):
    figures = simulate.figures(Simulation(measured=True))
    scales = []
    for key in ("depth-early-stopping", "depth-early-stopping-distortion"):
        text = json.dumps(figures[key].spec.vega_lite)
        scale = re.search(r'"domain": \["(?:last step|early stopping)"[^}]*?"range": \[[^\]]*\]', text)
        assert scale is not None
        scales.append(scale[0])
    assert scales[0] == scales[1]
    assert scales[0].index("last step") < scales[0].index("early stopping")


def test_stopped_values_stand_beside_the_last(simulate):
    study = simulate(Simulation(measured=True))
    table = early_stopping.table(tables_of(study))
    wide = table.pivot_table(index=["cell", "beta"], columns="series", values="distortion")
    np.testing.assert_allclose(wide["last step"] - wide["early stopping"], 3.0)
    assert set(table["models"]) == {3}
    curves = early_stopping_distortion.table(tables_of(study))
    assert list(curves.columns) == measures.CURVES
    assert set(curves["subset"]) == {"test", "train"}
    for subset in ("test", "train"):  # above the floor of its own images: the distance of the two is the gap
        rows = study.members[study.members["subset"] == subset]
        part = curves[(curves["subset"] == subset) & (curves["series"] == "last step")]
        assert part["value"].mean() == pytest.approx((rows["distortion"] - rows["distortion_floor"]).mean())


def test_without_a_validation_subset_there_is_nothing_to_show(simulate):
    tables = tables_of(simulate(Simulation()))
    assert early_stopping.table(tables).empty
    assert early_stopping_distortion.table(tables).empty


def test_early_stopping_says_at_how_many_steps_it_looks(simulate):
    note = simulate.figures(Simulation(measured=True, points=7))["depth-early-stopping"].note
    assert "It looks at 7 steps; over the last quarter each is at most 4.64 × the one before." in note


def test_steps_that_are_evenly_spaced_are_told_from_those_that_are_not():
    from rdstudy.training.loop import trajectory_steps

    assert "looks at 16 steps, 8 of them evenly spaced; " in early_stopping._looks(
        pd.array(trajectory_steps(8_000, 16)).to_numpy()
    )
