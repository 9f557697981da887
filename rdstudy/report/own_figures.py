"""Figures of the user's own: drawn by code that this process was given, and never by what lies in a store.

A figure is a function in a file that a study names by `part(...)`; it returns a `FigureKind`. Where the study file was
not read in this process, the page says so in its place, unless the user has said that the store's copy may be run.
"""

import json
from collections.abc import Iterable, Iterator

from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.page import Figure
from rdstudy.report.theme import Spec
from rdstudy.results.declaration import DeclaredExperiment
from rdstudy.results.store import Store
from rdstudy.study import parts
from rdstudy.study.sources import keep_sources
from rdstudy.study.words import one_line, one_line_with_type


def own_figures(tables: ExperimentTables, experiment: DeclaredExperiment) -> Iterator[Figure | str]:
    """The figures of its own that an experiment names, or why one is not there."""
    for level in experiment.figures:
        if not parts.is_own(level):
            continue
        name = parts.short_name(level)
        if not parts.is_known(level):
            yield (
                f"Figure {name}: its code is not here. The page that the study's own run builds has it, and "
                "python -m rdstudy.report with --trust-code runs the copy in the results folder."
            )
            continue
        try:
            yield from _drawn(level, tables)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a figure that breaks must not take the page with it
            text = one_line(error) if isinstance(error, ValueError) else one_line_with_type(error)
            yield f"Figure {name}{parts.line_in_own_file(level, error)}: {text}"


def _drawn(level: str, tables: ExperimentTables) -> Iterator[Figure]:
    kind = parts.load("figure", level)()
    if not isinstance(kind, FigureKind):
        raise ValueError(f"it makes a {type(kind).__name__}; allowed: a rdstudy.report.figure.FigureKind")
    table = kind.table(tables)
    if len(table):
        words, chart = kind.words(tables, table), kind.chart(tables, table)
        if not isinstance(chart, Spec):
            raise ValueError(f"its chart is a {type(chart).__name__}; allowed: a rdstudy.report.theme.Spec")
        json.dumps(chart.vega_lite, allow_nan=False)  # as the page will
        yield Figure(f"{tables.name}-{parts.parse(level).name}", str(kind.title), str(words), chart)


def trust_figures(store: Store, figures: Iterable[str]) -> None:
    """Make the store's copies of figures' files known, since the user has said that they may be run.

    Raises:
        ValueError: the bytes of a copy are not those that the study named.
    """
    for level in figures:
        digest = parts.digest_of(level)
        source = None if parts.is_known(level) else store.blobs.part_source(digest)
        if source is not None:
            keep_sources({digest: source})
