"""What stands on the page, and the one HTML file it becomes. Knows no table of results and no store.

One copy of the JavaScript serves all charts. The page loads nothing: a policy in its head forbids it.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files

import jinja2
from markupsafe import Markup

from rdstudy.report.bundle import javascript
from rdstudy.report.citation import PAPER, SHORT_PAPER, Citation
from rdstudy.report.data_words import SplitWords
from rdstudy.report.differences import Comparison
from rdstudy.report.embedding import drawings, dumps, embedded
from rdstudy.report.methods import Method
from rdstudy.report.pictures import ExampleImage
from rdstudy.report.read import Settings
from rdstudy.report.strips import SheetTable, StripTable
from rdstudy.report.text import Table
from rdstudy.report.theme import Spec
from rdstudy.report.views import FIRST

ROWS_IN_HTML = 100
"""Of a long table; the page makes the rest from JSON when a reader asks for it."""


@dataclass(frozen=True)
class Figure:
    """A chart with what a reader needs to understand it.

    Attributes:
        key: names its file where figures are written, and its anchor.
        title: its heading.
        note: the words below the heading.
        spec: the chart.
        alt: what it shows, for a reader who does not see it.
        number: by which people call it, from 1 in the order of a page; 0 where it stands on none.
        is_behind: whether it says what lies behind the curves of its experiment, and is none of them.
        views: further charts of other numbers, by the view in which the page shows them.
    """

    key: str
    title: str
    note: str
    spec: Spec
    alt: str = ""
    number: int = 0
    is_behind: bool = False
    views: Mapping[str, Spec] = field(default_factory=dict)

    @property
    def specs(self) -> dict[str, Spec]:
        """All charts by the views in which they are shown, that of the first view first."""
        return {FIRST.key: self.spec, **self.views}


@dataclass(frozen=True)
class Notice:
    """Something that a reader must know before trusting the numbers, and the command that mends it, if one does."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class VerdictLink:
    """A verdict that rests on figures of a section, and where it stands."""

    name: str
    verdict: str
    state: str  # what the badge adds to the verdict, such as "networks still learning"; empty where there is nothing
    sentence: str
    anchor: str


@dataclass(frozen=True)
class ExperimentSection:
    """One experiment: its question, what its pictures say in words, and its pictures.

    Attributes:
        name: of the experiment.
        title: its heading.
        description: what it asks.
        status: how much of it is done; empty where the study has no other experiment.
        findings: what its numbers say in words.
        figures: its charts: first the curves, then what lies behind them.
        omitted: which cells they leave out, and how these are seen; empty where they show all.
        missing: why a figure of the study's own is not there.
        strips: reconstructions of test images along β.
        sheets: samples from the prior, and traversals.
        strips_number: of the strips among the figures of the page.
        sheets_number: of the sheets.
        verdicts: that rest on its figures.
    """

    name: str
    title: str
    description: str
    status: str
    findings: tuple[str, ...]
    figures: tuple[Figure, ...]
    omitted: str = ""
    missing: tuple[str, ...] = ()
    strips: StripTable | None = None
    sheets: SheetTable | None = None
    strips_number: int = 0
    sheets_number: int = 0
    verdicts: tuple[VerdictLink, ...] = ()

    @property
    def curves(self) -> tuple[Figure, ...]:
        """The main figures."""
        return tuple(figure for figure in self.figures if not figure.is_behind)

    @property
    def behind(self) -> tuple[Figure, ...]:
        """Those that say why the curves are what they are."""
        return tuple(figure for figure in self.figures if figure.is_behind)


@dataclass(frozen=True)
class Link:
    """Where something stands on the page: its anchor, and the words that lead there."""

    anchor: str
    words: str


@dataclass(frozen=True)
class ContrastEntry:
    """One contrast of a claim, in words: what it says, the number that shows it, and what came of it."""

    clause: str
    result: str  # held, not held, not told apart, nothing follows, not enough models
    decides: bool  # whether the verdict stands on it
    label: str  # what the number is; empty where there is none, as of the next five
    number: str  # with its unit
    interval: str
    needs: str  # such as "more than 0.2 nats"
    seeds: str  # in the interval, and how the number was chosen of several
    seen: str  # the smallest distance that this study would have seen
    notes: tuple[str, ...]
    links: tuple[Link, ...]  # to the figures that draw it; several where no figure has all of its models
    parts: "tuple[ContrastEntry, ...]" = ()


@dataclass(frozen=True)
class FindingEntry:
    """A claim of the study and what its tables say of it, in words."""

    name: str
    verdict: str
    state: str  # what the badge adds to the verdict; empty where there is nothing
    sentence: str
    source: str
    contrasts: tuple[ContrastEntry, ...]
    counted: str  # such as "4 contrasts: 3 held, 1 not told apart"
    models: str  # data sets, models and images behind it
    learning: str  # whether its networks still learned when their training ended
    notes: tuple[str, ...]  # of more than one contrast
    link: Link | None  # to the figure that shows it

    @property
    def is_long(self) -> bool:
        """Whether its contrasts are folded, but for the one that decides."""
        return sum(1 + len(contrast.parts) for contrast in self.contrasts) > _FEW_CONTRASTS

    @property
    def is_drawn(self) -> bool:
        """Whether one of its contrasts links to the figure that shows the claim."""
        return any(self.link in contrast.links and not contrast.parts for contrast in self.contrasts)

    @property
    def deciding(self) -> tuple[ContrastEntry, ...]:
        """The contrast on which the verdict stands."""
        return tuple(contrast for contrast in self.contrasts if contrast.decides)


