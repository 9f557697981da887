"""What a page draws of very many cells, what it says of the others, and how these are drawn."""

import dataclasses

import numpy as np
import pytest

from rdstudy.report import drawn_cells, runs
from rdstudy.report.__main__ import main
from rdstudy.report.contents import page_of
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.page import render
from rdstudy.report.read import read_study
from tests.report.conftest import Simulation

MANY = Simulation(splits=[f"cv({size})" for size in range(1_001, 1_008)], betas=(0.1, 1.0), seeds=2, points=3)
"""14 cells."""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return MANY.write(tmp_path_factory.mktemp("many") / "results")


@pytest.fixture(scope="module")
def study(store):
    return read_study(store, "simulated")


@pytest.fixture(scope="module")
def tables(study):
    return ExperimentTables.of(study, study.experiments[0])


def cells_of(tables):
    return np.unique(tables.planned["cell"]).tolist()


def test_few_cells_are_all_drawn_and_nothing_is_said(tables):
    assert drawn_cells.drawn(tables) is tables
    assert drawn_cells.omission(tables, "depth-distortion") == ""


def test_of_many_cells_some_are_drawn_evenly_and_the_others_are_named(tables, monkeypatch):
    monkeypatch.setattr(drawn_cells, "MOST_CELLS", 5)
    shown = drawn_cells.drawn(tables).planned
    assert sorted(set(zip(shown["split"], shown["depth"], strict=True))) == [
        (f"cv({size})", depth) for size in (1_001, 1_007) for depth in (1, 3)
    ]
    said = drawn_cells.omission(tables, "depth-distortion")
    assert "draw 4 of 14 cells: of 7 splits cv(1001), cv(1007). The table" in said
    assert "--figure depth-distortion --where 'split=cv(1002)' --where depth=1" in said


@pytest.mark.parametrize("most", range(1, 15))
def test_never_more_are_drawn_and_always_whole_combinations(tables, monkeypatch, most):
    monkeypatch.setattr(drawn_cells, "MOST_CELLS", most)
    shown = drawn_cells.drawn(tables).planned
    cells = shown["cell"].nunique()
    assert 1 <= cells <= most
    assert cells == shown["split"].nunique() * shown["depth"].nunique()


def test_a_page_draws_no_more_than_it_says_and_its_table_has_all(study, monkeypatch):
    monkeypatch.setattr(drawn_cells, "MOST_CELLS", 5)
    page = page_of(study)
    (section,) = page.experiments
    by_key = {figure.key: figure.spec.panels for figure in section.figures}
    assert by_key["depth-distortion"] == by_key["depth-rate-distortion"] == 4
    assert by_key["depth-learning"] == 8  # distortion and rate
    assert len(page.results.rows) == 14 * 2
    assert "Figures draw 4 of 14 cells" in render(page)


def test_cells_are_chosen_by_levels(tables):
    chosen = drawn_cells.where(tables, ["split=cv(1002)", "split = cv(1005)", "depth=3"])
    assert set(chosen.planned["split"]) == {"cv(1002)", "cv(1005)"}
    assert set(chosen.planned["depth"]) == {3}
    every = tables.planned.set_index("member_id")
    kept = chosen.planned.set_index("member_id")
    assert (kept[["cell", "panel"]] == every.loc[kept.index, ["cell", "panel"]]).all(axis=None)
    assert drawn_cells.where(tables, []) is tables


@pytest.mark.parametrize(
    ("condition", "allowed"),
    [("size=3", "dataset, split"), ("depth", "FACTOR=LEVEL"), ("depth=2", "1, 3"), ("split=cv", "cv\\(1001")],
)
def test_a_level_that_no_cell_has_is_refused(tables, condition, allowed):
    with pytest.raises(ValueError, match=f"--where.*allowed: {allowed}"):
        drawn_cells.where(tables, [condition])


def test_a_figure_of_chosen_cells_is_drawn(store, tmp_path):
    arguments = ["--figures", str(tmp_path), "--figure", "depth-distortion", "--format", "json"]
    assert main([store.uri, *arguments, "--where", "depth=3", "--where", "split=cv(1003)"]) == 0
    text = (tmp_path / "simulated-depth-distortion.json").read_text()
    assert '"depth=1"' not in text
    assert text.count('"title"') > 0
    assert "1,003" in text
    assert "1,004" not in text


def test_levels_are_for_figures(store, capsys):
    assert main([store.uri, "--where", "depth=3"]) == 2
    assert "--where is for --figures" in capsys.readouterr().err


def test_without_single_models_no_button_saves_them(simulate, monkeypatch):
    simulation = dataclasses.replace(MANY, figures=("learning",), splits=MANY.splits[:1])
    assert 'data-save="runs"' in simulate.html(simulation)
    monkeypatch.setattr(runs, "MOST_RUNS", 7)
    page = page_of(simulate(simulation))
    assert not page.has_runs
    assert 'data-save="runs"' not in render(page)
    assert "more than 7 models" in dataclasses.asdict(page)["runs"]
