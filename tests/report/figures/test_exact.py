"""Measured against closed forms, where there are any, and against the best linear VAE."""

import altair as alt
import numpy as np
import pytest

from rdstudy.report.contents import page_of
from rdstudy.report.figures import exact, optimum
from rdstudy.results.schema import EXACT
from tests.report.conftest import Simulation, tables_of


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True, figures=("optimum", "exact")))


def test_measured_minus_exact_is_drawn_where_there_are_closed_forms(study):
    assert exact.table(tables_of(study)).empty
    assert optimum.table(tables_of(study)).empty
    closed = study.measures.copy()
    for name in EXACT:
        closed[f"exact_{name}"] = closed[name] - 0.25 if name in closed.columns else 7.0
    closed = closed.assign(best_distortion=1.0, best_rate=2.0, best_log_marginal=-3.0)
    tables = tables_of(study, measures=closed)
    table = exact.table(tables)
    known = table[~table["measure"].isin(["distortion", "rate"])]
    np.testing.assert_allclose(known["deviation"], 0.25)
    assert set(table["measure"]) == set(EXACT)
    assert "0.0% are within three of them" in exact.note(tables, table)
    of_log_p = table["measure"] == "log_marginal"
    assert (table.loc[of_log_p, "believed"] == (table.loc[of_log_p, "beta"] >= 0.05)).all()
    assert table.loc[~of_log_p, "believed"].all()
    figures = page_of(tables.study).figures
    keys = [figure.key for figure in figures]
    assert keys.index("depth-exact") + 1 == keys.index("depth-optimum")
    for figure in figures[keys.index("depth-exact") :][:2]:
        alt.TopLevelSpec.validate(figure.spec.vega_lite)


def test_the_objective_is_as_far_from_its_optimum_as_its_parts(study):
    best = study.measures.assign(best_distortion=190.0, best_rate=3.0)
    table = optimum.table(tables_of(study, measures=best))
    wide = table.pivot_table(index=["cell", "beta"], columns="series", values="value").reset_index()
    parts = wide["D − D of the optimum"] + wide["beta"] * wide["R − R of the optimum"]
    np.testing.assert_allclose(wide["D + βR above the optimum"], parts)
