"""Findings on the page: first, complete, linked to their figures, and text whatever a study file says."""

import dataclasses
import html
import re
from typing import Any

import pytest

from rdstudy.findings.evidence import Effect
from rdstudy.findings.judge import Behind, Finding
from rdstudy.report.contents import page_of
from rdstudy.report.page import render
from rdstudy.report.read import read_study
from rdstudy.report.verdicts import _behind, _numbers
from rdstudy.study import Experiment
from rdstudy.study.claims import Claim, best_near, exceeds, interior_minimum, monotone
from tests.report.conftest import DECLARED, HOSTILE, Simulation, declaration

SHALLOW, DEEP = {"split": "cv(16384)", "depth": 1}, {"split": "cv(16384)", "depth": 3}
CLAIMS = (
    Claim("minimum", "A minimum inside.", "Paper, 4.4", [interior_minimum(SHALLOW)], "depth-distortion"),
    Claim("falls", "It only falls.", "", [monotone(SHALLOW)], "depth-nothing-of-this-name"),
    Claim("far-off", "Of other models.", "", [interior_minimum({"depth": 7})], "elsewhere-distortion"),
    Claim("mistaken", "Of two cells.", "", [interior_minimum({"split": "cv(16384)"})]),
    Claim("open", "Twice as large.", "", [exceeds(DEEP, over=DEEP, value="distortion")]),
    Claim("doubted", "Best log p(x).", "", [best_near(SHALLOW, value="negative_log_marginal", beta=0.001)]),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A simulated study that claims these things and shows these figures."""

    def make(claims, figures=("distortion",), **settings):
        simulation = Simulation(**{"measured": True, "seeds": 5, "figures": figures, **settings})
        store = simulation.write(tmp_path_factory.mktemp("study"))
        declared = dataclasses.replace(declaration(simulation.study()), claims=tuple(claims))
        store.declarations.declare(declared, at=DECLARED)
        return read_study(store, simulation.name)

    return make


@pytest.fixture(scope="module")
def text(study):
    """The page of `CLAIMS`."""
    return render(page_of(study(CLAIMS)))


def entry(text, name):
    (item,) = re.findall(rf'<li id="finding-{name}" .*?(?=<li id="finding-|</section>)', text, re.DOTALL)
    return html.unescape(item)


def claims_of(text):
    return text[text.index('<section id="findings">') :].partition("</section>")[0]


def test_findings_open_the_page_and_say_all_there_is(text):
    assert 0 < text.index('<section id="findings">') < text.index('<section id="experiment-depth"')
    verdicts = re.findall(r'<b class="verdict ([a-z-]+)[^"]*">', claims_of(text))
    expected = ["supported", "contradicted", "not-enough-models", "not-enough-models", "undecided", "undecided"]
    assert verdicts == expected
    counts = html.unescape(re.findall(r'<p class="counts">(.*?)</p>', text)[0])
    learned = "on networks that were still learning"
    assert counts == (
        f"1 supported, {learned}; 1 contradicted, {learned}; 2 undecided, all {learned}; 2 not enough models."
    )
    summary = html.unescape(re.findall(r'id="findings">.*?<p class="soft">(.*?)</p>', text, re.DOTALL)[0])
    assert "at most 2.5 % of studies" in summary
    assert "of all 6 some verdict is wrong in at most 15 %" in summary
    first = entry(text, "minimum")
    d = r"\d+\.\d+"
    assert re.search(rf"rise from β = 1 to 3: <b>{d} nats</b>, interval {d} to {d}, needs more than {d}</p>", first), (
        first
    )
    assert "1 data set, 25 models, 16,384 test images (1 layer). Paper, 4.4." in first
    assert re.search(
        rf"4 seeds in the interval; seed 0 chose β = 1 and is not in the interval; this study .* {d}", first
    )
    assert "needs less than" in entry(text, "falls")
    assert "0 complete seeds where 3 are needed" in entry(text, "far-off")
    assert "2 cells, which differ in depth" in entry(text, "mistaken")
    assert "depth 1 is not to be believed at β = 0.001, " in entry(text, "doubted")
    assert "the choice of images too" in summary


def test_a_verdict_on_networks_that_still_learn_says_so(text):  # train D of the simulated curves falls to the end
    both = entry(text, "open")
    assert re.search(r'<b class="verdict undecided limited">undecided · networks still learning</b> Twice', both)
    assert re.search(r"On networks still learning: 3 layers, train D fell by \d+\.\d ± [\d.]+ nats", both)
    assert "networks still learning" not in entry(text, "far-off")


def test_every_link_of_the_page_leads_somewhere(text):
    anchors, ids = set(re.findall(r'href="#([^"]+)"', text)), set(re.findall(r'\bid="([^"]+)"', text))
    assert {"findings", "figure-depth-distortion", "experiment-depth"} <= anchors <= ids
    assert "href" not in entry(text, "far-off")


def test_a_study_without_claims_has_no_findings(study):
    text = render(page_of(study((), seeds=1)))
    assert 'id="findings"' not in text
    assert 'href="#findings"' not in text


def test_a_study_with_nothing_done_has_findings_without_verdicts(study):
    text = render(page_of(study(CLAIMS, outcomes=[None] * 60)))
    assert set(re.findall(r'<b class="verdict ([a-z-]+)[^"]*">', text)) == {"not-enough-models"}


def test_hostile_text_stays_text(study):
    claim = Claim("minimum", HOSTILE, HOSTILE, [interior_minimum({"split": HOSTILE})], "depth-distortion")
    text = render(page_of(study([claim], seeds=1)))
    assert "<b>" not in text
    assert "{{ 7*7 }}" in text


@pytest.mark.parametrize(
    ("numbers", "shown"),
    [
        ((3.14159, 3.1, 3.2, 0.5), ("3.142 nats", "3.100 to 3.200", "more than 0.500")),
        ((-0.2, -20.0, 20.0, 0.0), ("0 nats", "−20 to 20", "more than 0")),
        ((-1234.5, -1300.0, -1169.0, 1.0), ("−1,234 nats", "−1,300 to −1,169", "more than 1")),
        ((0.25, 0.25, 0.25, 0.0), ("0.2500 nats", "0.2500 to 0.2500", "more than 0.0000")),
    ],
)
def test_a_number_has_the_digits_that_its_interval_allows(numbers, shown):
    mean, low, high, threshold = numbers
    effect = Effect(mean, low, high, threshold, above=True, label="rise", unit="nats", seeds=5, images=200)
    words = _numbers(effect)
    assert (words["number"], words["interval"], words["needs"]) == shown
    assert (words["label"], words["seen"]) == ("rise", "")
    assert words["seeds"] == "5 seeds and 200 images in the interval"
    digits = len(shown[0].split()[0].rpartition(".")[2]) if "." in shown[0] else 0
    seen = _numbers(dataclasses.replace(effect, seen=7.0, above=False, chosen="seed 3 chose β = 1"))
    assert seen["seen"] == f"{7:.{digits}f} nats"
    assert seen["needs"].startswith("less than")
    assert seen["seeds"].endswith("in the interval; seed 3 chose β = 1")


@pytest.mark.parametrize(
    ("behind", "shown"),
    [
        (Behind(2, 120, {("", "test"): 4000}), "2 data sets, 120 models, 4,000 test images"),
        (
            Behind(1, 1, {("", "test"): 536, ("", "train"): 97, ("log p(x)", "test"): 200}),
            "1 data set, 1 model, 536 test and 97 train images, log p(x) on 200 test images",
        ),
        (Behind(), "0 models"),
    ],
)
def test_what_stands_behind_a_finding_is_said(behind, shown):
    assert _behind(Finding(CLAIMS[0], "supported", (), behind)) == shown
    assert _behind(Finding(CLAIMS[0], "supported", (), behind, "3 layers")) == f"{shown} (3 layers)"


@pytest.mark.parametrize("figures", [("distortions",), "distortion", (5,), 5])
def test_a_figure_that_there_is_not_is_refused(figures):
    grid: dict[str, Any] = {"dataset": ["tetrominoes"], "split": ["cv(97)"], "beta": [1], "seed": [0]}
    with pytest.raises(ValueError, match=r"^experiment 'e': figures? is .*; allowed: .*sizes-rate-distortion"):
        Experiment("e", grid, figures=figures)


def test_logs_of_two_likelihoods_are_judged_as_not_comparable(study):
    arms = [{"likelihood": name, "depth": 1} for name in ("bernoulli", "gaussian(sigma=optimal)")]
    claims = [
        Claim(value.replace("_", "-"), "One exceeds the other.", "", [exceeds(arms[0], over=arms[1], value=value)])
        for value in ("negative_elbo", "elbo_gap", "rate")
    ]
    levels = {"likelihood": [arm["likelihood"] for arm in arms]}
    text = render(page_of(study(claims, depths=[1], betas=[0.1, 1.0], levels=levels)))
    for name in ("negative-elbo", "elbo-gap"):
        assert "undecided" in entry(text, name)
        assert "Not comparable: " in entry(text, name)
        assert "under the likelihoods bernoulli, gaussian(sigma=optimal)" in entry(text, name)
    assert "comparable" not in entry(text, "rate")
