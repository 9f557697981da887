"""Figures at the width of a column: their width, their letters, their panels, and the files beside them."""

import dataclasses
import functools
import json
import re
from xml.etree import ElementTree

import altair as alt
import pandas as pd
import pytest

from rdstudy.report import svg as pictures
from rdstudy.report.__main__ import main
from rdstudy.report.figure_files import figures_of
from rdstudy.report.papers import STYLES, fitted, width_of
from tests.report.conftest import Simulation

POINT, INCH = 4 / 3, 96
MANY_BETAS = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0)
WIDE = Simulation(
    measured=True, seeds=1, betas=MANY_BETAS, depths=(1, 3), datasets=("tetrominoes", "mnist", "dsprites")
)


def head_of(svg):
    """Width in points, and points of a pixel."""
    head = re.search(r'width="([\d.]+)pt" height="[\d.]+pt" viewBox="0 0 ([\d.]+) ', svg)
    assert head is not None
    return float(head[1]), float(head[1]) / float(head[2])


def letters_of(svg):
    """Sizes of all letters in points."""
    _, point = head_of(svg)
    return [float(size) * point for size in re.findall(r'font-size="([\d.]+)px"', svg)]


def bounds_of(svg):
    """Left and right end of all texts, in pixels, as wide as letters usually are; texts of rotated titles left out."""
    root, ends = ElementTree.fromstring(svg), []

    def walk(element, x):
        moved = re.match(r"translate\(([-\d.e]+)", element.get("transform", ""))
        x += float(moved[1]) if moved else 0.0
        if element.tag.endswith("text") and element.text and "rotate" not in element.get("transform", ""):
            width = len(element.text) * float(element.get("font-size")[:-2]) * pictures.LETTER
            left = x - {"middle": 0.5, "end": 1.0}.get(element.get("text-anchor"), 0.0) * width
            ends.append((left, left + width))
        for child in element:
            walk(child, x)

    walk(root, 0.0)
    return ends


@pytest.fixture(scope="module")
def wide(simulate):
    """Charts of six panels, and the splits, by their keys."""
    names = ["depth-distortion", "depth-rate-distortion", "depth-learning", "splits"]
    return {drawn.figure.key: drawn.figure.spec.vega_lite for drawn in figures_of(simulate(WIDE), names)}


@pytest.fixture(scope="module")
def fit(wide):
    """Such a chart at the width of a style, which many tests look at."""
    return functools.cache(lambda key, style, columns: fitted(wide[key], width_of(style, columns)))


@pytest.mark.parametrize(
    ("style", "columns", "inches"),
    [("icml", 1, 3.25), ("neurips", 1, 5.5), ("ieee", 2, 7.16), ("nature", 1, 89 / 25.4)],
)
def test_a_figure_is_as_wide_as_its_column_and_can_be_read(simulate, fit, style, columns, inches):
    # all figures at the narrowest width, and at the others those that are laid out in ways of their own
    if style == "icml":
        three = simulate(dataclasses.replace(WIDE, depths=(1,)))  # panels, in two rows
        charts = {drawn.figure.key: drawn.figure.spec.vega_lite for drawn in figures_of(three)}
        drawings = {key: fitted(chart, width_of(style, columns)) for key, chart in charts.items()}
    else:
        drawings = {key: fit(key, style, columns) for key in ("depth-rate-distortion", "depth-learning", "splits")}
    for key, drawing in drawings.items():
        width, point = head_of(drawing.svg)
        assert width == pytest.approx(72 * inches, abs=0.01), key
        assert point <= 0.7501, key
        assert min(letters_of(drawing.svg)) >= 7, key
        assert max(letters_of(drawing.svg)) <= 9, key
        for left, right in bounds_of(drawing.svg):  # nothing is cut off, legends neither
            assert left > -2, key
            assert right < width / point + 2, key


def test_panels_are_as_many_in_a_row_as_can_be_read(fit):
    for style, columns, in_row in (("icml", 1, 2), ("neurips", 1, 3), ("icml", 2, 3), ("jmlr", 1, 3)):
        laid = fit("depth-distortion", style, columns).vega_lite
        assert laid["columns"] == in_row
        widths = {view["width"] for panel in laid["concat"] for view in panel["vconcat"]}
        assert len(widths) == 1
        assert widths.pop() >= 1.05 * INCH


def y_titles(panel):
    views = panel.get("vconcat", [panel])
    axes = [layer["encoding"].get("y", {}).get("axis") or {} for view in views for layer in view["layer"]]
    return {str(axis["title"]) for axis in axes if axis.get("title")}


def test_the_first_panel_of_each_row_says_what_its_axis_is(fit):
    laid = fit("depth-rate-distortion", "icml", 1).vega_lite
    assert [bool(y_titles(panel)) for panel in laid["concat"]] == [True, False] * 3


