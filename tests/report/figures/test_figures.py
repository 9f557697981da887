"""Laws of all figures: lists agree, charts compile, marks are clipped, and a page has those with numbers alone."""

import functools
import json
import re

import altair as alt
import pytest
import vl_convert

import rdstudy.report.figure
import rdstudy.study
from rdstudy.report import theme
from rdstudy.report.contents import page_of
from rdstudy.report.figure_files import figures_of
from rdstudy.report.figures import FIGURES
from tests.report.conftest import HALF, HOSTILE_TEXTS, MEASURED, WHOLE, Simulation

CASES = {
    "whole": WHOLE,
    "one seed": Simulation(seeds=1),
    "measured": MEASURED,
    "measured, one seed, one β": Simulation(measured=True, depths=[1], seeds=1, betas=[0.1]),
    "one cell, one β": Simulation(depths=[1], betas=[1.0], seeds=2),
    "β of 0": Simulation(betas=[0.0, 0.01, 1.0]),
    "half done": HALF,
    "many cells": Simulation(
        splits=["cv(8192)", "checkerboard", "cd(8192)"],
        datasets=["tetrominoes", "mnist"],
        depths=[1],
        betas=[0.1, 1.0],
        seeds=2,
    ),
    "hostile": HOSTILE_TEXTS,
}


@pytest.fixture(scope="module", params=list(CASES.values()), ids=list(CASES))
def figures(request, simulate):
    """As the page has them, and where no other test looks at this page, as files have them: they are the same."""
    if request.param in (WHOLE, MEASURED, HALF, HOSTILE_TEXTS):
        return simulate.page(request.param).figures
    return [drawn.figure for drawn in figures_of(simulate(request.param))]


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


def test_a_study_can_ask_for_each_figure_in_the_order_of_the_page():
    assert tuple(kind.name for kind in FIGURES) == rdstudy.study.FIGURES


@functools.cache
def compiles(chart):
    """Whether a chart becomes a picture; many are the same in several cases."""
    return "<svg" in vl_convert.vegalite_to_svg(chart)


def test_every_chart_compiles_with_clipped_marks_and_plain_numbers(figures):
    for figure in figures:
        spec = figure.spec.vega_lite
        assert compiles(json.dumps(spec, allow_nan=False))
        drawn = list(marks(spec))
        assert drawn
        assert all(mark["clip"] is True for mark in drawn)


VALIDATED_BY_THEIR_TESTS = {
    *("batch-estimates", "exact", "leave-one-out", "neighbours", "optimum", "own-measures"),
    *("sizes-distortion", "sizes-rate-distortion"),
}
PICTURES = {"reconstructions", "samples"}


def test_every_chart_passes_the_schema(simulate):
    """A new figure fails here until a test holds it against the schema: `FigureKind.drawn` has no check of Altair."""
    figures = (*simulate.page(WHOLE).figures, *simulate.page(MEASURED).figures)
    for figure in figures:
        alt.TopLevelSpec.validate(figure.spec.vega_lite)
    validated = {figure.key.removeprefix("depth-") for figure in figures}
    assert {kind.name for kind in FIGURES} - PICTURES - VALIDATED_BY_THEIR_TESTS <= validated


def test_a_page_has_the_figures_that_have_values_and_no_others(simulate):
    keys = simulate.figures(MEASURED).keys()
    expected = {
        "rate-parts",
        "finer-parts",
        "cross-rate",
        "active-units",
        "log-marginal",
        "gap-parts",
        "copied",
        "optimal-decoder",
    }
    expected |= {"early-stopping", "early-stopping-distortion"}
    assert {f"depth-{name}" for name in expected} <= keys
    assert "depth-batch-estimates" not in keys


def test_a_study_that_measured_nothing_has_no_figure_of_measures(simulate):
    page = simulate.page(WHOLE)
    keys = {figure.key.removeprefix("depth-") for figure in page.figures}
    assert keys == {"distortion", "rate-distortion", "learning", "splits"}
    assert not page.coverage.unmeasured.rows


