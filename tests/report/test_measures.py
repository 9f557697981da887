"""Stored measures to curves: the numbers behind every figure of measures."""

import dataclasses
from datetime import UTC, datetime

import pandas as pd
import pytest

from rdstudy.report import measures
from rdstudy.report.contents import page_of
from rdstudy.report.page import render
from rdstudy.report.read import read_study
from tests.report.conftest import BETAS, MEASURED, Simulation, tables_of

PARTS = {"mutual information I": "mutual_information", "marginal KL": "marginal_kl"}


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True, figures=("active-units",)))


@pytest.fixture
def rows(study):
    return tables_of(study).measured


def test_curves_are_means_over_seeds_with_the_number_of_runs(rows):
    table = measures.curves(rows, PARTS)
    assert list(table.columns) == measures.CURVES
    assert len(table) == 2 * 2 * len(BETAS) * 2  # series, subsets, β, cells
    assert set(table["models"]) == {3}
    curve = table[(table["series"] == "marginal KL") & (table["cell"] == 0) & (table["subset"] == "test")]
    for point in curve.to_dict("records"):
        same = rows[(rows["cell"] == 0) & (rows["subset"] == "test") & (rows["beta"] == point["beta"])]
        assert point["value"] == pytest.approx(same["marginal_kl"].mean())
        assert point["sd"] == pytest.approx(same["marginal_kl"].std(ddof=1))
        assert point["error"] == pytest.approx(0.03)


def test_a_column_without_values_gives_no_curve(rows):
    assert not len(measures.curves(rows, {"x": "mutual_information_b512"}))
    assert not len(measures.curves(rows, {"x": "no such column"}))
    cross = measures.curves(rows, {"cross rate": "cross_rate"})
    assert set(cross["subset"]) == {"test"}


def test_reasons_are_counted_by_model():
    stored = pd.DataFrame(
        {
            "member_id": ["a", "a", "b"],
            "subset": ["train", "test", "test"],
            "null_reasons": [None, "one: why; allowed: that | two: else", "one: why; allowed: that"],
        }
    )
    assert measures.null_reasons(stored).to_dict("records") == [
        {"reason": "test: one: why; allowed: that", "members": 2},
        {"reason": "test: two: else", "members": 1},
    ]


def test_certificates_are_a_table_of_the_page(simulate, study):
    assert not simulate.page(MEASURED).certificates.rows
    annealed = study.measures.copy()
    is_first = annealed["subset"].eq("test") & annealed["member_id"].eq(annealed["member_id"].iloc[0])
    for name, value in (("lower", -300.0), ("importance", -299.0), ("upper", -298.5)):
        annealed.loc[is_first, f"annealed_{name}"] = value
        annealed.loc[is_first, f"annealed_{name}_se"] = 0.5
    annealed.loc[is_first, "annealing_images"] = 16
    page = page_of(dataclasses.replace(study, measures=annealed))
    assert len(page.certificates.rows) == 1
    assert "Log p(x), certified" in render(page)


def test_tables_of_another_setting_of_the_measures_are_not_mixed_in(tmp_path):
    simulation = Simulation(measured=True)
    store = simulation.write(tmp_path / "results")
    run = store.snapshot().table("members").to_pylist()[0]
    other = {"member_id": run["member_id"], "run_id": run["run_id"], "subset": "test", "measures_id": "f" * 16}
    store.rows.write_measured({"measures": [other | {"finished_at": datetime(2026, 1, 2, tzinfo=UTC)}]})
    assert isinstance(study_measures := read_study(store, simulation.name).measures, pd.DataFrame)
    assert "f" * 16 not in set(study_measures["measures_id"])
    assert len(study_measures) == 60
