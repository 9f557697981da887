"""Verdicts wherever they stand: counts, badges, links to charts and back, and which of them is shown how."""

import dataclasses
import re

import pytest

from rdstudy.findings.judge import Behind, ContrastFinding, Finding, Learning
from rdstudy.report.contents import page_of
from rdstudy.report.drawn import Charts
from rdstudy.report.page import _web, render
from rdstudy.report.read import StudyTables
from rdstudy.report.verdicts import _counts, _repeated, findings_of, links_of, with_verdicts
from rdstudy.study.claims import Claim, at_least, exceeds, interior_minimum, lower_everywhere, mean_above, monotone
from tests.report.conftest import Simulation

SHALLOW, DEEP = {"depth": 1}, {"depth": 3}
MINIMUM = interior_minimum(SHALLOW)
CLAIMS = (
    Claim("minimum", "A minimum.", "Paper", [MINIMUM, monotone(SHALLOW, subset="train")], "depth-distortion"),
    Claim("rate", "A lower rate.", "", [lower_everywhere(DEEP, than=SHALLOW, value="rate")], "depth-distortion"),
    Claim("some", "Some hold.", "", [at_least(1, [MINIMUM, interior_minimum(DEEP)])], "depth-distortion"),
    Claim(
        "many",
        "Many things.",
        "",
        [
            *(
                exceeds(SHALLOW, over=DEEP, value=value)
                for value in ("rate", "distortion", "elbo_gap", "negative_elbo")
            ),
            mean_above(DEEP, value="memorization_excess", subset="test", least=0.1),
        ],
    ),
    Claim("elsewhere", "Of other models.", "", [interior_minimum({"depth": 7})], "elsewhere-distortion"),
)


@pytest.fixture(scope="module")
def study(simulate):
    """A simulated study with these claims, and the figures that draw them."""
    figures = ("distortion", "rate-distortion", "gap-parts", "copied")
    return dataclasses.replace(simulate(Simulation(measured=True, seeds=5, figures=figures)), claims=CLAIMS)


@pytest.fixture(scope="module")
def page(study):
    return page_of(study)


@pytest.fixture(scope="module")
def text(page):
    return render(page)


def test_every_contrast_is_shown_with_its_number_and_one_is_marked(page):
    entries = {entry.name: entry for entry in page.findings.entries}
    assert [len(entries[claim.name].contrasts) for claim in CLAIMS] == [len(claim.contrasts) for claim in CLAIMS]
    assert all(len(entry.deciding) == 1 for entry in entries.values())
    first, second = entries["minimum"].contrasts
    assert first.clause.startswith("Test distortion has a minimum inside the range of β")
    assert second.clause.startswith("Train distortion falls as β gets smaller")
    for contrast in (first, second):
        assert re.fullmatch(r"−?\d+\.\d+ nats", contrast.number)
        assert re.fullmatch(r"−?\d+\.\d+ to −?\d+\.\d+", contrast.interval)
    assert (first.needs.split()[0], second.needs.split()[0]) == ("more", "less")
    (whole,) = entries["some"].contrasts
    assert (whole.clause, whole.number, len(whole.parts)) == ("At least 1 of these hold", "", 2)
    assert [part.decides for part in whole.parts] == [True, False]


def test_few_contrasts_are_open_and_many_folded_but_for_the_one_that_decides(study, text):
    items = dict(re.findall(r'<li id="finding-([a-z]+)".*?>(.*?)(?=<li id="finding-|</section>)', text, re.DOTALL))
    assert "<details open><summary>2 contrasts: " in items["minimum"]
    assert "<details><summary>All 5 contrasts: " in items["many"]
    outside = items["many"].partition("<details>")[0]
    assert outside.count('<li class="contrast') == 1
    assert ">decides<" in outside
    assert items["many"].count('<li class="contrast') == 1 + 5
    assert "details" not in items["rate"]
    assert len(study.claims) == len(items)


def test_a_contrast_links_to_the_chart_that_draws_its_value(page):
    links = {entry.name: [_anchors(contrast.links) for contrast in entry.contrasts] for entry in page.findings.entries}
    assert links["minimum"] == [["figure-depth-distortion"]] * 2
    assert links["rate"] == [["figure-depth-rate-distortion"]]
    assert links["many"] == [
        ["figure-depth-rate-distortion"],
        ["figure-depth-distortion"],
        ["figure-depth-gap-parts"],
        ["figure-depth-rate-distortion"],
        ["figure-depth-copied"],
    ]
    assert links["elsewhere"] == [[]]


def _anchors(links):
    return [link.anchor for link in links]


def test_a_chart_must_show_the_models(study, page):
    (only,) = study.experiments
    shallow = tuple(study.planned.loc[study.planned["depth"] == 1, "member_id"])
    first = dataclasses.replace(page.experiments[0], name="a", figures=())
    second = page.experiments[0]
    half = [dataclasses.replace(only, name="a", member_ids=shallow), only]
    keyed = tuple(dataclasses.replace(figure, key=figure.key.replace("depth-", "a-")) for figure in second.figures)
    charts = Charts.of([dataclasses.replace(first, figures=keyed), second], half, study.planned)
    both = lower_everywhere(DEEP, than=SHALLOW, value="rate")
    assert _anchors(charts.of_contrast(both, "")) == ["figure-depth-rate-distortion"]
    deep = tuple(study.planned.loc[study.planned["depth"] == 3, "member_id"])
    apart = Charts.of(charts.sections, [half[0], dataclasses.replace(only, member_ids=deep)], study.planned)
    both_charts = ["figure-a-rate-distortion", "figure-depth-rate-distortion"]
    assert _anchors(apart.of_contrast(both, "a-rate-distortion")) == both_charts
    assert _anchors(apart.of_contrast(both, "depth-rate-distortion")) == both_charts[::-1]
    assert _anchors(charts.of_contrast(interior_minimum(SHALLOW), "")) == ["figure-a-distortion"]
    assert _anchors(charts.of_contrast(interior_minimum(SHALLOW), "depth-distortion")) == ["figure-depth-distortion"]
    assert _anchors(charts.of_contrast(interior_minimum(DEEP), "")) == ["figure-depth-distortion"]


