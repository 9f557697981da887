"""Rate-distortion curves: the order of their points and the names of β."""

import json

import numpy as np
import pytest
import vl_convert

from rdstudy.report import statistics
from rdstudy.report.figures import rate_distortion
from tests.report.conftest import Simulation, tables_of


def test_curves_are_joined_in_the_order_of_beta(simulate):
    spec = simulate.figures(Simulation())["depth-rate-distortion"].spec.vega_lite
    lines = [
        layer
        for layer in spec["concat"][0]["layer"]
        if layer["mark"]["type"] == "line" and "order" in layer["encoding"]
    ]
    assert [line["encoding"]["order"]["field"] for line in lines] == ["beta"]


@pytest.mark.parametrize(("depths", "named"), [((1,), 5), ((1, 2, 3, 4), 2)])
def test_each_beta_is_named_where_a_panel_has_room(simulate, depths, named):
    tables = tables_of(simulate(Simulation(depths=depths, betas=[0.001, 0.01, 0.1, 1.0, 4.0])))
    spec = rate_distortion.chart(tables, rate_distortion.table(tables)).vega_lite
    names = [row["text"] for rows in spec["datasets"].values() for row in rows if "β = " in str(row.get("text"))]
    assert len(names) == named * len(depths)
    assert {"β = 0.001", "β = 4"} <= set(names)


@pytest.mark.parametrize(("subset", "column"), [("train", "mutual_information"), ("test", "cross_rate")])
def test_the_training_aggregate_leaves_mutual_information_on_train_and_the_cross_rate_on_test(simulate, subset, column):
    tables = tables_of(simulate(Simulation(measured=True, depths=[1])))
    table = rate_distortion.table(tables)
    assert len(table) == len(tables.points)
    own = table[table["subset"] == subset].sort_values("beta")
    rows = tables.measured[tables.measured["subset"] == subset]
    values, errors = (rows.pivot(index="beta", columns="seed", values=name) for name in (column, f"{column}_se"))
    half = np.hypot(values.std(axis=1), errors.mean(axis=1)).to_list()
    assert own["best_rate"].to_list() == pytest.approx(values.mean(axis=1).to_list())
    assert (own["best_rate_high"] - own["best_rate"]).to_list() == pytest.approx(half)
    assert (own["best_rate"] - own["best_rate_low"]).to_list() == pytest.approx(half)


def test_it_is_drawn_at_the_same_distortion_dashed_with_a_legend_and_said(simulate):
    tables = tables_of(simulate(Simulation(measured=True, depths=[1])))
    table = rate_distortion.table(tables)
    spec = rate_distortion.chart(tables, table).vega_lite
    layers = {layer["data"]["name"]: layer for layer in spec["concat"][0]["layer"] if "strokeDash" in layer["encoding"]}
    priors = {name: json.loads(layer["transform"][0]["calculate"]) for name, layer in layers.items()}
    drawn = {priors[name]: spec["datasets"][name] for name in layers}
    assert set(drawn) == set(rate_distortion.PRIORS)
    own, best = ({(row["beta"], row["subset"]): row for row in drawn[prior]} for prior in rate_distortion.PRIORS)
    assert {key: row["distortion"] for key, row in best.items()} == {key: row["distortion"] for key, row in own.items()}
    rates = {(row["beta"], row["subset"]): row["best_rate"] for row in table.to_dict("records")}
    assert {key: row["rate"] for key, row in best.items()} == pytest.approx(rates, rel=1e-4)
    svg = vl_convert.vegalite_to_svg(spec)
    assert all(f">{name}</text>" in svg for name in rate_distortion.PRIORS)
    assert "On train R is then I" in rate_distortion.note(tables, table)
    assert "of the training images as the prior" in rate_distortion.note(tables, table)


def test_what_is_not_stored_or_has_no_value_is_not_drawn(simulate):
    study = simulate(Simulation(measured=True, depths=[1]))
    lacking = study.measures.assign(cross_rate=None, null_reasons="cross_rate: why")
    table = rate_distortion.table(tables_of(study, measures=lacking))
    assert table["best_rate"].notna().tolist() == (table["subset"] == "train").tolist()
    for measures in (study.measures.iloc[:0], lacking.assign(mutual_information=np.nan)):
        tables = tables_of(study, measures=measures)
        table = rate_distortion.table(tables)
        assert not table["best_rate"].notna().any()
        assert "Dashed curves" not in rate_distortion.note(tables, table)
        svg = vl_convert.vegalite_to_svg(rate_distortion.chart(tables, table).vega_lite)
        assert rate_distortion.PRIORS[1] not in svg


def test_a_costly_prior_does_not_squeeze_the_curves(simulate):
    """On test the training aggregate may cost a hundred times the rate: the axis ends at twice the largest one."""
    study = simulate(Simulation(measured=True, depths=[1]))
    table = rate_distortion.table(tables_of(study))
    plain = statistics.plot_domain(table.drop(columns=["best_rate", "best_rate_high"]))
    costly = statistics.plot_domain(table.assign(best_rate=900.0 * table["rate"], best_rate_high=990.0 * table["rate"]))
    assert plain.rate_max < costly.rate_max == pytest.approx(2 * plain.rate_max)
