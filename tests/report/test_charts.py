"""Every chart is compiled, its marks are clipped, and the pictures that need no members hold what they claim."""

import base64
import dataclasses
import json
import re
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
import vl_convert

from rdstudy.report import illustrations, theme
from rdstudy.report.contents import page_of
from tests.report.conftest import Simulation

CASES = {
    "whole": Simulation(),
    "one seed": Simulation(seeds=1),
    "measured": Simulation(measured=True),
    "measured, one seed, one β": Simulation(measured=True, seeds=1, betas=[0.1]),
    "one cell, one β": Simulation(depths=[1], betas=[1.0], seeds=2),
    "β of 0": Simulation(betas=[0.0, 0.01, 1.0]),
    "half done": Simulation(outcomes=["ok"] * 14 + [None] * 16),
    "many cells": Simulation(
        splits=["cv(8192)", "checkerboard", "cd(8192)"], datasets=["tetrominoes", "mnist"], seeds=2
    ),
    "hostile": Simulation(hostile="</script><b>\"'{{ 7*7 }}&"),
}


@pytest.fixture(params=list(CASES.values()), ids=list(CASES))
def page(request, simulate):
    return page_of(simulate(request.param))


def marks(spec):
    """All marks of a specification, however deep."""
    if isinstance(spec, dict):
        if isinstance(spec.get("mark"), dict):
            yield spec["mark"]
        for value in spec.values():
            yield from marks(value)
    elif isinstance(spec, list):
        for value in spec:
            yield from marks(value)


def test_every_chart_compiles_with_clipped_marks_and_plain_numbers(page):
    for figure in page.figures:
        json.dumps(figure.spec.vega_lite, allow_nan=False)
        assert "<svg" in vl_convert.vegalite_to_svg(figure.spec.vega_lite)
        found = list(marks(figure.spec.vega_lite))
        assert found
        assert all(mark["clip"] is True for mark in found)


def test_every_chart_passes_the_schema(simulate):
    import altair as alt

    for figure in page_of(simulate(Simulation())).figures:
        alt.Chart.from_dict(figure.spec.vega_lite, validate=True)


def test_curves_are_joined_in_the_order_of_beta(simulate):
    figures = page_of(simulate(Simulation())).figures
    spec = next(figure for figure in figures if figure.key == "depth-rate-distortion").spec.vega_lite
    lines = [
        layer
        for layer in spec["concat"][0]["layer"]
        if layer["mark"]["type"] == "line" and "order" in layer["encoding"]
    ]
    assert [line["encoding"]["order"]["field"] for line in lines] == ["beta"]