def test_a_section_links_back_to_the_verdicts_that_rest_on_it(study, page, text):
    (section,) = page.experiments
    assert [link.name for link in section.verdicts] == ["minimum", "rate", "some", "many"]
    assert all(link.state == "networks still learning" for link in section.verdicts)
    shown = text[text.index('<section id="experiment-depth"') :].partition("The curves")[0]
    assert '<a href="#finding-minimum">A minimum.</a>' in shown
    assert shown.count("· networks still learning</b>") == 4
    assert '<li id="finding-minimum"' in text
    another = dataclasses.replace(section, name="another", figures=())
    assert links_of(another, findings_of(study, page.experiments)) == ()
    assert links_of(section, None) == ()


def test_a_section_without_verdicts_has_no_list(study, page, text):
    assert "verdict-links" in text.partition("</style>")[2]
    assert findings_of(dataclasses.replace(study, claims=()), page.experiments) is None
    sections = with_verdicts(page.experiments, None)
    assert sections[0].verdicts == ()
    bare = dataclasses.replace(page, findings=None, experiments=sections)
    assert "verdict-links" not in render(bare).partition("</style>")[2]


def test_models_whose_end_of_training_was_not_followed_are_said_to_be(study, page):
    lost = dataclasses.replace(study, trajectories=study.trajectories.iloc[:0])
    findings = findings_of(lost, page.experiments)
    sections = with_verdicts(page.experiments, findings)
    text = render(dataclasses.replace(page, findings=findings, experiments=sections))
    counts = re.findall(r'<p class="counts">(.*?)</p>', text)[0]
    assert "all on networks of which it is not known whether they were still learning" in counts
    assert "networks that were still learning" not in counts
    assert "limited" in text.partition("</style>")[2]
    assert text.count("· end of training not followed</b>") >= 8  # of each claim, and of its link in the section
    assert "Whether its networks were still learning is not known: no training curve is stored of any of its" in text
    assert isinstance(lost, StudyTables)
    assert page.findings.counts != ""


def finding(verdict, state):
    return Finding(CLAIMS[0], verdict, (), Behind(), learning=Learning(state))


def test_counts_say_on_which_networks():
    judged = [
        finding("supported", "still learning"),
        finding("supported", "still learning"),
        finding("supported", "ended"),
        finding("supported", "unknown"),
        finding("contradicted", "ended"),
        finding("undecided", "no networks"),
    ]
    assert _counts(judged) == (
        "4 supported, of which 2 on networks that were still learning and 1 on networks of which it is not known "
        "whether they were still learning; 1 contradicted; 1 undecided."
    )


def test_what_several_contrasts_say_is_said_once():
    parts = [ContrastFinding(MINIMUM, "c", "held", None, notes) for notes in (("a", "b"), ("b",), ("d",))]
    assert _repeated(parts) == ("b",)


# --- how they look ----------------------------------------------------------------------------------------------------

SELECTOR = r"\.(verdict|result)\.([a-z-]+)"


def luminance(color):
    digits = color.lstrip("#")
    digits = digits if len(digits) == 6 else "".join(2 * digit for digit in digits)
    levels = [int(digits[start : start + 2], 16) / 255 for start in (0, 2, 4)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return sum(weight * level for weight, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast_ratio(first, second):
    """Of WCAG 2.1."""
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def colors_of(scheme):
    """Name -> colour of the page, in light or dark."""
    blocks = re.findall(r":root \{(.*?)\}", _web("page.css"), re.DOTALL)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block)) for block in blocks[:2])
    return light if scheme == "light" else {**light, **dark}


def badges(scheme):
    """Selector -> colours of text and ground, of every verdict and result."""
    rules = re.findall(r"^([^{\n]*\.(?:verdict|result|deciding)[^{\n]*)\{([^}]*)\}", _web("findings.css"), re.MULTILINE)
    for selectors, body in rules:
        named = re.findall(r"(?<![-\w])(color|background): var\(--([\w-]+)\)", body)
        colors = {what: colors_of(scheme)[name] for what, name in named}
        if {"color", "background"} <= colors.keys():
            for selector in selectors.split(","):
                yield selector.strip(), colors["color"], colors["background"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_badges_can_be_read(scheme):
    shown = {selector: contrast_ratio(color, ground) for selector, color, ground in badges(scheme)}
    verdicts = ("supported", "contradicted", "undecided", "not-enough-models")
    results = ("held", "not-held", "not-told-apart", "nothing-follows", "not-enough-models")
    wanted = {*(f".verdict.{name}" for name in verdicts), *(f".result.{name}" for name in results)}
    assert wanted <= shown.keys()
    assert min(shown.values()) >= 4.5
    paper = colors_of(scheme)["paper"]
    on_paper = [contrast_ratio(color, paper) for name, color, _ in badges(scheme) if name.startswith(".verdict")]
    assert min(on_paper) >= 4.5  # that of a badge on networks still learning


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_verdict_is_fainter_than_another(scheme):
    shown = [contrast_ratio(color, ground) for selector, color, ground in badges(scheme) if ".verdict." in selector]
    assert max(shown) < 1.6 * min(shown)
