"""One figure by itself: what its page shows, as a chart and as a table, and what is refused in one line."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import altair as alt
import pandas as pd
import pytest

import rdstudy
import rdstudy.study
from tests.report.conftest import MEASURED, NOTHING, Simulation


@pytest.fixture
def results(simulate):
    return Path(simulate.store(MEASURED).uri)


@pytest.mark.parametrize("names", [("active-units", "learning"), ()], ids=["as Altair has it", "of every figure"])
def test_a_chart_is_that_of_the_page_with_its_title_and_note(simulate, results, monkeypatch, names):
    (section,) = simulate.page(MEASURED).experiments
    assert len(section.figures) > 11
    if not names:  # Altair takes its time to read a chart: two layouts stand for all
        monkeypatch.setattr(alt.Chart, "from_dict", lambda spec: SimpleNamespace(to_dict=lambda: spec))
    for figure in [each for each in section.figures if not names or each.key.removeprefix("depth-") in names]:
        chart = rdstudy.figure(results, figure.key.removeprefix("depth-"))
        spec = chart.to_dict()
        assert (spec.pop("title")["text"], spec.pop("description")) == (figure.title, figure.note)
        drawn = dict(figure.spec.vega_lite)
        assert drawn.pop("config").items() <= {**spec.pop("config"), "view": {"stroke": "#E3E6EA"}}.items()
        assert spec == drawn


def test_a_notebook_shows_a_chart(results):
    bundle = rdstudy.figure(results, "learning")._repr_mimebundle_()
    assert "Learning curves" in str(bundle)
    assert "vega-lite" in str(bundle)


def test_a_table_is_tidy_and_holds_what_is_drawn(results):
    table = rdstudy.figure_table(str(results), "active-units", study="simulated", experiment="depth")
    assert isinstance(table, pd.DataFrame)
    assert set(table["value"]) == {7.0}
    assert len(table) == 2 * 2 * 5  # cells, subsets, β


@pytest.mark.parametrize(
    ("name", "chosen", "message"),
    [
        (
            "distortions",
            {},
            f"figure is 'distortions' .did you mean distortion.*; allowed: {', '.join(rdstudy.study.FIGURES)}",
        ),
        ("learning", {"study": "thesis"}, "study 'thesis' is not in .*simulated"),
        (
            "learning",
            {"experiment": "width"},
            r"study 'simulated': experiment is 'width' \(did you mean depth\?\); allowed: depth",
        ),
        (
            "exact",
            {},
            "figure 'exact' has nothing to show of experiment 'depth'; it needs the measure closed_form, .*",
        ),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(results, name, chosen, message):
    for ask in (rdstudy.figure, rdstudy.figure_table):
        with pytest.raises(ValueError, match=f"^{message}") as refused:
            ask(results, name, **chosen)
        assert "\n" not in str(refused.value)


def test_a_folder_that_is_no_results_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is no results folder"):
        rdstudy.figure(tmp_path / "nowhere", "learning")


def test_before_a_model_is_trained_there_is_nothing_to_show(simulate):
    results = simulate.store(NOTHING).uri
    for name in rdstudy.study.FIGURES:
        with pytest.raises(ValueError, match=f"^figure '{name}' has nothing to show"):
            rdstudy.figure(results, name)


def test_of_several_experiments_one_is_chosen(tmp_path):
    store = Simulation(depths=[1], betas=[0.1, 1.0], seeds=1).write(tmp_path / "results")
    declared = store.declarations.read("simulated")
    (experiment,) = declared.experiments
    second = dataclasses.replace(experiment, name="again")
    store.declarations.declare(dataclasses.replace(declared, experiments=(experiment, second)))
    with pytest.raises(ValueError, match="has 2 experiments, and none was chosen; allowed: depth, again"):
        rdstudy.figure(tmp_path / "results", "distortion")
    again = rdstudy.figure_table(tmp_path / "results", "distortion", experiment="again")
    pd.testing.assert_frame_equal(again, rdstudy.figure_table(tmp_path / "results", "distortion", experiment="depth"))
