"""The page and the command: what they write, what they refuse, and that a browser shows all of it offline."""

import html
import html.parser
import re
import shutil
import subprocess
import sys

import pytest

from rdstudy.report.__main__ import main
from rdstudy.report.build import build_report, write_figures
from tests.report.conftest import COMMAND, Simulation

HOSTILE = "</script><b>&\"'{{ 7*7 }}"
WHOLE = Simulation()
CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


@pytest.fixture
def results(tmp_path):
    """Write a simulated store; returns its path."""

    def make(simulation=WHOLE):
        simulation.write(tmp_path / "results")
        return str(tmp_path / "results")

    return make


class Sources(html.parser.HTMLParser):
    """Collects what the elements of a page refer to; what stands in scripts is no element."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002  the parser names it
        self.found += [value for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


def test_the_page_is_where_it_was_asked_for_and_its_default(results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = results()
    path = build_report(store, out=str(tmp_path / "new folder" / "page.html"))
    assert path.read_text("utf-8").startswith("<!doctype html>")
    assert build_report(store).as_posix() == "reports/simulated.html"
    assert [file.name for file in path.parent.iterdir()] == ["page.html"]  # no temporary file stays


def test_a_page_is_small_and_loads_nothing(results, tmp_path):
    text = build_report(results(), out=str(tmp_path / "page.html")).read_text("utf-8")
    assert len(text) < 2_000_000
    assert text.count("window.vegaEmbed=") == 1
    sources = Sources()
    sources.feed(text)
    assert len(sources.found) > 11
    assert all(source.startswith(("data:image/png;base64,", "#")) for source in sources.found)
    assert "default-src 'none'" in text


def test_a_half_done_study_says_what_is_missing_and_how_to_complete_it(results, tmp_path):
    outcomes = ["ok"] * 11 + ["failed", "nonfinite"] + [None] * 17
    store = results(Simulation(outcomes=outcomes, damaged=True, versions=["a", "b"]))
    text = html.unescape(build_report(store, out=str(tmp_path / "page.html")).read_text("utf-8"))
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


def test_a_complete_study_has_no_warnings(results, tmp_path):
    text = build_report(results(), out=str(tmp_path / "page.html")).read_text("utf-8")
    assert "Read this first" not in text
    assert "30 of 30 models trained" in text


def test_members_of_other_studies_are_left_out(results, tmp_path):
    results(Simulation(name="other", depths=[5], seeds=7))
    store = results()
    text = build_report(store, study="simulated", out=str(tmp_path / "page.html")).read_text("utf-8")
    assert "5 layers" not in text


def test_a_study_with_nothing_done_has_a_page(results, tmp_path):
    store = results(Simulation(outcomes=[None] * 30))
    text = build_report(store, out=str(tmp_path / "page.html")).read_text("utf-8")
    assert "0 of 30 models trained" in text
    assert "No model of this experiment has been trained yet" in text


def test_hostile_text_stays_text(results, tmp_path):
    store = results(Simulation(hostile=HOSTILE, outcomes=["failed"]))
    text = build_report(store, out=str(tmp_path / "page.html")).read_text("utf-8")
    assert "<b>" not in text
    assert html.escape(HOSTILE, quote=False)[:10] in text
    assert "{{ 7*7 }}" in text


@pytest.mark.parametrize(("format", "start"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures_are_files_of_their_own(results, tmp_path, format, start):
    paths = write_figures(
        results(Simulation(seeds=1, betas=[0.1, 1.0])), study=None, folder=str(tmp_path / "f"), format=format
    )
    names = {
        f"simulated-depth-distortion.{format}",
        f"simulated-depth-rate-distortion.{format}",
        f"simulated-depth-learning.{format}",
        f"simulated-splits.{format}",
    }
    assert {path.name for path in paths} == names
    assert all(path.read_bytes().startswith(start) for path in paths)


def test_several_studies_need_a_choice(results, tmp_path):
    results(Simulation(name="other"))
    with pytest.raises(ValueError, match="allowed: other, simulated"):
        build_report(results(), out=str(tmp_path / "page.html"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "is no results folder"),
        (["{store}", "--study", "thesis"], "study 'thesis' is not in"),
        (["{store}", "--format", "svg"], "--format is for --figures"),
        (["{store}", "--figures", "f", "--format", "bmp"], "invalid choice: 'bmp'"),
        (["{store}", "--out", "{store}/store.json/page.html"], "cannot be written"),
        ([], "the following arguments are required: RESULTS"),
    ],
)
def test_bad_input_is_one_line_and_status_2(results, capsys, arguments, message):
    store = results()
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
    assert main([results(), "--out", out]) == 0
    assert capsys.readouterr().out == f"{out}\n"


def test_a_report_imports_neither_torch_nor_ray():
    code = "import sys, rdstudy.report.build; sys.exit(any(m.split('.')[0] in ('torch', 'ray') for m in sys.modules))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_help_imports_no_charts():
    code = (
        "import sys, rdstudy.report.__main__; sys.exit(any(m in sys.modules for m in ('altair', 'pandas', 'pyarrow')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def dom(path, profile):
    """The page as headless Chromium sees it after its scripts have run."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", *QUIET, f"--user-data-dir={profile}"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom", path.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
@pytest.mark.parametrize(
    "simulation",
    [
        Simulation(),
        Simulation(outcomes=[None] * 30),
        Simulation(outcomes=["ok"] * 11 + ["failed"] * 5, betas=[0.0, 0.1, 1.0]),
        Simulation(hostile=HOSTILE, outcomes=["failed"]),
    ],
    ids=["whole", "nothing done", "failed", "hostile"],
)
def test_a_browser_draws_every_chart_offline(results, tmp_path, simulation):
    path = build_report(results(simulation), out=str(tmp_path / "page.html"))
    seen = dom(path, tmp_path / "profile")
    assert re.findall(r"<html[^>]*>", seen)[0] == '<html lang="en" data-charts="ready">'
    charts = path.read_text("utf-8").count('class="chart"')
    assert len(re.findall(r"<svg[^>]*class=\"marks\"", seen)) == charts >= 1
    assert "<b>" not in seen
