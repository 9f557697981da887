"""The page and the command: what they write and what they refuse."""

import dataclasses
import html
import html.parser
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import rdstudy
from rdstudy.report.__main__ import main
from rdstudy.report.build import FigureFiles, Source, read_report, write_figures, write_report
from rdstudy.report.contents import page_of
from rdstudy.report.figure_files import figures_of
from rdstudy.report.page import render
from rdstudy.report.read import read_study
from rdstudy.results.store import Store
from tests.report.conftest import (
    COMMAND,
    HALF,
    HOSTILE,
    HOSTILE_TEXTS,
    NOTHING,
    THREE_SIZES,
    WHOLE,
    Simulation,
)

SMALL = Simulation(depths=[1], betas=[0.1, 1.0], seeds=1)


@pytest.fixture
def results(simulate):
    """The path of a simulated store, which is not written to."""

    def make(simulation):
        return simulate.store(simulation).uri

    return make


class Sources(html.parser.HTMLParser):
    """Collects what the elements of a page refer to; what stands in scripts is no element."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        names = ("src", "href", "srcset", "data", "action")
        loaded = [value for name, value in attrs if name in names]
        self.found += [value for value in loaded if tag != "a" or value.startswith("#")]  # a link loads nothing


def test_the_page_is_where_it_was_asked_for_and_its_default(simulate, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    store = results(NOTHING)
    path = write_report(read_report(Source(store)), out=str(tmp_path / "new folder" / "page.html"))
    text = path.read_text("utf-8")
    assert text.startswith("<!doctype html>")
    assert text == render(page_of(simulate(NOTHING)))
    assert write_report(read_report(Source(store))).as_posix() == "reports/simulated.html"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]  # no temporary file stays


def test_a_page_is_small_and_loads_nothing(simulate):
    text = simulate.html(WHOLE)
    assert len(text) < 2_000_000
    assert text.count("Object.assign(window,{vega:") == 1
    sources = Sources()
    sources.feed(text)
    assert len(sources.found) > 11
    assert all(
        source.startswith(("data:image/png;base64,", "data:image/svg+xml;base64,", "#")) for source in sources.found
    )
    assert "default-src 'none'" in text


def test_a_half_done_study_says_what_is_missing_and_how_to_complete_it(simulate):
    text = html.unescape(simulate.html(HALF))
    for phrase in (
        "11 of 30 models trained: 2 depths × 5 β × 3 seeds",
        "17 models of 30 not trained yet. To train them:",
        COMMAND,
        "1 model failed",
        "1 model stopped at a value that is not finite",
        "more than one code version",
        "A file cannot be read",
    ):
        assert phrase in text


def test_a_complete_study_has_no_warnings(simulate):
    text = simulate.html(WHOLE)
    assert "Read this first" not in text
    assert "30 of 30 models trained" in text


def test_members_of_other_studies_are_left_out(tmp_path):
    small = Simulation(seeds=1, measured=True, figures=["distortion"])
    for simulation in (small, dataclasses.replace(small, name="other", depths=[5])):
        simulation.write(tmp_path / "results")
    study = read_study(Store.open(str(tmp_path / "results")), "simulated")
    assert set(study.planned["depth"]) == {1, 3}
    for table in (study.members, study.measures, study.trajectories):
        assert set(table["member_id"]) == set(study.planned["member_id"])
    assert "5 layers" not in render(page_of(study))


def test_a_study_with_nothing_done_has_a_page(simulate):
    text = simulate.html(NOTHING)
    assert "0 of 30 models trained" in text
    assert "No model of this experiment has been trained yet" in text


def test_hostile_text_stays_text(simulate):
    text = simulate.html(HOSTILE_TEXTS)
    assert "<b>" not in text
    assert html.escape(HOSTILE, quote=False)[:10] in text
    assert "{{ 7*7 }}" in text


@pytest.mark.parametrize(("format", "start"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("json", b"{")])
def test_figures_are_files_of_their_own(results, tmp_path, format, start):
    whole = ("depth-distortion", "depth-rate-distortion", "depth-learning", "splits")
    asked = () if format == "json" else ("depth-learning", "splits")  # pictures take longer to draw
    files = FigureFiles(str(tmp_path / "f"), format, asked)
    paths = list(write_figures(read_report(Source(results(SMALL))), files))
    assert [path.name for path in paths] == [f"simulated-{name}.{format}" for name in asked or whole]
    assert all(path.read_bytes().startswith(start) for path in paths)


def test_the_figures_that_are_written_are_those_of_the_page(simulate):
    drawn = {each.figure.key: each for each in figures_of(simulate(THREE_SIZES))}
    page = simulate.figures(THREE_SIZES)
    assert drawn.keys() == page.keys()
    for key, each in drawn.items():
        assert (each.figure.note, each.figure.spec.vega_lite) == (page[key].note, page[key].spec.vega_lite)
        assert len(each.table)


def test_a_figure_that_the_page_leaves_out_can_be_had_by_name(simulate):
    alone = simulate(dataclasses.replace(SMALL, figures=("learning",)))
    assert [each.figure.key for each in figures_of(alone)] == ["depth-learning", "splits"]
    assert [each.figure.key for each in figures_of(alone, ["depth-distortion"])] == ["depth-distortion"]


def test_tables_are_those_of_load(results, tmp_path, capsys):
    store = results(Simulation(measured=True, outcomes=["failed", None]))
    assert main([store, "--tables", str(tmp_path / "t")]) == 0
    paths = [tmp_path / "t" / f"simulated-{name}.csv" for name in ("members", "measures", "trajectories")]
    declaration = tmp_path / "t" / "simulated-declaration.json"
    assert capsys.readouterr().out.split() == [str(path) for path in [*paths, declaration]]
    loaded = rdstudy.load(store, study="simulated")
    for path, frame in zip(paths, (loaded.members, loaded.measures, loaded.trajectories), strict=True):
        read = pd.read_csv(path, dtype={"member_id": str})
        assert list(read.columns) == list(frame.columns)
        assert len(read) == len(frame) > 28
        for name in ("member_id", "beta", "rate", "distortion", "images", "mutual_information"):
            if name in frame:
                pd.testing.assert_series_equal(read[name], frame[name], check_dtype=False, check_exact=True)
    images = pd.read_csv(paths[1])["image_elbo"].map(json.loads)
    assert images.map(len).eq(199).all()
    assert np.array_equal(np.array(images[0], np.float32), loaded.measures["image_elbo"][0])
    assert json.loads(declaration.read_text())["command"] == COMMAND
    assert "1000.0" not in paths[1].read_text()  # whole numbers stay whole


def test_the_same_tables_make_the_same_bytes_in_another_process(results, tmp_path, monkeypatch):
    store = results(Simulation(measured=True, depths=[1], betas=[0.1, 1.0], seeds=2, outcomes=["failed"]))
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    made = []
    for place in ("here", "there"):
        folder = tmp_path / place
        command = [store, "--out", f"{folder}/page.html", "--figures", f"{folder}/f", "--tables", f"{folder}/t"]
        command += ["--figure", "depth-distortion", "--figure", "splits", "--style", "ieee"]
        if place == "here":  # after whatever else was drawn, and with hashes of texts as they happen to be
            assert main(command) == 0
        else:
            environment = {**os.environ, "PYTHONHASHSEED": "7"}
            alone = [sys.executable, "-m", "rdstudy.report", *command]
            subprocess.run(alone, check=True, env=environment, stdout=subprocess.DEVNULL)
        made.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert len(made[0]) == 1 + 2 * 3 + 4
    assert made[0] == made[1]


def test_the_time_of_making_stands_once_on_a_page(results, tmp_path, monkeypatch):
    store, texts = results(NOTHING), []
    for epoch in ("86400", "172800"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
        texts.append(write_report(read_report(Source(store)), out=str(tmp_path / "page.html")).read_text())
    assert texts[0].count("1970-01-02 00:00 UTC") == 1
    assert texts[0].replace("1970-01-02", "1970-01-03") == texts[1]


@pytest.mark.parametrize("epoch", ["yesterday", "-1", "1.5", "9" * 30])
def test_a_time_that_is_none_is_refused(results, monkeypatch, epoch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    with pytest.raises(ValueError, match="allowed: seconds since 1970"):
        write_report(read_report(Source(results(NOTHING))))


def test_several_studies_need_a_choice(tmp_path):
    for name in ("other", "simulated"):
        Simulation(name=name, outcomes=[None] * 30).write(tmp_path / "results")
    with pytest.raises(ValueError, match="allowed: other, simulated"):
        read_report(Source(str(tmp_path / "results")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is no results folder"),
        (["{store}", "--study", "thesis"], "study 'thesis' is not in"),
        (["{store}", "--format", "svg"], "--format is for --figures"),
        (["{store}", "--figures", "f", "--format", "bmp"], "invalid choice: 'bmp'"),
        (["{store}", "--style", "icml"], "--style is for --figures"),
        (["{store}", "--figure", "splits"], "--figure is for --figures"),
        (["{store}", "--figures", "f", "--columns", "2"], "--columns is for --style"),
        (["{store}", "--figures", "f", "--style", "icml", "--columns", "3"], "invalid choice: 3"),
        (["{store}", "--figures", "f", "--style", "neurips", "--columns", "2"], "neurips has one column"),
        (["{store}", "--figures", "f", "--style", "nips"], "allowed: neurips, iclr, icml"),
        (["{store}", "--figures", "f", "--figure", "dept-distortion"], "the nearest is depth-distortion"),
        (["{store}", "--figures", "f", "--figure", "depth-log-marginal"], "it needs"),
        (["{store}", "{store}"], "both studies are 'simulated'"),
        (["{store}", "nowhere"], "is no results folder"),
        (["{store}", "--study", "one", "--study", "two"], "--study is given 2 times"),
        (["{store}", "--tables", "s3://bucket"], "--tables is an address"),
        (["{store}", "--tables", "{store}/store.json"], "cannot be written"),
        (["{store}", "--out", "{store}/store.json/page.html"], "cannot be written"),
        ([], "the following arguments are required: RESULTS"),
    ],
)
def test_bad_input_is_one_line_and_status_2(results, capsys, arguments, message):
    store = results(dataclasses.replace(SMALL, figures=["distortion"]))
    status: object
    try:
        status = main([argument.format(store=store) for argument in arguments])
    except SystemExit as leaving:
        status = leaving.code
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


def test_the_command_prints_the_path_of_the_page(results, tmp_path, capsys):
    out = str(tmp_path / "page.html")
    assert main([results(NOTHING), "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"


def test_a_report_imports_neither_torch_nor_ray():
    code = "import sys, rdstudy.report.build; sys.exit(any(m.split('.')[0] in ('torch', 'ray') for m in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_no_charts():
    code = (
        "import sys, rdstudy.report.__main__; sys.exit(any(m in sys.modules for m in ('altair', 'pandas', 'pyarrow')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
