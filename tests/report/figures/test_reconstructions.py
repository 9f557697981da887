"""Reconstructions: what is shown of what is stored, what is called a copy, and what a page has room for."""

import dataclasses

import numpy as np
import pytest
import vl_convert

from rdstudy.report.contents import page_of
from rdstudy.report.figures import reconstructions
from rdstudy.report.page import render
from rdstudy.report.pictures import Album
from rdstudy.report.strips import strip_table
from tests.report.conftest import BETAS, tables_of
from tests.report.figures.conftest import OTHER

MARKS = {0.001: "", 0.01: "", 0.1: "blurred", 1.0: "blurred", 3.0: "copied"}


def test_a_strip_shows_the_lowest_seed_along_beta_and_marks_copies(pictured):
    tables = tables_of(pictured)
    table = reconstructions.table(tables)
    assert len(table) == 2 * 2 * len(BETAS)
    assert set(table["seed"]) == {0}
    strips = strip_table(table, Album(), pictures=1_000)
    assert strips.betas == tuple(f"{beta:g}" for beta in BETAS)
    assert (len(strips.hard), len(strips.usual)) == (2, 2)
    for strip in (*strips.hard, *strips.usual):
        assert strip.own is not None
        marks = {beta: made.mark for beta, made in zip(BETAS, strip.reconstructions, strict=True) if made is not None}
        assert marks == MARKS
    note = reconstructions.note(tables, table)
    assert "4 of 20 stored reconstructions are" in note
    assert "8 are" in note
    # at β = 0.01 a control is nearer than its own image: no mark, but by chance
    assert "half of 16, 4 to 12 in 95 of 100" in note
    assert "there are 4, no more and no fewer" in note
    assert "not known: of the training images" in note


def test_tooltips_name_the_control_and_call_blur_blur(pictured):
    table = reconstructions.table(tables_of(pictured))
    strips = strip_table(table, Album(), pictures=1_000)
    texts = {beta: made.text for beta, made in zip(BETAS, strips.hard[0].reconstructions, strict=True) if made}
    assert texts[3.0].endswith(
        "1 to training image 3, 1.5 to the nearest image never trained on: copied, or so by chance"
    )
    assert texts[0.1].endswith("0.7 to the nearest image never trained on: blurred, no copy")
    assert texts[0.001].endswith("0.7 to the nearest image never trained on")


def test_older_rows_without_controls_have_no_frame_and_say_so(pictured):
    older = pictured.reconstructions.assign(control_distance=None)
    partly = pictured.reconstructions.copy()
    partly.loc[partly["image"] == OTHER, "control_distance"] = np.nan
    for rows, phrase in ((older, "Nothing is framed as a copy"), (partly, "No frame for 10 others")):
        tables = tables_of(pictured, reconstructions=rows)
        table = reconstructions.table(tables)
        assert not table.loc[table["control_distance"].isna(), "mark"].any()
        assert phrase in reconstructions.note(tables, table)


def test_equal_pictures_are_stored_once(pictured):
    album = Album()
    table = reconstructions.table(tables_of(pictured))
    strip_table(table, album, pictures=1_000)
    made = 2 * len(BETAS)  # of the lowest seeds; both images alike
    assert len(album.sources) == made + 3  # the image, its neighbour and the optimal decoder's answer


def test_a_page_has_room_for_so_many_strips_and_says_what_it_leaves_out(pictured):
    table = reconstructions.table(tables_of(pictured))
    strips = strip_table(table, Album(), pictures=1, note="Before.")
    assert (len(strips.hard), len(strips.usual)) == (1, 0)
    assert "Before. Left out to keep the page light: the hard example in 1 of 2 cells and 2 of 2 strips" in strips.note


def test_the_page_holds_the_strips_and_a_page_without_them_is_whole(pictured):
    page = page_of(pictured)
    assert page.experiments[0].strips is not None
    html = render(page)
    assert html.count('class="copied"') == 4
    assert html.count('class="blurred"') == 8
    assert all(f'"{key}":"data:image/png' in html for key in page.pictures)
    bare = page_of(dataclasses.replace(pictured, reconstructions=pictured.reconstructions.iloc[:0]))
    assert bare.experiments[0].strips is None
    assert "Reconstructions of the hard example" not in render(bare)


def test_a_chart_by_itself_has_the_pictures_of_the_strips(pictured):
    tables = tables_of(pictured)
    spec = reconstructions.chart(tables, reconstructions.table(tables)).vega_lite
    (rows,) = spec["datasets"].values()
    assert len(rows) == 2 * 2 * (2 + 2 * len(BETAS))  # cells, images; itself, its neighbour, two decoders
    assert {row["mark"] for row in rows} == {"", "copied", "blurred"}
    assert all(row["source"].startswith("data:image/png;base64,") for row in rows)
    assert vl_convert.vegalite_to_svg(spec).count("<image") == len(rows)


@pytest.mark.parametrize(("many", "least"), [(0, 0), (1, 0), (5, 0), (6, 1), (100, 40)])
def test_chance_is_a_fair_coin(many, least):
    assert reconstructions._by_chance(many) == (least, many - least)
