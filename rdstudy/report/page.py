"""What stands on the page, and the one HTML file it becomes. Knows no table of results and no store.

One copy of the JavaScript serves all charts. The page loads nothing: a policy in its head forbids it.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from rdstudy.report.illustrations import ExampleImage
from rdstudy.report.pictures import StripTable
from rdstudy.report.tables import Settings
from rdstudy.report.text import Table
from rdstudy.report.theme import Spec


@dataclass(frozen=True)
class Figure:
    """A chart with what a reader needs to understand it. `key` names its file where figures are written."""

    key: str
    title: str
    note: str
    spec: Spec


@dataclass(frozen=True)
class Notice:
    """Something that a reader must know before trusting the numbers, and the command that mends it, if one does."""

    text: str
    command: str = ""


@dataclass(frozen=True)
class ExperimentSection:
    """One experiment: its question, what its pictures say in words, and its pictures."""

    name: str
    title: str
    description: str
    status: str
    findings: tuple[str, ...]
    figures: tuple[Figure, ...]
    strips: StripTable | None = None  # reconstructions of test images along β


@dataclass(frozen=True)
class FindingEntry:
    """A claim of the study and what its tables say of it, in words."""

    name: str
    verdict: str
    sentence: str
    source: str
    effect: str  # number, unit and interval, and what the claim needs; empty without enough runs
    runs: str  # data sets, models, seeds and images behind it
    learning: str  # which of its networks still learned when their training ended; empty where none did
    notes: tuple[str, ...]
    anchor: str  # of the figure that shows it; empty where there is none
    where: str  # its name


@dataclass(frozen=True)
class Findings:
    """What the page says first."""

    summary: str
    entries: tuple[FindingEntry, ...]


@dataclass(frozen=True)
class Page:
    """All that the page shows, in the order in which it shows it."""

    title: str
    description: str
    status: str
    recipe: str  # how all models were trained; empty where the declaration does not say
    warnings: tuple[Notice, ...]
    findings: Findings | None
    experiments: tuple[ExperimentSection, ...]
    examples: dict[str, tuple[ExampleImage, ...]]
    data_notes: Mapping[str, str]  # data set -> what a reader must know of it
    pictures: Mapping[str, str]  # of the strips: key -> PNG data URI, each stored once
    splits_figure: Figure
    splits_used: Table
    results: Table
    completeness: Table
    failures: Table
    certificates: Table  # of log p(x) by annealed importance sampling
    unmeasured: Table
    provenance: Table
    command: str
    settings: tuple[Settings, ...]
    footer: str

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All figures, in the order of the page."""
        return (*(figure for section in self.experiments for figure in section.figures), self.splits_figure)


def render(page: Page) -> str:
    """The page as one self-contained HTML file."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["script_json"] = _spec_json
    environment.filters["pictures_json"] = _script_json
    template = environment.from_string(files("rdstudy.report").joinpath("page.html").read_text("utf-8"))
    return template.render(page=page, javascript=Markup(_javascript()))  # noqa: S704  it is ours, not a user's


def _spec_json(spec: Spec) -> Markup:
    return _script_json(spec.vega_lite)


def _script_json(value: Mapping[str, Any]) -> Markup:
    """JSON for a script element: no text in it can close the element, whatever a title holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


@functools.cache
def _javascript() -> str:
    """Vega, Vega-Lite and Vega-Embed in one piece, which sets `window.vegaEmbed`."""
    bundle: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert "</script" not in bundle.lower()
    return bundle
