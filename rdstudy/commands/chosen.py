"""Which models of a results folder a command is about: every model that is stored or asked for, its state, and filters.

done, nonfinite, failed    stored, of the study as it is declared now
remaining                  asked for and not stored
stale, orphaned            stored and not asked for, see `rdstudy.results.standing`
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rdstudy.commandline import Parser, complete
from rdstudy.study.checks import fail_name, id_beginning
from rdstudy.study.conditions import levels_asked
from rdstudy.study.factors import FACTORS

if TYPE_CHECKING:
    from rdstudy.results.declaration import Declaration
    from rdstudy.results.snapshot import Snapshot
    from rdstudy.results.store import Store

STATES = ("done", "nonfinite", "failed", "remaining", "stale", "orphaned")
_OF_OUTCOMES = {"ok": "done", "nonfinite": "nonfinite", "failed": "failed", None: "remaining"}


@dataclass(frozen=True)
class Model:
    """A member of a results folder.

    Attributes:
        member_id: its id.
        state: of `STATES`.
        study: under whose name it is.
        experiments: of that study that ask for it; none for what is stale or orphaned.
        levels: its settings, by their columns.
        reason: why it is not done, or what differs; empty where there is nothing to say.
    """

    member_id: str
    state: str
    study: str
    experiments: tuple[str, ...]
    levels: Mapping[str, Any]
    reason: str = ""


def add_filters(parser: Parser) -> None:
    """The results folder, and options that choose models of it, the same of every command."""
    parser.add_argument("results", metavar="RESULTS", help="results folder or bucket: the --out of a run")
    ids = parser.add_argument(
        "member", metavar="ID", nargs="*", default=[], help="ids of models, or their first digits"
    )
    studies = parser.add_argument("--study", metavar="NAME", help="of this study, where the folder holds several")
    only = parser.add_list("--only", "EXPERIMENT", "of these experiments")
    parser.add_argument("--state", choices=STATES, action="append", default=[], help="in these states")
    where = parser.add_list("--where", "FACTOR=LEVEL", "with such levels, as depth=3; of one factor any")
    complete(ids, lambda options: _opened(options).snapshot(("members",)).outcomes())
    complete(studies, lambda options: _opened(options).declarations.names())
    complete(only, _experiments)
    complete(where, lambda _: [f"{factor}=" for factor in FACTORS])


def _opened(options: argparse.Namespace) -> "Store":
    from rdstudy.results.store import Store

    return Store.open(options.results)


def _experiments(options: argparse.Namespace) -> list[str]:
    declarations = _opened(options).declarations.readable().values()
    return [experiment.name for declaration in declarations for experiment in declaration.experiments]


def chosen_models(options: argparse.Namespace, store: "Store", snapshot: "Snapshot") -> list[Model]:
    """The models that the options of `add_filters` choose, all where they choose none; by study and state.

    Raises:
        ValueError: a study, an experiment, a level or a model that there is not.
    """
    declarations = {name: store.declarations.read(name) for name in store.declarations.names()}
    if options.study is not None and options.study not in declarations:
        raise fail_name("--study", options.study, declarations, also="" if declarations else "none is declared there")
    asked = [options.study] if options.study is not None else list(declarations)
    rows = _first_rows(snapshot)
    models = [model for study in asked for model in _models_of(study, declarations, snapshot, rows)]
    models = list({(each.study, each.member_id): each for each in models}.values())
    known = {each.member_id for each in models}
    ids = {id_beginning(given, known, where=f"in {store.uri}") for given in options.member}
    experiments = dict.fromkeys(each.name for study in asked for each in declarations[study].experiments)
    for name in options.only:
        if name not in experiments:
            raise fail_name("--only", name, experiments)
    levels = levels_asked(options.where)
    return [
        model
        for model in models
        if (not ids or model.member_id in ids)
        and (not options.state or model.state in options.state)
        and (not options.only or not set(options.only).isdisjoint(model.experiments))
        and all(model.levels[factor] in allowed for factor, allowed in levels.items())
    ]


def _models_of(
    study: str,
    declarations: "Mapping[str, Declaration]",
    snapshot: "Snapshot",
    rows: Mapping[str, Mapping[str, Any]],
) -> Iterator[Model]:
    from rdstudy.results.standing import declared_levels, unasked

    declaration = declarations[study]
    experiments: dict[str, list[str]] = {}
    for experiment in declaration.experiments:
        for member_id in experiment.member_ids:
            experiments.setdefault(member_id, []).append(experiment.name)
    for member_id, settings in declaration.members.items():
        row = rows.get(member_id, {})
        state, reason = _OF_OUTCOMES[row.get("outcome")], row.get("reason") or ""
        yield Model(member_id, state, study, tuple(experiments.get(member_id, ())), declared_levels(settings), reason)
    members = snapshot.table("members")
    for group in unasked(members, declaration.members, study, lambda: declarations, levels=declared_levels):
        for member_id in group.member_ids:
            yield Model(member_id, group.state, study, (), rows[member_id], group.why)


def _first_rows(snapshot: "Snapshot") -> dict[str, Mapping[str, Any]]:
    """Member id -> the first of its rows."""
    from rdstudy.results import schema

    first: dict[str, Mapping[str, Any]] = {}
    for row in snapshot.rows("members", ["member_id", "outcome", "reason", *schema.SETTINGS]):
        first.setdefault(row["member_id"], row)
    return first
