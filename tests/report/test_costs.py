"""What a study took: sums that add up, whatever experiments share."""

import dataclasses

import pandas as pd
import pytest

from rdstudy.report import costs, tables
from tests.report.conftest import Simulation

SECONDS = 61.0  # of each simulated model


def shared(study, *, first, second):
    """The study with two experiments in the place of its one: of the first and of the last so many of its members."""
    (whole,) = study.experiments
    ids = whole.member_ids
    parts = (("A", ids[:first]), ("B", ids[len(ids) - second :]))
    experiments = tuple(dataclasses.replace(whole, name=name, title=name, member_ids=own) for name, own in parts)
    return dataclasses.replace(study, experiments=experiments)


def test_a_shared_model_counts_in_the_first_experiment_and_rows_add_up(simulate):
    study = shared(simulate(Simulation()), first=20, second=17)
    table = costs.costs(study.experiments, study.members, study.measures).set_index("title")
    assert table["models"].to_dict() == {"A": 20, "B": 10, costs.ALL: 30}
    assert table.loc["B", "above"] == 7
    assert table["train_seconds"].to_dict() == {"A": 20 * SECONDS, "B": 10 * SECONDS, costs.ALL: 30 * SECONDS}
    assert "counts in the first" in costs.note(table)
    assert "Counted above" in tables.costs_table(table.reset_index()).heads


def test_an_experiment_of_shared_models_alone_is_there_with_none_of_its_own(simulate):
    study = shared(simulate(Simulation()), first=30, second=11)
    table = costs.costs(study.experiments, study.members, study.measures).set_index("title")
    assert table["above"].to_dict()["B"] == 11
    assert table["models"].to_dict()["B"] == 0
    assert tables.costs_table(table.reset_index()).rows[1][-1].text == "–"


def test_nothing_shared_is_not_spoken_of(simulate):
    study = simulate(Simulation())
    table = costs.costs(study.experiments, study.members, study.measures)
    assert table["title"].to_list() == ["Depth"]  # no row of all where there is one experiment
    assert "experiments share" not in costs.note(table)
    assert "Counted above" not in tables.costs_table(table).heads


def test_devices_are_not_added_to_each_other(simulate):
    study = simulate(Simulation())
    ids = study.members["member_id"].unique()
    members = study.members.assign(
        device=["cuda: H" if key in ids[:7] else "cpu: E" for key in study.members["member_id"]]
    )
    table = costs.costs(study.experiments, members, study.measures).set_index("device")
    assert table["models"].to_dict() == {"cpu: E": 23, "cuda: H": 7}
    assert "whole GPU" in costs.note(table.reset_index())
    assert "whole GPU" not in costs.note(table.reset_index().iloc[:1])


def test_measures_are_a_share_of_the_time_and_count_once_a_model(simulate):
    study = simulate(Simulation(measured=True))
    measures = study.measures.assign(measure_seconds=SECONDS / 3)
    table = costs.costs(study.experiments, study.members, measures)
    assert table["measure_seconds"].item() == pytest.approx(30 * SECONDS / 3)
    assert tables.costs_table(table).rows[0][-2].text == "25 %"


def test_failed_models_cost_and_missing_ones_do_not(simulate):
    study = simulate(Simulation(outcomes=["failed"] * 3 + [None] * 27))
    assert costs.costs(study.experiments, study.members, study.measures)["models"].to_list() == [3]


def test_the_time_from_first_to_last_begins_when_the_first_model_did(simulate):
    row = costs.costs(*[getattr(simulate(Simulation()), name) for name in ("experiments", "members", "measures")]).iloc[
        0
    ]
    assert row["last"] - row["first"] == pd.Timedelta(seconds=SECONDS)


def test_nothing_done_costs_nothing(simulate):
    page = simulate.page(Simulation(outcomes=[None] * 30))
    assert not page.costs.table.rows
    assert not page.methods
