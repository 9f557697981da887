"""`python -m rdstudy.report RESULTS`: write the page of a study, or its figures. Imports late: `--help` is quick."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdstudy.commandline import Parser, run_command, sigterm_interrupts
from rdstudy.results.address import without_keys
from rdstudy.study.checks import fail

if TYPE_CHECKING:
    from rdstudy.report.build import FigureFiles, Source

_FORMATS = ("svg", "png", "pdf", "json")
_FOLDERS = ("figures", "tables")


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rdstudy.report") -> int:
    """Run the command; returns its exit status: 0, or in one line 2 for bad input and 1 for storage that fails."""
    return run_command(make_parser(prog), _write, arguments)


def _write(options: argparse.Namespace) -> int:
    _check(options)
    from rdstudy.report.build import read_report, write_figures, write_report, write_tables

    if options.watch:
        from rdstudy.report.watch import watch

        with contextlib.suppress(KeyboardInterrupt), sigterm_interrupts():  # the run goes on
            watch(_source(options), out=options.out, say=lambda line: print(line, flush=True))
        return 0
    files = _files(options)
    report = read_report(_source(options))
    if options.tables is not None:
        for path in write_tables(report, options.tables):
            print(path)
    if files is not None:
        for path in write_figures(report, files):
            print(path)
    if options.out is not None or (options.figures is None and options.tables is None):
        print(write_report(report, out=options.out))
    if options.anonymous:
        from rdstudy.report.anonymous import KEPT

        print(f"anonymous: {KEPT}", file=sys.stderr)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not go together before anything is read.

    Raises:
        ValueError: such options.
    """
    if options.figures is None:
        for name, form in (
            ("format", "|".join(_FORMATS)),
            ("style", "NAME"),
            ("figure", "NAME"),
            ("where", "FACTOR=LEVEL"),
        ):
            if getattr(options, name):
                raise ValueError(f"--{name} is for --figures, which is missing; allowed: --figures DIR --{name} {form}")
    contrary = [name for name in ("figures", "tables", "other") if options.watch and getattr(options, name) is not None]
    if contrary:
        what = "RESULTS2" if contrary[0] == "other" else f"--{contrary[0]}"
        raise ValueError(f"--watch and {what} contradict each other; allowed: --watch with the page of one study")
    if options.columns is not None and options.style is None:
        raise ValueError(
            "--columns is for --style, which is missing; allowed: --figures DIR --style NAME --columns 1|2"
        )
    studies = options.study
    if len(studies) > (2 if options.other is not None else 1):
        raise ValueError(
            f"--study is given {len(studies)} times; allowed: once, or twice with two results folders, which may be "
            "one: RESULTS RESULTS --study NAME --study NAME"
        )
    _check_places(options)


def _check_places(options: argparse.Namespace) -> None:
    """Refuse names that are empty, and places that are not on this machine."""
    texts = [(name, getattr(options, name)) for name in ("results", "other", "out", *_FOLDERS)]
    for name, value in [*texts, *(("study", study) for study in options.study)]:
        if value is not None and not value.strip():
            raise fail(name, value, "a name that is not empty")
    for name in ("out", *_FOLDERS):
        if "://" in (getattr(options, name) or ""):
            raise ValueError(f"--{name} is an address; allowed: a path on this machine")
        without_keys(getattr(options, name) or "")  # refuses what looks like one
    if options.out is not None and Path(options.out).is_dir():  # found out before figures are drawn
        raise ValueError(f"--out is the folder {options.out}; allowed: a file")


def _files(options: argparse.Namespace) -> "FigureFiles | None":
    from rdstudy.report.build import FigureFiles

    if options.figures is None:
        return None
    names = tuple(options.figure)
    return FigureFiles(
        options.figures, options.format or "svg", names, options.style, options.columns or 1, tuple(options.where)
    )


def _source(options: argparse.Namespace) -> "Source":
    from rdstudy.report.build import Source

    studies = [*options.study, None, None]
    return Source(
        without_keys(options.results, tell=print),
        studies[0],
        None if options.other is None else without_keys(options.other, tell=print),
        studies[1] if len(options.study) > 1 else studies[0],
        trust_code=options.trust_code,
        anonymous=options.anonymous,
    )


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description="Turn the results of a study into one HTML page.")
    parser.add_argument("results", metavar="RESULTS", help="results folder or URI: the --out of a run")
    parser.add_argument(
        "other", metavar="RESULTS2", nargs="?", help="another one: both studies on one page, and what differs"
    )
    parser.add_list("--study", "NAME", "which study, where the folder holds several; twice for two")
    parser.add_argument("--out", metavar="FILE", help="the page to write (reports/NAME.html)")
    parser.add_argument(
        "--figures", metavar="DIR", help="write the figures to this folder; the page too only with --out"
    )
    parser.add_argument("--format", choices=_FORMATS, help="of the figures (svg); json is Vega-Lite")
    parser.add_list("--figure", "NAME", "this figure alone, such as depth-distortion")
    parser.add_list("--where", "FACTOR=LEVEL", "figures of the cells with this level alone, such as depth=1")
    parser.add_argument(
        "--style",
        metavar="NAME",
        help="figures as wide as a column of: neurips, iclr, icml, aistats, jmlr, ieee, nature, ...",
    )
    parser.add_argument("--columns", type=int, choices=[1, 2], help="of that style, the width of the figures (1)")
    parser.add_argument(
        "--tables", metavar="DIR", help="write the tables as CSV to this folder; the page too only with --out"
    )
    parser.add_argument(
        "--anonymous", action="store_true", help="for review: no host, user, path, commit or command in what is written"
    )
    parser.add_argument(
        "--watch", action="store_true", help="write the page anew whenever rows come, until the run has ended"
    )
    parser.add_argument(
        "--trust-code", action="store_true", help="run the copies of the study's own figures that RESULTS holds"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
