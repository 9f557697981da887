"""The order of a page, its headings, links and numbers, and what it says of data, splits, charts and sources."""

import dataclasses
import html.parser
import itertools
import re

import pytest

from rdstudy.report import alt_text, citation, coverage, data_words, tables
from rdstudy.report.contents import page_of
from rdstudy.report.figures import distortion
from rdstudy.report.page import render
from rdstudy.study import FIGURES
from tests.report.conftest import (
    COMMAND,
    HALF,
    HOSTILE_TEXTS,
    MEASURED,
    NOTHING,
    THREE_SIZES,
    WHOLE,
    Simulation,
    tables_of,
)

VOID = {"meta", "img", "br", "input", "link", "hr"}


class Outline(html.parser.HTMLParser):
    """Headings, ids, links, tables and landmarks in the order of the page."""

    def __init__(self):
        super().__init__()
        self.headings, self.ids, self.links, self.tables, self.meta = [], [], [], [], {}
        self.landmarks, self.heading, self.labels = [], None, []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if re.fullmatch("h[1-6]", tag):
            self.heading = [int(tag[1]), "", False]
            self.headings.append(self.heading)
        if tag == "a":
            self.links.append(attributes["href"])
            if self.heading and attributes.get("class") == "anchor":
                self.heading[2] = attributes["href"]
                assert attributes["aria-label"].startswith("Link to ")
        if tag == "table":
            self.tables.append("")
        if tag == "caption":
            self.tables[-1] = "caption"
        if tag == "th":
            assert attributes.get("scope") in ("col", "row")
        if tag == "meta" and "name" in attributes:
            self.meta[attributes["name"]] = attributes["content"]
        if tag in ("main", "nav", "header", "footer"):
            self.landmarks.append(tag)
        if attributes.get("role") == "img":
            self.labels.append(attributes["aria-label"])

    def handle_endtag(self, tag):
        if re.fullmatch("h[1-6]", tag):
            self.heading = None

    def handle_data(self, data):
        if self.heading:
            self.heading[1] += data


def outline(text):
    seen = Outline()
    seen.feed(text)
    return seen


SIMULATIONS = [
    WHOLE,
    THREE_SIZES,
    NOTHING,
    HALF,
    HOSTILE_TEXTS,
]


@pytest.fixture(scope="module", params=SIMULATIONS, ids=["whole", "measured", "nothing", "half done", "hostile"])
def seen(request, simulate):
    return outline(simulate.html(request.param))


