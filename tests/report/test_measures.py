"""Stored measures to curves: the numbers behind every figure of measures."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import measure_figures, measures
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.page import render
from tests.report.conftest import BETAS, Simulation


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True))


@pytest.fixture
def rows(study):
    return measures.with_planned(with_cells(study.planned), study.measures)


def test_curves_are_means_over_seeds_with_the_number_of_runs(rows):
    table = measures.curves(rows, measures.PARTS)
    assert list(table.columns) == measures.CURVES
    assert len(table) == 2 * 2 * len(BETAS) * 2  # series, subsets, β, cells
    assert set(table["runs"]) == {3}
    one = table[(table["series"] == "marginal KL") & (table["cell"] == 0) & (table["subset"] == "test")]
    for point in one.to_dict("records"):
        same = rows[(rows["cell"] == 0) & (rows["subset"] == "test") & (rows["beta"] == point["beta"])]
        assert point["value"] == pytest.approx(same["marginal_kl"].mean())
        assert point["sd"] == pytest.approx(same["marginal_kl"].std(ddof=1))
        assert point["error"] == pytest.approx(0.03)


def test_a_column_without_values_gives_no_curve(rows):
    assert not len(measures.batch_excess(rows))
    assert not len(measures.curves(rows, {"x": "no such column"}))
    assert set(measures.curves(rows, measures.FINER)["series"]) == set(measures.FINER)
    cross = measures.curves(rows, {"cross rate": "cross_rate"})
    assert set(cross["subset"]) == {"test"}


def test_the_estimate_from_batches_is_compared_run_by_run(rows):
    estimated = rows.assign(mutual_information_b512=rows["mutual_information"] + 0.5, mutual_information_b512_se=0.04)
    table = measures.batch_excess(estimated)
    np.testing.assert_allclose(table["value"], 0.5)
    np.testing.assert_allclose(table["sd"], 0.0, atol=1e-12)
    np.testing.assert_allclose(table["error"], 0.05)


def test_log_counts_are_shared_where_subsets_are_equally_large(rows):
    counts = measures.log_counts(rows)
    assert sorted(counts[counts["cell"] == 0]["series"]) == ["log N, test", "log N, train"]
    assert set(np.round(counts["value"], 9)) == {round(math.log(n), 9) for n in (16_384, 147_456)}
    shared = measures.log_counts(rows.assign(aggregate_images=2_003))
    assert list(shared["series"]) == ["log N", "log N"]


def test_stopped_values_stand_beside_the_last(study):
    table = measures.stopped(with_cells(study.planned), study.members)
    wide = table.pivot_table(index=["cell", "beta"], columns="series", values="distortion")
    np.testing.assert_allclose(wide["last step"] - wide["early stopping"], 3.0)
    assert set(table["runs"]) == {3}
    curves = measures.stopped_curves(with_cells(study.planned), study.members)
    assert list(curves.columns) == measures.CURVES
    assert set(curves["subset"]) == {"test", "train"}
    for subset in ("test", "train"):  # above the floor of its own images: the distance of the two is the gap
        rows = study.members[study.members["subset"] == subset]
        part = curves[(curves["subset"] == subset) & (curves["series"] == "last step")]
        assert part["value"].mean() == pytest.approx((rows["distortion"] - rows["distortion_floor"]).mean())


def test_reasons_are_counted_by_model():
    told = pd.DataFrame(
        {
            "member_id": ["a", "a", "b"],
            "subset": ["train", "test", "test"],
            "null_reasons": [None, "one: why; allowed: that | two: else", "one: why; allowed: that"],
        }
    )
    assert measures.null_reasons(told).to_dict("records") == [
        {"reason": "test: one: why; allowed: that", "members": 2},
        {"reason": "test: two: else", "members": 1},
    ]


def test_a_page_has_the_figures_that_have_values_and_no_others(simulate):
    keys = {figure.key for figure in page_of(simulate(Simulation(measured=True))).figures}
    expected = {
        "rate-parts",
        "finer-parts",
        "cross-rate",
        "active-units",
        "log-marginal",
        "gap-parts",
        "copied",
        "optimal-decoder",
    }
    expected |= {"early-stopping", "early-stopping-distortion"}
    assert {f"depth-{name}" for name in expected} <= keys
    assert "depth-batch-estimates" not in keys


def test_a_study_that_measured_nothing_has_no_figure_of_measures(simulate):
    page = page_of(simulate(Simulation()))
    keys = {figure.key.removeprefix("depth-") for figure in page.figures}
    assert keys == {"distortion", "rate-distortion", "learning", "splits"}
    assert not page.unmeasured.rows


def test_certificates_are_a_table_of_the_page(study):
    assert not page_of(study).certificates.rows
    annealed = study.measures.copy()
    one = annealed["subset"].eq("test") & annealed["member_id"].eq(annealed["member_id"].iloc[0])
    for name, value in (("lower", -300.0), ("importance", -299.0), ("upper", -298.5)):
        annealed.loc[one, f"annealed_{name}"] = value
        annealed.loc[one, f"annealed_{name}_se"] = 0.5
    annealed.loc[one, "annealing_images"] = 16
    page = page_of(dataclasses.replace(study, measures=annealed))
    assert len(page.certificates.rows) == 1
    assert "Log p(x), certified" in render(page)


def test_a_page_of_very_many_cells_shows_the_main_figures_and_says_so(simulate, monkeypatch):
    monkeypatch.setattr(measure_figures, "_DETAILED_CELLS", 1)
    page = page_of(simulate(Simulation(measured=True)))
    shown = {figure.key.removeprefix("depth-"): figure.note for figure in page.figures}
    assert set(measure_figures._MAIN) <= set(shown)
    assert "finer-parts" not in shown
    assert "finer figures are left out" in shown["rate-parts"]
