"""The models of a results folder by state, with their ids.

    rdstudy list RESULTS [ID]... [--study NAME] [--only EXPERIMENT]... [--state STATE]... [--where FACTOR=LEVEL]...

Of a study that is declared there, whether it was trained or not; what is stored under its name and it does not ask for
comes last. Exit status: 0; 1 the storage failed; 2 bad input.
"""

import argparse
import itertools
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from rdstudy.commandline import WIDTH, Parser, run_command
from rdstudy.commands.chosen import STATES, Model, add_filters, chosen_models
from rdstudy.results.address import without_keys
from rdstudy.running.screen import size_of
from rdstudy.study.factors import FACTORS
from rdstudy.study.parts import short_name
from rdstudy.study.words import aligned, one_line


def main(arguments: Sequence[str] | None = None, *, prog: str = "rdstudy list") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _list, arguments)


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description="The models of a results folder by state, with their ids.")
    add_filters(parser)
    return parser


def _list(options: argparse.Namespace) -> int:
    from rdstudy.results.store import Store

    store = Store.open(without_keys(options.results, tell=print))
    models = chosen_models(options, store, store.snapshot(("members",)))
    width = size_of(sys.stdout).columns if sys.stdout.isatty() else None
    if not models and (asked := _filters(options)):
        print(f"no models with {asked}; without that, all are listed")
        return 0
    for line in listed(models):
        print(line if width is None or len(line) <= width else f"{line[: width - 1]}…")
    return 0


def _filters(options: argparse.Namespace) -> str:
    """What `add_filters` read, as it was given."""
    given = [f"--{name} {level}" for name in ("only", "state", "where") for level in getattr(options, name)]
    return " ".join([*options.member, *([f"--study {options.study}"] if options.study else []), *given])


def listed(models: Sequence[Model]) -> Iterator[str]:
    """Models in lines for people: per study what all share, then each with its state and what tells it apart."""
    if not models:
        yield "no models"
    for study, group in itertools.groupby(models, key=lambda model: model.study):
        of_study = sorted(group, key=lambda model: STATES.index(model.state))
        counts = ", ".join(
            f"{count} {state}" for state in STATES if (count := sum(each.state == state for each in of_study))
        )
        yield f"study {study}: {counts}"
        varied = [factor for factor in FACTORS if len({model.levels[factor] for model in of_study}) > 1]
        same = [f"{factor} {_plain(of_study[0].levels[factor])}" for factor in FACTORS if factor not in varied]
        yield from textwrap.wrap(f"all of them: {', '.join(same)}", WIDTH, initial_indent="  ", subsequent_indent="  ")
        yield from _table(of_study, varied)


def _table(models: Sequence[Model], factors: Sequence[str]) -> list[str]:
    rows = [("id", "state", *factors, "")]
    rows += [
        (model.member_id, model.state, *(_plain(model.levels[factor]) for factor in factors), one_line(model.reason))
        for model in models
    ]
    return aligned(rows, left=len(rows[0]))


def _plain(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else short_name(str(level))
