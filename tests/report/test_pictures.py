"""Strips of reconstructions, distances to neighbours and closed forms: from stored rows to what a reader sees."""

import dataclasses
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
import vl_convert

from rdstudy.report import distances, linear
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.page import render
from rdstudy.report.pictures import Album, reconstruction_table, strip_table
from rdstudy.report.tables import StudyTables, read_study
from rdstudy.results.schema import EXACT
from tests.report.conftest import BETAS, Simulation

SHAPE = {"channels": 3, "height": 5, "width": 7}
HARD, OTHER = 11, 13
CONTROLS = {0.001: 0.7, 0.01: 0.4, 0.1: 0.7, 1.0: 1.0, 3.0: 1.5}  # nearest training image at 1; a tie is no copy
MARKS = {0.001: "", 0.01: "", 0.1: "blurred", 1.0: "blurred", 3.0: "copied"}


def pixels(value: int) -> bytes:
    return np.full((3, 5, 7), value, np.uint8).tobytes()


@pytest.fixture
def study(tmp_path) -> StudyTables:
    simulation = Simulation(measured=True)
    store = simulation.write(tmp_path / "results")
    members = {row["member_id"]: row for row in store.read("members").to_pylist()}
    rows: list[dict[str, Any]] = []
    for number, (member_id, row) in enumerate(members.items()):
        for image in (HARD, OTHER):
            rows.append(
                {
                    "member_id": member_id,
                    "run_id": row["run_id"],
                    "measures_id": simulation.study().measures.measures_id,
                    "dataset": "tetrominoes",
                    "image": image,
                    "hard": image == HARD,
                    **SHAPE,
                    "pixels": pixels(number),
                    "optimal_pixels": pixels(100),
                    "nearest_image": 3,
                    "nearest_distance": 1.0,
                    "own_distance": 0.5 if row["beta"] < 0.05 else 2.0,
                    "control_distance": CONTROLS[row["beta"]],
                }
            )
    store.write_measured({"reconstructions": rows})
    near = [
        {
            "dataset": "tetrominoes",
            "split": "cv(16384)",
            "study_seed": 0,
            "image": image,
            "nearest_image": 3,
            "distance": float(place),
            "hard": image == HARD,
            **(SHAPE | {"pixels": pixels(200), "nearest_pixels": pixels(201)} if image in (HARD, OTHER) else {}),
        }
        for place, image in enumerate((5, OTHER, 17, HARD, 19), start=1)
    ]
    store.write_neighbours("tetrominoes", "cv(16384)", 0, near)
    return read_study(store, simulation.name)


def test_a_strip_shows_the_lowest_seed_along_beta_and_marks_copies(study):
    planned = with_cells(study.planned)
    table = reconstruction_table(planned, study.reconstructions, study.neighbours)
    assert len(table) == 2 * 2 * len(BETAS)
    assert set(table["seed"]) == {0}
    strips = strip_table(table, Album(), pictures=1_000)
    assert strips is not None
    assert strips.betas == tuple(f"{beta:g}" for beta in BETAS)
    assert (len(strips.hard), len(strips.others)) == (2, 2)
    for strip in (*strips.hard, *strips.others):
        assert strip.own is not None
        marks = {beta: made.mark for beta, made in zip(BETAS, strip.reconstructions, strict=True) if made is not None}
        assert marks == MARKS
    assert "4 of 20 stored reconstructions are" in strips.note
    assert "8 are" in strips.note
    assert "half of 16" in strips.note  # at β = 0.01 a control is nearer than its own image: no mark, but by chance


def test_tooltips_name_the_control_and_call_blur_blur(study):
    table = reconstruction_table(with_cells(study.planned), study.reconstructions, study.neighbours)
    strips = strip_table(table, Album(), pictures=1_000)
    assert strips is not None
    texts = {beta: made.text for beta, made in zip(BETAS, strips.hard[0].reconstructions, strict=True) if made}
    assert texts[3.0].endswith("1 to training image 3, 1.5 to the nearest image never trained on: copied")
    assert texts[0.1].endswith("0.7 to the nearest image never trained on: blurred, no copy")
    assert texts[0.001].endswith("0.7 to the nearest image never trained on")


