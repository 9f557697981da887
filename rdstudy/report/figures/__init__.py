"""One file a figure: title, note, tidy table and chart. `ORDER` in a file is the figure's place on a page.

To add a figure, write its file: `rdstudy.study.FIGURES` and the page find it by `ORDER` and its name.
"""

import importlib

import rdstudy.study
from rdstudy.report.figure import FigureKind

FIGURES: tuple[FigureKind, ...] = tuple(
    importlib.import_module(f"{__name__}.{name.replace('-', '_')}").FIGURE for name in rdstudy.study.FIGURES
)
"""In the order of a page."""