def test_headings_descend_without_a_jump_and_ids_are_unique(seen):
    levels = [level for level, _, _ in seen.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert len(seen.ids) == len(set(seen.ids))


def test_every_link_leads_somewhere_and_headings_have_one(seen):
    inside = [link.removeprefix("#") for link in seen.links if link.startswith("#")]
    assert set(inside) <= set(seen.ids)
    assert all(link.startswith(("#", "https://")) for link in seen.links)
    assert all(anchor for level, _, anchor in seen.headings if level == 2)


def test_tables_have_captions_charts_have_words_and_a_reader_can_skip(seen):
    assert all(seen.tables)
    assert all(len(label) > 40 for label in seen.labels)
    assert seen.landmarks.count("main") == 1
    assert seen.links[0] == "#content"
    assert seen.meta["description"]
    assert seen.meta["color-scheme"]


def test_the_page_has_the_order_of_an_argument(simulate):
    headings = outline(simulate.html(MEASURED)).headings
    heads = [text.rstrip("#") for level, text, _ in headings if level == 2]
    expected = ["Data and splits", "Depth", "Methods", "Cost by experiment", "What is complete and what is not"]
    assert heads == [*expected, "Results", "Provenance"]
    below = [text.rstrip("#") for level, text, _ in headings if level == 3]
    assert below.index("The curves") < below.index("What lies behind the curves") < below.index("Distortion D")


def shown(html):
    """Keys of the figures of the experiment on a page."""
    keys = re.findall(r'<figure class="[a-z]+" id="figure-([^"]+)">', html)
    return [key.removeprefix("depth-") for key in keys if key != "splits"]


def test_an_experiment_shows_the_figures_that_it_asks_for(simulate):
    everything = shown(simulate.html(THREE_SIZES))
    assert {"sizes-distortion", "distortion", "learning", "rate-parts", "early-stopping", "copied"} <= set(everything)
    assert set(everything) <= set(FIGURES)
    asked = {("distortion", "early-stopping"): ["distortion", "early-stopping"]}
    asked[("sizes-distortion", "reconstructions")] = ["sizes-distortion"]
    for figures, expected in asked.items():
        assert shown(simulate.html(dataclasses.replace(THREE_SIZES, figures=figures))) == expected


def test_figures_are_numbered_in_the_order_in_which_they_are_read(simulate):
    page, text = simulate.page(MEASURED), simulate.html(MEASURED)
    assert [figure.number for figure in page.figures] == list(range(1, len(page.figures) + 1))
    places = [text.index(f"Figure {number}.</span>") for number in range(1, len(page.figures) + 1)]
    assert places == sorted(places)
    keys = [figure.key.removeprefix("depth-") for figure in page.experiments[0].curves]
    assert keys == ["distortion", "rate-distortion", "learning"]
    assert all(figure.is_behind for figure in page.experiments[0].behind)


def test_who_made_it_is_seen_at_the_top_and_how_to_cite_it_at_the_end(simulate):
    text = simulate.html(WHOLE)
    top, end = text[: text.index("<main")], text[text.index('id="citation"') :]
    assert citation.ADDRESS in top
    assert "Rate-Regularization and Generalization in VAEs" in top
    assert "@inproceedings{bozkurt2021rate" in end
    assert "code version 0.1.0+abc1234" in end
    assert COMMAND in end


def test_authors_are_named_where_the_study_names_them(simulate):
    assert 'name="author"' not in simulate.html(NOTHING)
    text = render(page_of(dataclasses.replace(simulate(NOTHING), authors="A. <b>Person</b>")))
    assert '<p class="authors">A. &lt;b&gt;Person&lt;/b&gt;</p>' in text
    assert "author = {A. &lt;b&gt;Person&lt;/b&gt;}" in text


def test_a_study_without_results_is_cited_without_year_and_version(simulate):
    own = simulate.page(NOTHING).provenance.citations[0]
    assert "year" not in own.bibtex
    assert "code version" not in own.words


def test_bibtex_of_a_hostile_title_keeps_its_braces_balanced():
    own = citation.study_citation(
        name="s", title="{a} & 5 % of \\x_1 ~ #", authors="Q. R", year=2026, command="", code_version=""
    )
    assert r"\{a\} \& 5 \% of \textbackslash{}x\_1 \textasciitilde{} \#" in own.bibtex
    unescaped = re.sub(r"\\[{}]", "", own.bibtex)
    assert unescaped.count("{") == unescaped.count("}")
    assert "author = {Q. R}" in own.bibtex


def test_only_the_splits_of_the_study_are_explained(simulate):
    assert [kind.form for kind in simulate.page(WHOLE).splits.kinds] == ["cv(N)"]
    planned = simulate(Simulation(splits=["checkerboard", "cd(1024)", "cv(81920)", "cv(512)"], seeds=1)).planned
    kinds = data_words.split_words(planned)
    assert [kind.form for kind in kinds] == ["cv(N)", "cd(N)", "checkerboard"]
    assert "N is 512 and 81,920" in kinds[0].words
    assert "cv(81,920), a random half, is the split called default" in kinds[0].words
    assert "every smaller one" in kinds[0].words


def test_one_size_is_not_compared_with_smaller_ones(simulate):
    (kind,) = simulate.page(WHOLE).splits.kinds
    assert "every smaller one" not in kind.words
    assert "default" not in kind.words


def test_a_data_set_of_ones_own_is_described_by_its_images(simulate):
    study = simulate(WHOLE)
    words = data_words.dataset_words("own-thing-1234", study.examples)
    assert (
        words == "Colour images of 13×17 pixels, a data set of the study's own. Generative factors: rotation and hue."
    )
    assert data_words.dataset_words("own-thing-1234", study.examples.iloc[:0]) == "A data set of the study's own."
    assert data_words.dataset_words("mnist", study.examples.iloc[:0]).startswith("70,000 grey images of 32×32 pixels")


def test_the_words_of_a_chart_say_axes_panels_ranges_and_where_d_is_lowest(simulate):
    figures = simulate.figures(WHOLE)
    words = figures["depth-distortion"].alt
    assert words.startswith("Distortion against β: distortion D, nats per image (vertical) against β (horizontal).")
    assert "2 panels: 1 layer; 3 layers." in words
    assert "5 values of β from 0.001 to 3." in words
    assert "Mean test D is lowest at β = 1 (1 layer: " in words
    assert "at β = 0.001, an end of the range (3 layers: " in words
    assert "lowest" not in figures["depth-learning"].alt
    assert "hollow" not in words


def test_doubt_is_said_in_the_words_of_a_chart_too(simulate):
    figures = simulate.figures(MEASURED)
    assert "8 of 20 points are hollow, as they are not to be believed." in figures["depth-log-marginal"].alt


def words_of_distortion(study):
    made = tables_of(study)
    table = distortion.table(made)
    return alt_text.alt_text(distortion.FIGURE, table, distortion.chart(made, table))


def test_one_beta_is_lowest_nowhere(simulate):
    words = words_of_distortion(simulate(Simulation(betas=[0.1])))
    assert "β is 0.1." in words
    assert "lowest" not in words


def test_long_lists_of_panels_are_cut(simulate):
    words = words_of_distortion(simulate(Simulation(depths=range(1, 9), seeds=1, betas=[0.1, 1.0])))
    assert "8 panels: 1 layer; 2 layers; 3 layers; 4 layers; 5 layers; 6 layers; and 2 more." in words
    assert "and 2 more curves." in words


def test_titles_of_axes_are_those_of_the_first_panel_that_has_them(simulate):
    spec = simulate.page(WHOLE).figures[0].spec
    assert alt_text.axis_titles(spec) == {"x": "factor 1", "y": "factor 2"}


def test_where_the_rows_lie_and_since_when_the_study_is_declared_are_said(simulate):
    facts = dict(simulate.page(WHOLE).provenance.facts)
    assert simulate.store(WHOLE).uri in facts["Rows"]
    assert "declared first 2026-01-01" in facts["Study"]


def test_long_tables_say_how_many_rows_they_have(simulate):
    study = simulate(Simulation(depths=[1, 2, 3], seeds=1))
    assert tables.results_table(tables_of(study)).caption.endswith(": 15 rows")
    completeness = coverage.completeness(study.experiments, study.members)
    assert "rows" not in tables.completeness_table(completeness).caption


def test_the_results_are_those_of_all_experiments(simulate):
    simulation = Simulation(depths=[1], betas=[0.1, 1.0], seeds=1, figures=("learning",))
    study = simulate(simulation)
    (whole,) = study.experiments
    parts = [dataclasses.replace(whole, name=member, member_ids=(member,)) for member in whole.member_ids]
    page = page_of(dataclasses.replace(study, experiments=tuple(parts)))
    assert page.results.rows == simulate.page(simulation).results.rows
