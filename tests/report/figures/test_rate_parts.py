"""What the rate is made of: log N, and what is so by construction."""

import dataclasses
import math

import numpy as np
import pytest

from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figures import rate_parts
from tests.report.conftest import Simulation, tables_of


@pytest.fixture
def tables(simulate) -> ExperimentTables:
    return tables_of(simulate(Simulation(measured=True)))


def test_log_counts_are_shared_where_subsets_are_equally_large(tables):
    rows = tables.measured
    counts = rate_parts.log_counts(rows)
    assert sorted(counts[counts["cell"] == 0]["series"]) == ["log N = 11.9, test", "log N = 9.7, train"]
    assert set(np.round(counts["value"], 9)) == {round(math.log(n), 9) for n in (16_384, 147_456)}
    shared = rate_parts.log_counts(rows.assign(aggregate_images=2_003))
    assert list(shared["series"]) == ["log N = 7.6", "log N = 7.6"]


def test_taking_out_the_information_says_what_is_so_by_construction(tables):
    removed = dataclasses.replace(tables, planned=tables.planned.assign(objective="no_mutual_information"))
    for experiment, expected in ((tables, False), (removed, True)):
        note = rate_parts.FIGURE.words(experiment, rate_parts.table(experiment))
        assert ("changes nothing by construction" in note) == expected