_FEW_CONTRASTS = 4  # more are folded


@dataclass(frozen=True)
class Findings:
    """What the page says first."""

    counts: str  # of the verdicts
    late: str  # which claims are younger than results; empty where none is
    declared: tuple[str, ...]  # when the study was first declared, and each change after that
    summary: str  # how verdicts are reached
    entries: tuple[FindingEntry, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set: what it is, what else a reader must know of it, and its images: a few, and more on demand."""

    name: str
    words: str
    note: str
    images: tuple[ExampleImage, ...]
    more: tuple[ExampleImage, ...] = ()


@dataclass(frozen=True)
class Splits:
    """How images are split: each kind in words, what holds for all, a picture, and how many images there are."""

    kinds: tuple[SplitWords, ...]
    note: str
    figure: Figure
    used: Table


@dataclass(frozen=True)
class Costs:
    """What the study took, and what the columns mean."""

    table: Table
    note: str


@dataclass(frozen=True)
class Coverage:
    """What is complete and what is not, failures by cause, and what has no value."""

    completeness: Table
    failures: Table
    unmeasured: Table


@dataclass(frozen=True)
class Provenance:
    """Where numbers come from, and how to cite them.

    Attributes:
        facts: (name, words): when it was declared, where rows lie, what made the page.
        produced: what produced the rows.
        command: that runs the study; empty where it is not known.
        settings: of the study.
        citations: of the study, the program and the paper.
    """

    facts: tuple[tuple[str, str], ...]
    produced: Table
    command: str
    settings: tuple[Settings, ...]
    citations: tuple[Citation, ...]


@dataclass(frozen=True)
class Page:
    """All that the page shows, in the order in which it shows it."""

    title: str
    description: str
    authors: str  # empty where the declaration does not say
    status: str
    recipe: str  # how all models were trained; empty where the declaration does not say
    version: str  # of the program
    warnings: tuple[Notice, ...]
    findings: Findings | None
    datasets: tuple[DataSet, ...]
    splits: Splits
    experiments: tuple[ExperimentSection, ...]
    runs: str  # JSON of `rdstudy.report.runs`
    has_runs: bool  # whether that has single models
    methods: tuple[Method, ...]
    costs: Costs
    coverage: Coverage
    results: Table
    certificates: Table  # of log p(x) by annealed importance sampling
    provenance: Provenance
    pictures: Mapping[str, str]  # of the strips: key -> PNG data URI, each stored once
    footer: str
    comparison: Comparison | None = None  # of two studies

    @property
    def figure_groups(self) -> tuple[tuple[Figure, ...], ...]:
        """The figures of each part of the page."""
        return ((self.splits.figure,), *(section.figures for section in self.experiments))

    @property
    def switches(self) -> tuple[bool, bool]:
        """Whether some chart can be seen of early stopping, and above the floor."""
        keys = {key for figure in self.figures for key in figure.views}
        return any(key.startswith("stopped") for key in keys), any(key.endswith("above") for key in keys)

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All charts, in the order of the page."""
        return tuple(figure for group in self.figure_groups for figure in group)


@functools.cache
def _environment() -> jinja2.Environment:
    """The templates, which a process compiles once."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rdstudy.report", "web"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"json_text": _in_script, "rows_json": _rows_json}
    environment.filters["spec_json"] = lambda spec: _in_script(embedded(spec))
    environment.filters["pictures_json"] = lambda sources: _in_script(dumps(sources))
    environment.globals["rows_in_html"] = ROWS_IN_HTML
    return environment


def render(page: Page) -> str:
    """The page as one self-contained HTML file."""
    ours = {"javascript": javascript(), "css": _web("page.css") + _web("findings.css"), "js": _web("page.js")}
    own = {name: Markup(text) for name, text in ours.items()}  # noqa: S704  it is ours, not a user's
    charts = [[(figure.key, figure.spec) for figure in group] for group in page.figure_groups]
    paper = {"paper": PAPER, "short_paper": SHORT_PAPER}
    return _environment().get_template("page.html").render(page=page, drawings=drawings(charts), **paper, **own)


def _web(name: str) -> str:
    return files("rdstudy.report").joinpath("web", name).read_text("utf-8")


def _rows_json(table: Table) -> Markup:
    """The rows of a table: an entry is its text, or [text, number]."""
    rows = [[entry.text if entry.number is None else [entry.text, entry.number] for entry in row] for row in table.rows]
    return _in_script(dumps(rows))


def _in_script(json_text: str) -> Markup:
    """JSON for a script element: no text in it can close the element, whatever a title holds."""
    return Markup(json_text.replace("<", "\\u003c"))  # noqa: S704
