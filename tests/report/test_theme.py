"""How all charts look: a place for every β, rows as plain numbers, one colour a meaning."""

import itertools

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import measures, theme
from rdstudy.report.figures import copied, gap_parts


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


SEEN_BY = {  # Machado, Oliveira and Fernandes (2009): linear RGB as the colour-blind see it
    "all": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
FIGURES = {
    "rate parts": ["mutual information I", "marginal KL"],
    "finer parts": ["total correlation", "dimension-wise KL"],
    "cross rate": ["rate", "cross rate"],
    "gap parts": [gap_parts.GAP, gap_parts.WHOLE, gap_parts.DECODER, gap_parts.ENCODER, gap_parts.REFITTED],
    "early stopping": list(measures.STOPPING),
    "memorization": [copied.NEARER, copied.BLUR_COUNTS],
    "decoders": ["this decoder", "infinite-capacity decoder"],
    "optimum": ["D + βR above the optimum", "D − D of the optimum", "R − R of the optimum"],
}


def seen(colour, eyes):
    """CIELAB of a colour as these eyes see it."""
    encoded = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    x, y, z = np.array(TO_XYZ) @ np.clip(np.array(SEEN_BY[eyes]) @ linear, 0, 1) / np.array([0.95047, 1, 1.08883])
    x, y, z = (np.cbrt(value) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eyes", SEEN_BY)
@pytest.mark.parametrize("figure", FIGURES)
def test_the_colours_of_a_figure_are_told_apart_by_all_readers(figure, eyes):
    colours = theme.colours_of(FIGURES[figure])
    for one, other in itertools.combinations(colours, 2):
        assert np.linalg.norm(seen(one, eyes) - seen(other, eyes)) > 18


def test_every_named_series_is_in_a_figure_and_none_has_the_colour_of_a_subset():
    assert {name for series in FIGURES.values() for name in series} == set(theme.COLOURS)
    assert not {theme.TEST, theme.TRAIN} & {*theme.COLOURS.values(), *theme.SPARE_COLOURS}


def test_other_series_keep_their_colour_and_share_none():
    (alone,) = theme.colours_of(["sharpness"])
    assert theme.colours_of(["marginal KL", "sharpness"]) == (theme.COLOURS["marginal KL"], alone)
    many = [f"measure {number}" for number in range(len(theme.SPARE_COLOURS))]
    assert set(theme.colours_of(many)) == set(theme.SPARE_COLOURS)


def test_ordered_levels_go_from_dark_to_light():
    colours = theme.sequential(7)
    lightness = [seen(colour, "all")[0] for colour in colours]
    assert lightness == sorted(lightness)
    assert lightness[-1] < 80  # it is seen on white
    assert theme.sequential(1) == ["#440154"]


def test_a_level_has_one_colour_whatever_is_drawn_beside_it():
    among = [0.001, 0.1, 1.0, 4.0]
    assert theme.shades_of([0.1, 4.0], among) == (theme.sequential(4)[1], theme.sequential(4)[3])
    assert theme.shades_of([0.1], [1.0]) == theme.shades_of([0.1, 1.0], [])[:1]


def test_layers_of_one_name_are_numbered_in_a_whole_chart():
    panels: list[theme.Panel] = [
        {"layer": [{"name": theme.DOTS}, {}]},
        {"vconcat": [{"layer": [{"name": theme.DOTS}]}]},
    ]
    spec = theme.finish({"concat": panels}, theme.Datasets()).vega_lite
    assert [panel.get("vconcat", [panel])[0]["layer"][0]["name"] for panel in spec["concat"]] == ["dots0", "dots1"]
    assert panels[1]["vconcat"][0]["layer"][0]["name"] == theme.DOTS