def domain(panel, field):
    """Of the vertical scale of a field."""
    scales = [
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in panel["layer"]
        if layer["encoding"]["y"].get("field") == field
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
    study = simulate(simulation)
    spec = next(figure for figure in page_of(study).figures if figure.key == f"depth-{key}").spec.vega_lite
    for panel in spec["concat"]:
        above, below = panel["vconcat"]
        (low, high), (least, most) = domain(above, "distortion"), domain(below, "gap")
        assert (high - low) / above["height"] == pytest.approx((most - least) / below["height"])
        assert least < 0 < most
        rows = spec["datasets"][below["layer"][0]["data"]["name"]]
        assert rows
        assert all(least < row["gap_low"] <= row["gap"] <= row["gap_high"] < most for row in rows)
        assert {row["gap_runs"] for row in rows} == {simulation.seeds}
        assert "gap_runs" in json.dumps(below)


def test_without_training_values_there_is_no_panel_of_gaps(simulate):
    study = simulate(Simulation())
    test = study.members[study.members["subset"] == "test"]
    spec = next(
        f for f in page_of(dataclasses.replace(study, members=test)).figures if f.key == "depth-distortion"
    ).spec
    assert all("vconcat" not in panel for panel in spec.vega_lite["concat"])


def test_a_series_has_one_colour_in_both_figures_of_early_stopping(simulate):
    figures = {figure.key: figure for figure in page_of(simulate(Simulation(measured=True))).figures}
    scales = []
    for key in ("depth-early-stopping", "depth-early-stopping-distortion"):
        text = json.dumps(figures[key].spec.vega_lite)
        scale = re.search(r'"domain": \["(?:last step|early stopping)"[^}]*?"range": \[[^\]]*\]', text)
        assert scale is not None
        scales.append(scale[0])
    assert scales[0] == scales[1]
    assert scales[0].index("last step") < scales[0].index("early stopping")


@pytest.mark.parametrize(("depths", "named"), [((1,), 5), ((1, 2, 3, 4), 2)])
def test_each_beta_is_named_where_a_panel_has_room(simulate, depths, named):
    figures = page_of(simulate(Simulation(depths=depths, betas=[0.001, 0.01, 0.1, 1.0, 4.0]))).figures
    spec = next(figure for figure in figures if figure.key == "depth-rate-distortion").spec.vega_lite
    names = [row["name"] for rows in spec["datasets"].values() for row in rows if "β = " in str(row.get("name"))]
    assert len(names) == named * len(depths)
    assert {"β = 0.001", "β = 4"} <= set(names)


@pytest.mark.parametrize("betas", [[0.0], [1.0], [0.0, 0.001, 3.0], [1.0, 1.01], list(np.geomspace(1e-3, 5, 13))])
def test_every_beta_has_a_place_of_its_own_on_the_axis(betas):
    axis = theme.beta_axis(betas)
    places = axis.place(pd.Series(betas))
    assert places.is_unique
    assert places.is_monotonic_increasing
    assert (places > axis.domain[0]).all()
    assert (places < axis.domain[1]).all()


def test_records_round_to_five_digits_and_have_no_nan():
    table = pd.DataFrame({"a": [1.234567, float("nan"), float("inf")], "b": [1, 2, 3]})
    assert theme.records(table) == [{"a": 1.2346, "b": 1}, {"a": None, "b": 2}, {"a": None, "b": 3}]


def test_the_splits_shown_follow_their_rules():
    example = illustrations.splits_example(7)
    counts = example.groupby("rule")["use"].value_counts().unstack(fill_value=0)
    assert counts.sum(axis=1).to_list() == [600] * 4
    assert list(counts.loc["cv(300)", ["train", "test"]]) == [300, 300]
    assert list(counts.loc["cv(120)", ["train", "test"]]) == [120, 480]
    assert counts.loc["cd(120)", "train"] == 120
    board = example[example["rule"] == "checkerboard"]
    odd = (board["first"] >= 0.5) ^ (board["second"] >= 0.5)
    assert (odd == (board["use"] == "test")).all()


def test_the_example_depends_on_the_seed_alone():
    pd.testing.assert_frame_equal(illustrations.splits_example(7), illustrations.splits_example(7))
    assert not illustrations.splits_example(7).equals(illustrations.splits_example(8))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_gives_its_pixels_back(channels):
    pixels = np.random.default_rng(3).integers(0, 256, (channels, 7, 5), dtype=np.uint8)
    content = illustrations.png(pixels)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(content[at + 4 : at + 4 + length]), np.uint8).reshape(7, 1 + 5 * channels)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:].reshape(7, 5, channels).transpose(2, 0, 1), pixels)


def test_a_png_of_two_channels_is_refused():
    with pytest.raises(ValueError, match="2 channels; allowed: 1, 3"):
        illustrations.png(np.zeros((2, 3, 5), np.uint8))


def test_examples_say_which_image_they_are(simulate):
    images = page_of(simulate(Simulation())).examples["tetrominoes"]
    assert len(images) == 11
    assert re.fullmatch(r"image 3: rotation 0\.25, hue [01]\.\d\d", images[3].text)
    assert base64.b64decode(images[3].source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
