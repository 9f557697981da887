"""Other numbers in the same charts: of early stopping, and above the floor."""

import pandas as pd
import pytest

from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.views import FIRST, OTHERS, View, viewed
from tests.report.conftest import MEASURED, WHOLE

ROW = {"distortion": 100.0, "rate": 20.0, "elbo": -120.0, "distortion_floor": 80.0}
MEMBERS = pd.DataFrame(
    [{**ROW, "stop_distortion": 90.0, "stop_rate": 15.0}, {**ROW, "stop_distortion": None, "stop_rate": None}]
)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (FIRST, [(100.0, 20.0, -120.0, 80.0)] * 2),
        (View(above_floor=True), [(20.0, 20.0, -40.0, 0.0)] * 2),
        (View(stopped=True), [(90.0, 15.0, -105.0, 80.0)]),
        (View(stopped=True, above_floor=True), [(10.0, 15.0, -25.0, 0.0)]),
    ],
)
def test_a_view_shows_its_numbers_and_leaves_out_models_without_them(view, expected):
    columns = ["distortion", "rate", "elbo", "distortion_floor"]
    assert list(viewed(MEMBERS, view)[columns].itertuples(index=False, name=None)) == expected


def test_gaps_are_the_same_above_the_floor(simulate):
    study = simulate(WHOLE)
    tables = ExperimentTables.of(study, study.experiments[0])
    above = ExperimentTables(study, tables.name, tables.planned, View(above_floor=True))
    pd.testing.assert_frame_equal(tables.gaps, above.gaps)


def test_a_study_without_early_stopping_has_no_view_of_it(simulate):
    page, by_key = simulate.page(WHOLE), simulate.figures(WHOLE)
    assert set(by_key["depth-distortion"].views) == {view.key for view in OTHERS if not view.stopped}
    assert by_key["depth-learning"].views == {}
    assert page.switches == (False, True)


def test_each_view_of_a_page_shows_its_own_numbers(simulate):
    views = simulate.figures(MEASURED)["depth-distortion"].views
    assert set(views) == {view.key for view in OTHERS}
    assert len({str(spec.vega_lite["datasets"]) for spec in views.values()}) == len(OTHERS)
