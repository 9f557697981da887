"""Findings on the page: first, complete, linked to their figures, and text whatever a study file says."""

import dataclasses
import html
import re
from typing import Any

import pytest

from rdstudy.claims import Claim, best_near, exceeds, interior_minimum, monotone
from rdstudy.findings.evidence import Effect
from rdstudy.findings.judge import Behind, Finding
from rdstudy.report.build import build_report
from rdstudy.report.verdicts import _behind, _effect
from rdstudy.study import FIGURES, Experiment
from tests.report.conftest import Simulation, declaration

SHALLOW, DEEP = {"split": "cv(16384)", "depth": 1}, {"split": "cv(16384)", "depth": 3}
HOSTILE = "</script><b>&\"'{{ 7*7 }}"
CLAIMS = (
    Claim("minimum", "A minimum inside.", "Paper, 4.4", [interior_minimum(SHALLOW)], "depth-distortion"),
    Claim("falls", "It only falls.", "", [monotone(SHALLOW)], "depth-nothing-of-this-name"),
    Claim("far-off", "Of other models.", "", [interior_minimum({"depth": 7})], "elsewhere-distortion"),
    Claim("mistaken", "Of two cells.", "", [interior_minimum({"split": "cv(16384)"})]),
    Claim("open", "Twice as large.", "", [exceeds(DEEP, over=DEEP, value="distortion")]),
    Claim("doubted", "Best log p(x).", "", [best_near(SHALLOW, value="negative_log_marginal", beta=0.001)]),
)


@pytest.fixture
def page(tmp_path):
    """The page of a simulated study that claims these things."""

    def make(claims, figures=(), **settings):
        simulation = Simulation(measured=True, seeds=5, **settings)
        store = simulation.write(tmp_path / "results")
        declared = declaration(simulation.study())
        declared["experiments"][0]["figures"] = list(figures)
        store.declare(simulation.name, {**declared, "claims": [claim.to_dict() for claim in claims]})
        return build_report(str(tmp_path / "results"), out=str(tmp_path / "page.html")).read_text("utf-8")

    return make


def entry(text, name):
    (found,) = re.findall(rf'<li id="finding-{name}">.*?</li>', text, re.DOTALL)
    return html.unescape(found)


def test_findings_open_the_page_and_say_all_there_is(page):
    text = page(CLAIMS)
    assert 0 < text.index('<section id="findings">') < text.index('<section id="experiment-depth">')
    verdicts = re.findall(r'<b class="verdict ([a-z-]+)">', text)
    expected = ["supported", "contradicted", "not-enough-runs", "not-enough-runs", "undecided", "undecided"]
    assert verdicts == expected
    summary = html.unescape(re.findall(r'id="findings">.*?<p class="soft">(.*?)</p>', text, re.DOTALL)[0])
    assert summary.startswith("1 supported, 1 contradicted, 2 undecided, 2 not enough runs. ")
    assert "at most 2.5 % of studies" in summary
    assert "of all 6 some verdict is wrong in at most 15 %" in summary
    first = entry(text, "minimum")
    numbers = r"rise from β = 1 to 3: \d+\.\d+ nats \(\d+\.\d+ to \d+\.\d+\); the claim needs more than \d+\.\d+"
    assert re.search(numbers, first), first
    assert "1 data set, 25 models, 4 seeds in the interval, 16,384 test images. Paper, 4.4." in first
    assert re.search(r"; this study would have seen \d+\.\d+ nats\.", first), first
    assert "needs less than" in entry(text, "falls")
    assert "0 complete seeds where 3 are needed" in entry(text, "far-off")
    assert "2 cells, which differ in depth" in entry(text, "mistaken")
    assert "depth 1 is not to be believed at β = 0.001, " in entry(text, "doubted")
    assert "the choice of images too" in summary


def test_a_verdict_on_networks_that_still_learn_says_so(page):
    text = page(CLAIMS)  # train D of the simulated curves falls to the end
    both = entry(text, "open")
    assert re.search(r'<b class="verdict undecided">undecided · networks still learning</b> Twice', both)
    assert re.search(r"Undecided on networks still learning: 3 layers, train D fell by \d+\.\d ± [\d.]+ nats", both)
    assert "networks still learning" not in entry(text, "far-off")


