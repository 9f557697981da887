"""Distortion against β: what is drawn above and below, on one scale."""

import json

import pytest

from rdstudy.report import labels
from rdstudy.report.figures import FIGURES, distortion
from tests.report.conftest import Simulation, tables_of


def domain(panel, field):
    """Of the vertical scale of a field."""
    scales = [
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in panel["layer"]
        if layer["encoding"].get("y", {}).get("field") == field
    ]
    assert all(scale == scales[0] for scale in scales)
    return scales[0]


@pytest.mark.parametrize(
    ("key", "simulation"),
    [
        ("distortion", Simulation()),
        ("distortion", Simulation(seeds=1, betas=[1.0])),
        ("sizes-distortion", Simulation(splits=["cv(8192)", "cv(16384)", "cv(32768)"], depths=[1])),
    ],
    ids=["whole", "one point", "sizes"],
)
def test_the_gap_is_drawn_below_distortion_with_as_many_nats_to_a_pixel(simulate, key, simulation):
    tables, (figure,) = tables_of(simulate(simulation)), (each for each in FIGURES if each.name == key)
    spec = figure.chart(tables, figure.table(tables)).vega_lite
    for panel in spec["concat"]:
        above, below = panel["vconcat"]
        (low, high), (least, most) = domain(above, "distortion"), domain(below, "gap")
        assert (high - low) / above["height"] == pytest.approx((most - least) / below["height"])
        assert least < 0 < most
        rows = spec["datasets"][below["layer"][0]["data"]["name"]]
        assert rows
        assert all(least < row["gap_low"] <= row["gap"] <= row["gap_high"] < most for row in rows)
        assert {row["gap_models"] for row in rows} == {simulation.seeds}
        assert "gap_models" in json.dumps(below)


def test_without_training_values_there_is_no_panel_of_gaps(simulate):
    study = simulate(Simulation())
    tables = tables_of(study, members=study.members[study.members["subset"] == "test"])
    spec = distortion.chart(tables, distortion.table(tables)).vega_lite
    assert all("vconcat" not in panel for panel in spec["concat"])


@pytest.mark.parametrize("depths", [[1], [1, 3], [1, 2, 3, 4]])
def test_the_words_at_the_lowest_point_hide_nothing_and_are_inside(simulate, depths):
    tables = tables_of(simulate(Simulation(depths=depths)))
    spec = distortion.chart(tables, distortion.table(tables)).vega_lite
    for panel in spec["concat"]:
        above = panel["vconcat"][0]
        (words,) = (layer for layer in above["layer"] if layer["mark"]["type"] == "text")
        (row,) = spec["datasets"][words["data"]["name"]]
        width, height = labels.size_of(row["text"], font=12)
        assert width / 2 <= row["text_x"] <= above["width"] - width / 2
        assert height / 2 <= row["text_y"] <= above["height"] - height / 2


def test_one_beta_alone_has_no_lowest_point(simulate):
    tables = tables_of(simulate(Simulation(betas=[1.0])))
    spec = distortion.chart(tables, distortion.table(tables)).vega_lite
    assert not any("text" in row for rows in spec["datasets"].values() for row in rows)
