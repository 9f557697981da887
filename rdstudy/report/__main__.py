"""`python -m rdstudy.report RESULTS`: write the page of a study, or its figures. Imports late: `--help` is quick."""

import argparse
import sys
from collections.abc import Sequence

from rdstudy.commandline import Parser, answer, refuse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status: 0, or in one line 2 for bad input and 1 for storage that fails."""
    options = _parser().parse_args(arguments)
    if options.format is not None and options.figures is None:
        return refuse("--format is for --figures, which is missing; allowed: --figures DIR --format svg|png|pdf")
    return answer(lambda: _write(options))


def _write(options: argparse.Namespace) -> int:
    from rdstudy.report.build import build_report, write_figures

    if options.figures is not None:
        for path in write_figures(
            options.results, study=options.study, folder=options.figures, format=options.format or "svg"
        ):
            print(path)
    if options.figures is None or options.out is not None:
        print(build_report(options.results, study=options.study, out=options.out))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m rdstudy.report", description="Turn the results of a study into one HTML page.")
    parser.add_argument("results", metavar="RESULTS", help="results folder or URI: the --out of a run")
    parser.add_argument("--study", metavar="NAME", help="which study, where the folder holds several")
    parser.add_argument("--out", metavar="FILE", help="the page to write (reports/NAME.html)")
    parser.add_argument(
        "--figures", metavar="DIR", help="write the figures to this folder; the page too only with --out"
    )
    parser.add_argument("--format", choices=["svg", "png", "pdf"], help="of the figures (svg)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
