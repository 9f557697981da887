"""Finer parts of the marginal KL: what is not defined is said to be so."""

import numpy as np

from rdstudy.report.figures import finer_parts
from tests.report.conftest import Simulation, tables_of


def test_a_prior_without_factors_is_said_to_have_no_dimension_wise_kl(simulate):
    study = simulate(Simulation(measured=True, depths=[1], betas=[1.0], levels={"prior": ["normal", "vamp(k=5)"]}))
    others = set(study.planned.loc[study.planned["prior"] != "normal", "member_id"])
    values = study.measures["dimension_kl"].where(~study.measures["member_id"].isin(others), np.nan)
    tables = tables_of(study, measures=study.measures.assign(dimension_kl=values))
    table = finer_parts.table(tables)
    assert set(table.loc[table["series"] == "dimension-wise KL", "panel"]) == {"normal prior"}
    assert set(table.loc[table["series"] == "total correlation", "panel"]) == {"normal prior", "vamp(k=5) prior"}
    note = finer_parts.note(tables, table)
    assert note.endswith("needs a factorized prior, p(z) = Π_j p(z_j): it is not defined for vamp(k=5) prior.")


def test_nothing_is_said_of_it_where_all_have_one(simulate):
    tables = tables_of(simulate(Simulation(measured=True)))
    assert "factorized" not in finer_parts.note(tables, finer_parts.table(tables))