def test_distortion_and_gap_keep_as_many_nats_to_a_pixel(wide, fit):
    before = wide["depth-distortion"]["concat"][0]["vconcat"]
    after = fit("depth-distortion", "icml", 1).vega_lite["concat"][0]["vconcat"]
    ratios = [new["height"] / old["height"] for new, old in zip(after, before, strict=True)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-3)


def test_names_in_a_panel_lie_within_it_and_not_on_each_other(fit):
    root = ElementTree.fromstring(fit("depth-rate-distortion", "icml", 1).svg)
    names = 0
    for panel in root.iter("{http://www.w3.org/2000/svg}g"):
        texts = [
            placed
            for group in panel
            if group.get("class", "").startswith("mark-text role-mark")
            for placed in pictures._placed(group)
        ]
        boxes = [pictures._box(*placed) for placed in texts]
        names += len(boxes)
        assert all(box.left >= 0 and box.top >= -0.5 for box in boxes)
        assert not any(box.meets(other) for place, box in enumerate(boxes) for other in boxes[:place])
    assert names >= 6


def test_overlaps_are_there_before_they_are_taken_out():
    rows = pd.DataFrame({"x": [0, 1, 2], "y": [0, 0, 9], "name": ["a long name", "another long name", "far"]})
    chart = alt.Chart(rows).mark_text(clip=True).encode(x="x:Q", y="y:Q", text="name:N")
    svg = pictures.svg_of(chart.properties(width=60, height=60).to_dict())
    kept = pictures.without_overlaps(svg)
    assert [name in svg for name in rows["name"]] == [True, True, True]
    assert [f">{name}<" in kept for name in rows["name"]] == [True, False, True]


@pytest.mark.parametrize("width", [312.0, 687.0])
def test_a_chart_of_another_kind_is_scaled_and_can_be_read(width):
    rows = pd.DataFrame({"beta": [0.1, 1.0] * 4, "rate": range(8), "panel": list("aabbccdd")})
    chart = alt.Chart(rows).mark_bar().encode(x="beta:N", y="rate:Q", column="panel:N").properties(width=150)
    svg = fitted(chart.to_dict(), width).svg
    assert head_of(svg)[0] == pytest.approx(width / POINT, abs=0.01)
    assert min(letters_of(svg)) >= 7


def test_one_chart_alone_is_a_panel():
    rows = pd.DataFrame({"beta": [0.1, 1.0], "rate": [1.0, 2.0]})
    chart = alt.Chart(rows).mark_line().encode(x="beta:Q", y="rate:Q").properties(width=400, height=300, title="Mine")
    drawing = fitted(chart.to_dict(), 312.0)
    assert drawing.vega_lite["concat"][0]["width"] > 240
    assert min(letters_of(drawing.svg)) >= 7


@pytest.mark.parametrize(("format", "start"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("json", b"{")])
def test_a_figure_of_a_paper_has_its_caption_and_its_table_beside_it(simulate, tmp_path, capsys, format, start):
    out = tmp_path / "f"
    command = [simulate.store(Simulation(seeds=2)).uri, "--figures", str(out), "--style", "icml", "--columns", "2"]
    assert main([*command, "--figure", "depth-distortion", "--format", format]) == 0
    names = [f"simulated-depth-distortion.{ending}" for ending in (format, "txt", "csv")]
    assert capsys.readouterr().out.split() == [str(out / name) for name in names]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    picture, caption, _ = ((out / name).read_bytes() for name in names)
    assert picture.startswith(start)
    assert b"Distortion against" not in picture
    if format == "pdf":
        assert b"MediaBox [0 0 486 " in picture
    if format == "png":
        assert int.from_bytes(picture[16:20], "big") == 6.75 * 400
    if format == "json":
        assert json.loads(picture)["concat"]
    assert caption.decode().startswith("Distortion against β.\n\nMean ± sample standard deviation over 2 models.")
    rows = pd.read_csv(out / names[2])
    assert {"panel", "beta", "subset", "distortion", "distortion_sd", "gap"} <= set(rows.columns)
    assert len(rows) == 2 * 5 * 2


def test_a_caption_says_nothing_of_a_pointer(simulate, tmp_path):
    store = simulate.store(Simulation(seeds=2, outcomes=["failed"]))
    command = [store.uri, "--figures", str(tmp_path), "--style", "icml", "--figure", "depth-distortion"]
    assert main(command) == 0
    caption = (tmp_path / "simulated-depth-distortion.txt").read_text()
    assert "over 1 to 2 models." in caption
    assert "tooltip" not in caption


def test_every_style_is_in_the_help_or_an_error_names_it():
    with pytest.raises(ValueError, match=", ".join(STYLES)):
        width_of("thesis", 1)


def test_clips_have_the_same_names_however_much_was_drawn_before(wide):
    assert pictures.svg_of(wide["depth-distortion"]) == pictures.svg_of(wide["depth-distortion"])
