"""Removes models from a results folder: their rows in all tables and their weights, and nothing of any other model.

    rdstudy forget RESULTS [ID]... [--study NAME] [--only EXPERIMENT]... [--state STATE]... [--where FACTOR=LEVEL]...

It takes what `rdstudy list` takes, removes what that lists, says so first, and asks. While a run is at work in the
folder it is refused: that run has read what is stored. A study that asks for a model which is forgotten trains it anew.
Exit status: 0; 1 the storage failed; 2 bad input, or a run is at work; 130 answered with no.
"""

import argparse
import collections
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from rdstudy.commandline import Parser, run_command
from rdstudy.commands.chosen import Model, add_filters, chosen_models
from rdstudy.commands.list import listed
from rdstudy.results.address import without_keys

if TYPE_CHECKING:
    from rdstudy.results.store import Store

_NO = 130
_MOST_LINES = 40


def main(arguments: Sequence[str] | None = None, *, prog: str = "rdstudy forget") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _forget, arguments)


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description="Remove models from a results folder, with their weights.")
    add_filters(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser


def _forget(options: argparse.Namespace) -> int:
    from rdstudy.results.presence import present, this_run
    from rdstudy.results.store import Store

    if not (options.member or options.study or options.only or options.state or options.where):
        raise ValueError("what is to be forgotten is not said; allowed: ids, --study, --only, --state, --where")
    store = Store.open(without_keys(options.results, tell=print))
    models = [model for model in chosen_models(options, store, store.snapshot()) if model.state != "remaining"]
    if not models:
        print("nothing to forget: no stored model is like that")
        return 0
    _refuse_while_at_work(store)
    _say(models, store)
    if not options.yes and not _is_yes():
        print("nothing was removed")
        return _NO
    ids = {model.member_id for model in models}
    store.hold(store.identity())
    with present(store, this_run("rdstudy forget", sorted(ids))) as presence:
        _refuse_while_at_work(store, but=presence.token)
        store.rows.forget(store.snapshot(), ids)
        store.blobs.forget_weights(ids)
    print(f"forgotten: {len(ids)} models")
    return 0


def _refuse_while_at_work(store: "Store", *, but: str = "") -> None:
    from rdstudy.results.presence import is_alive, runs_at_work

    for run in runs_at_work(store):
        if run.token != but and is_alive(store, run):
            raise ValueError(f"{run} is at work in {store.uri}; allowed: to forget models once it has ended")


def _say(models: Sequence[Model], store: "Store") -> None:
    """What goes, and who asks for it."""
    lines = list(listed(models))
    print("\n".join(lines[:_MOST_LINES]))
    if len(lines) > _MOST_LINES:
        print(f"... and {len(lines) - _MOST_LINES} more")
    for who, count in _asked_for_by({model.member_id for model in models}, store).items():
        print(f"asked for by {who}: {count} of them, to be trained anew when that is run")


def _asked_for_by(ids: Collection[str], store: "Store") -> collections.Counter[str]:
    """Study and experiment -> how many of these members it asks for."""
    return collections.Counter(
        f"experiment {experiment.name} of study {study}"
        for study, declaration in store.declarations.readable().items()
        for experiment in declaration.experiments
        for member_id in set(experiment.member_ids)
        if member_id in ids
    )


def _is_yes() -> bool:
    """Whether a person says so."""
    if sys.stdin is None or not sys.stdin.isatty():
        raise ValueError("nobody can be asked whether to remove them; allowed: --yes")
    print("Remove their rows and weights? Nothing but training brings them back. [y/N] ", end="", flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