def test_older_rows_without_controls_have_no_frame_and_say_so(study):
    older = study.reconstructions.assign(control_distance=None)
    some = study.reconstructions.copy()
    some.loc[some["image"] == OTHER, "control_distance"] = np.nan
    planned = with_cells(study.planned)
    for rows, said in ((older, "Nothing is framed as a copy"), (some, "No frame for 10 others")):
        table = reconstruction_table(planned, rows, study.neighbours)
        assert not table.loc[table["control_distance"].isna(), "mark"].any()
        strips = strip_table(table, Album(), pictures=1_000)
        assert strips is not None
        assert said in strips.note


def test_equal_pictures_are_stored_once(study):
    album = Album()
    table = reconstruction_table(with_cells(study.planned), study.reconstructions, study.neighbours)
    strip_table(table, album, pictures=1_000)
    made = 2 * len(BETAS)  # of the lowest seeds; both images alike
    assert len(album.sources) == made + 3  # the image, its neighbour and the optimal decoder's answer


def test_a_page_has_room_for_so_many_strips_and_says_what_it_leaves_out(study):
    table = reconstruction_table(with_cells(study.planned), study.reconstructions, study.neighbours)
    strips = strip_table(table, Album(), pictures=1)
    assert strips is not None
    assert (len(strips.hard), len(strips.others)) == (1, 0)
    assert "Left out to keep the page light: the hard example in 1 of 2 cells and 2 of 2 strips" in strips.note


def test_the_page_holds_the_strips_and_a_page_without_them_is_whole(study):
    page = page_of(study)
    assert page.experiments[0].strips is not None
    html = render(page)
    assert html.count('class="copied"') == 4
    assert html.count('class="blurred"') == 8
    assert all(f'"{key}":"data:image/png' in html for key in page.pictures)
    bare = page_of(dataclasses.replace(study, reconstructions=study.reconstructions.iloc[:0]))
    assert bare.experiments[0].strips is None
    assert "Reconstructions of the hard example" not in render(bare)


def test_distances_are_a_distribution_function_with_its_marks(study):
    planned = with_cells(study.planned)
    curves, marks = (of(planned, study.neighbours) for of in (distances.distance_curves, distances.distance_marks))
    assert curves["share"].is_monotonic_increasing
    assert curves["share"].iloc[-1] == 1.0
    assert dict(zip(marks["mark"], marks["distance"], strict=True)) == {"median": 3.0, "hard example": 4.0}
    (figure,) = distances.figures("depth", planned, study.neighbours)
    assert "<svg" in vl_convert.vegalite_to_svg(figure.spec.vega_lite)
    assert not distances.figures("depth", planned, study.neighbours.iloc[:0])


def test_measured_minus_exact_is_drawn_where_there_are_closed_forms(study):
    planned = with_cells(study.planned)
    assert not linear.figures("depth", planned, study.measures, study.members)
    exact = study.measures.copy()
    for name in EXACT:
        exact[f"exact_{name}"] = exact[name] - 0.25 if name in exact.columns else 7.0
    exact = exact.assign(best_distortion=1.0, best_rate=2.0, best_log_marginal=-3.0)
    table = linear.deviations(planned, exact, study.members)
    known = table[~table["measure"].isin(["distortion", "rate"])]
    np.testing.assert_allclose(known["deviation"], 0.25)
    assert set(table["measure"]) == set(EXACT)
    figures = linear.figures("depth", planned, exact, study.members)
    assert [figure.key for figure in figures] == ["depth-exact", "depth-optimum"]
    for figure in figures:
        assert "<svg" in vl_convert.vegalite_to_svg(figure.spec.vega_lite)
    assert "0.0% are within three of them" in figures[0].note


def test_tables_of_another_setting_of_the_measures_are_not_mixed_in(tmp_path):
    simulation = Simulation(measured=True)
    store = simulation.write(tmp_path / "results")
    run = store.read("members").to_pylist()[0]
    other = {"member_id": run["member_id"], "run_id": run["run_id"], "subset": "test", "measures_id": "f" * 16}
    store.write_measured({"measures": [other | {"finished_at": datetime(2026, 1, 2, tzinfo=UTC)}]})
    assert isinstance(study_measures := read_study(store, simulation.name).measures, pd.DataFrame)
    assert "f" * 16 not in set(study_measures["measures_id"])
    assert len(study_measures) == 60
