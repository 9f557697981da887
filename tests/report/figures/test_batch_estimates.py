"""The estimate from batches against the exact value, model by model."""

import altair as alt
import numpy as np

from rdstudy.report.figures import batch_estimates
from tests.report.conftest import Simulation, tables_of


def test_the_estimate_from_batches_is_compared_run_by_run(simulate):
    study = simulate(Simulation(measured=True))
    assert batch_estimates.table(tables_of(study)).empty
    estimate = study.measures["mutual_information"] + 0.5
    estimated = study.measures.assign(mutual_information_b512=estimate, mutual_information_b512_se=0.04)
    tables = tables_of(study, measures=estimated)
    table = batch_estimates.table(tables)
    alt.TopLevelSpec.validate(batch_estimates.FIGURE.drawn(tables, table).vega_lite)
    np.testing.assert_allclose(table["value"], 0.5)
    np.testing.assert_allclose(table["sd"], 0.0, atol=1e-12)
    np.testing.assert_allclose(table["error"], 0.05)