def test_every_link_of_the_page_leads_somewhere(page):
    text = page(CLAIMS)
    anchors, ids = set(re.findall(r'href="#([^"]+)"', text)), set(re.findall(r'\bid="([^"]+)"', text))
    assert {"findings", "figure-depth-distortion", "experiment-depth"} <= anchors <= ids
    assert "href" not in entry(text, "far-off")


def test_a_study_without_claims_has_no_findings(page):
    text = page(())
    assert 'id="findings"' not in text
    assert 'href="#findings"' not in text


def test_a_study_with_nothing_done_has_findings_without_verdicts(page):
    text = page(CLAIMS, outcomes=[None] * 60)
    assert set(re.findall(r'<b class="verdict ([a-z-]+)">', text)) == {"not-enough-runs"}


def test_hostile_text_stays_text(page):
    claim = Claim("minimum", HOSTILE, HOSTILE, [interior_minimum({"split": HOSTILE})], "depth-distortion")
    text = page([claim])
    assert "<b>" not in text
    assert "{{ 7*7 }}" in text


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((3.14159, 3.1, 3.2, 0.5), "rise: 3.142 nats (3.100 to 3.200); the claim needs more than 0.500"),
        ((-0.2, -20.0, 20.0, 0.0), "rise: 0 nats (−20 to 20); the claim needs more than 0"),
        ((-1234.5, -1300.0, -1169.0, 1.0), "rise: −1,234 nats (−1,300 to −1,169); the claim needs more than 1"),
        ((0.25, 0.25, 0.25, 0.0), "rise: 0.2500 nats (0.2500 to 0.2500); the claim needs more than 0.0000"),
    ],
)
def test_a_number_has_the_digits_that_its_interval_allows(numbers, shown):
    mean, low, high, threshold = numbers
    effect = Effect(mean, low, high, threshold, above=True, label="rise", unit="nats", seeds=5)
    assert _effect(effect) == shown
    digits = len(shown.rpartition(".")[2]) if "." in shown else 0
    seen = f"{shown}; this study would have seen {7:.{digits}f} nats"
    assert _effect(dataclasses.replace(effect, seen=7.0)) == seen


@pytest.mark.parametrize(
    ("behind", "shown"),
    [
        (Behind(2, 120, {("", "test"): 4000}), "2 data sets, 120 models, 5 seeds in the interval, 4,000 test images"),
        (
            Behind(1, 1, {("", "test"): 536, ("", "train"): 97, ("log p(x)", "test"): 200}),
            "1 data set, 1 model, 5 seeds and 200 images in the interval, 536 test and 97 train images, log p(x) on "
            "200 test images",
        ),
        (Behind(), "0 models, 5 seeds in the interval"),
    ],
)
def test_what_stands_behind_a_finding_is_said(behind, shown):
    images = 200 if ("log p(x)", "test") in behind.images else 0
    effect = Effect(1.0, 0.5, 1.5, 0.0, above=True, label="rise", unit="nats", seeds=5, images=images)
    assert _behind(Finding(CLAIMS[0], "supported", effect, behind)) == shown


def shown(page, figures):
    """Keys of the figures of a page whose experiment asks for these, and whether it has reconstructions."""
    text = page((), splits=SPLITS, depths=[1], betas=[0.1, 1.0], figures=figures)
    return [key.removeprefix("depth-") for key in re.findall(r'<figure id="figure-([^"]+)">', text)][:-1]


SPLITS = ("cv(8192)", "cv(16384)", "cv(32768)")


def test_an_experiment_shows_the_figures_that_it_asks_for(page):
    everything = shown(page, ())
    assert {"sizes-distortion", "distortion", "learning", "rate-parts", "early-stopping", "copied"} <= set(everything)
    assert set(everything) <= set(FIGURES)
    assert shown(page, ("distortion", "early-stopping")) == ["distortion", "early-stopping"]
    assert shown(page, ("sizes-distortion", "reconstructions")) == ["sizes-distortion"]


@pytest.mark.parametrize("figures", [("distortions",), "distortion", (5,), 5])
def test_a_figure_that_there_is_not_is_refused(figures):
    grid: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(97)"], "beta": [1], "seed": [0]}
    with pytest.raises(ValueError, match=r"^experiment 'e': figures? is .*; allowed: .*sizes-rate-distortion"):
        Experiment("e", grid, figures=figures)
