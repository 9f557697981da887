"""Methods: a paragraph for each measure that a study has, and for no other, with numbers from the rows."""

import html.parser
import re

import pytest

from rdstudy.report.methods import methods_of
from tests.report.conftest import MEASURED, Simulation

ALWAYS = {"distortion", "rate", "elbo", "floor", "gap"}


def by_key(study):
    return {method.key: method for method in methods_of(study)}


def test_a_study_without_measures_explains_none(simulate):
    assert set(by_key(simulate(Simulation()))) == ALWAYS | {"intervals", "still-learning"}


def test_measures_that_are_stored_are_explained_with_their_numbers(simulate):
    methods = by_key(simulate(Simulation(measured=True)))
    expected = {"rate-parts", "total-correlation", "cross-rate", "active-units", "log-marginal", "inference-gap"}
    assert set(methods) == ALWAYS | expected | {
        "intervals",
        "still-learning",
        "early-stopping",
        "copied",
        "optimal-decoder",
    }
    assert "147,456 test and 16,384 train images" in methods["rate-parts"].estimate
    assert "1,000 codes" in methods["rate-parts"].estimate
    assert "997 draws" in methods["log-marginal"].estimate
    assert "199 test and 199 train images" in methods["log-marginal"].estimate
    assert "2,000 test and 2,000 train images" in methods["distortion"].estimate


def test_one_seed_has_no_intervals(simulate):
    assert "intervals" not in by_key(simulate(Simulation(seeds=1)))


def test_nothing_trained_is_nothing_to_explain(simulate):
    assert methods_of(simulate(Simulation(outcomes=["failed"] * 30))) == ()


def test_the_floor_of_gaussian_pixels_is_no_entropy(simulate):
    gaussian = by_key(simulate(Simulation(levels={"likelihood": ["gaussian(sigma=0.2)"]})))
    assert "entropy" not in gaussian["floor"].estimate
    assert "may be negative" in gaussian["distortion"].estimate


def test_a_removed_term_is_explained(simulate):
    study = simulate(Simulation(levels={"objective": ["beta", "no_marginal_kl"]}))
    assert "no_marginal_kl leaves" in by_key(study)["elbo"].estimate


class Balanced(html.parser.HTMLParser):
    """Holds that every element of a formula is closed, in order."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):  # noqa: ARG002  the parser names it
        assert tag in ("sub", "sup", "br")
        self.open += [tag] if tag != "br" else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_formulas_are_whole_html_and_stand_on_the_page_as_such(simulate):
    page, text = simulate.page(MEASURED), simulate.html(MEASURED)
    for method in page.methods:
        parser = Balanced()
        parser.feed(str(method.formula))
        assert not parser.open
        assert str(method.formula) in text
        assert f'id="method-{method.key}"' in text


@pytest.mark.parametrize("measured", [False, True])
def test_every_method_that_is_not_ours_alone_has_a_year_or_a_section(simulate, measured):
    for method in methods_of(simulate(Simulation(measured=measured))):
        assert not method.source or re.search(r"[12][09]\d\d|Paper, \d", method.source)
        assert method.words.endswith(".")