def test_a_page_of_very_many_cells_shows_the_main_figures_and_says_so(simulate, monkeypatch):
    monkeypatch.setattr(rdstudy.report.figure, "_MANY_CELLS", 1)
    page = page_of(simulate(Simulation(measured=True, betas=[0.1, 1.0], seeds=1)))
    shown = {figure.key.removeprefix("depth-"): figure.note for figure in page.figures}
    assert {kind.name for kind in FIGURES if kind.rank == "main"} <= set(shown)
    assert "finer-parts" not in shown
    assert "finer figures are left out" in shown["rate-parts"]


def plots(spec):
    """All plots of a chart: those of layers."""
    if "layer" in spec:
        yield spec
    for part in spec.get("concat", spec.get("vconcat", [])):
        yield from plots(part)


def colour_scales(spec):
    """(domain, range) of every scale of colours, however deep."""
    if isinstance(spec, dict):
        for channel in ("color", "fill", "stroke"):
            encoded = spec.get(channel)
            encoded = encoded.get("condition", encoded) if isinstance(encoded, dict) else {}
            if "field" in encoded:
                yield tuple(encoded["scale"]["domain"]), tuple(encoded["scale"]["range"])
        spec = list(spec.values())
    if isinstance(spec, list):
        for value in spec:
            yield from colour_scales(value)


def test_a_colour_has_one_meaning_on_the_whole_page(figures):
    """A subset or series is drawn in one colour wherever it is, and no two things of a figure share one."""
    colours: dict[str, str] = {"test": theme.TEST, "train": theme.TRAIN}
    for figure in figures:
        for domain, shades in colour_scales(figure.spec.vega_lite):
            assert len(domain) == len(shades) == len(set(shades))
            assert all(re.fullmatch("#[0-9A-F]{6}", shade) for shade in shades)
            for name, shade in zip(domain, shades, strict=True):
                assert (shade in (theme.TEST, theme.TRAIN)) == (name in theme.SUBSETS)
                if name in theme.COLOURS or name in theme.SUBSETS:
                    assert colours.setdefault(name, shade) == shade


def test_test_and_train_have_marks_of_their_own_wherever_dots_are_in_their_colours(figures):
    for figure in figures:
        for plot in plots(figure.spec.vega_lite):
            for layer in plot["layer"]:
                coloured = {layer["encoding"].get(channel, {}).get("field") for channel in ("color", "stroke")}
                if layer["mark"]["type"] in ("point", "circle") and "subset" in coloured:
                    assert layer["encoding"]["shape"]["field"] == "subset"


def test_a_plot_has_one_layer_of_points_at_most_and_its_rows_have_their_beta(figures):
    for figure in figures:
        spec, names = figure.spec.vega_lite, []
        for plot in plots(spec):
            own = [layer for layer in plot["layer"] if layer.get("name", "").startswith(theme.DOTS)]
            assert len(own) <= 1
            for layer in own:
                names.append(layer["name"])
                assert "tooltip" in layer["encoding"]
                rows = spec["datasets"][layer.get("data", plot.get("data"))["name"]]
                assert all(isinstance(row["beta"], (int, float)) for row in rows)
        assert len(names) == len(set(names))
        assert names or figure.key == "splits"


def test_panels_of_one_figure_share_their_vertical_axes(simulate):
    """Here all cells have one data set and one likelihood; each measure against exact has an axis of its own."""
    for figure in simulate.page(MEASURED).figures:
        domains: dict[str, set[tuple[float, ...]]] = {}
        for plot in plots(figure.spec.vega_lite):
            for layer in plot["layer"]:
                encoded = layer["encoding"].get("y", {})
                if "domain" in encoded.get("scale", {}):
                    domains.setdefault(encoded.get("field"), set()).add(tuple(encoded["scale"]["domain"]))
        assert all(len(shared) == 1 for field, shared in domains.items() if field), figure.key
        assert domains or figure.key == "splits"
