"""Models as runs of an experiment tracker, one run a model, from the stored tables, however they were trained.

    rdstudy export RESULTS --to csv|tensorboard|mlflow|wandb [--out PLACE] [ID]... [--study NAME] ...

It takes what `rdstudy list` takes, and exports what is stored of that. Factors are parameters; D, R and ELBO of each
subset are metrics along the trajectory, and `final/...` after training, on all images; ids, versions and the outcome
are tags. What was exported once is not exported again. Exit status: 0; 1 the storage failed; 2 bad input.
"""

import argparse
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rdstudy.commandline import Parser, run_command
from rdstudy.commands.chosen import Model, add_filters, chosen_models
from rdstudy.commands.trackers import TRACKERS, default_place
from rdstudy.results.address import without_keys
from rdstudy.study.factors import SETTINGS

if TYPE_CHECKING:
    from rdstudy.results.snapshot import Snapshot

_METRICS = ("distortion", "rate", "elbo")
_TAGS = ("member_id", "run_id", "outcome", "reason", "code_version", "numerics_version", "torch_version", "device")


@dataclass(frozen=True)
class TrackedRun:
    """A model as experiment trackers know one.

    Attributes:
        name: the id of the model.
        study: under whose name it is.
        params: its settings, a name of a factor -> its level.
        tags: ids, outcome and versions.
        steps: of the trajectory, ascending: (step, metric such as `test/distortion` -> value).
        final: metric such as `final/test/distortion` -> value after training; empty where it became non-finite.
        finished_at: when.
    """

    name: str
    study: str
    params: Mapping[str, Any]
    tags: Mapping[str, str]
    steps: tuple[tuple[int, Mapping[str, float]], ...]
    final: Mapping[str, float]
    finished_at: datetime

    @property
    def last_step(self) -> int:
        """The steps of its training."""
        return int(self.params["steps"])

    @property
    def is_ok(self) -> bool:
        """Whether its training ended well."""
        return self.tags["outcome"] == "ok"


def main(arguments: Sequence[str] | None = None, *, prog: str = "rdstudy export") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _export, arguments)


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(prog=prog, description="Models as runs of an experiment tracker, one run a model.")
    add_filters(parser)
    parser.add_argument("--to", choices=sorted(TRACKERS), required=True, help="which tracker, or files of CSV")
    parser.add_argument("--out", metavar="PLACE", help="the folder to write (exports/TRACKER), or an MLflow server")
    return parser


def _export(options: argparse.Namespace) -> int:
    from rdstudy.results.store import Store

    place = options.out or default_place(options.to)
    tracker = TRACKERS[options.to](place)
    store = Store.open(without_keys(options.results, tell=print))
    snapshot = store.snapshot(("members", "trajectories"))
    models = [model for model in chosen_models(options, store, snapshot) if model.state != "remaining"]
    written = sum(tracker.write(run) for run in tracked_runs(models, snapshot))
    tracker.close()
    print(f"{written} runs written to {place}, {len({model.member_id for model in models}) - written} were there")
    return 0


def tracked_runs(models: Sequence[Model], snapshot: "Snapshot") -> Iterator[TrackedRun]:
    """Stored models as runs, by a snapshot of `members` and `trajectories`; a model of several studies once, by id."""
    from rdstudy.results.chosen import ChosenRows
    from rdstudy.results.snapshot import plain_rows

    studies = {model.member_id: model.study for model in models}
    rows = ChosenRows(snapshot, studies)
    trajectories = itertools.groupby(plain_rows(rows.trajectories()), key=lambda row: row["member_id"])
    name, trajectory = next(trajectories, ("", iter(())))
    for member_id, group in itertools.groupby(plain_rows(rows.members()), key=lambda row: row["member_id"]):
        while name and name < member_id:
            name, trajectory = next(trajectories, ("", iter(())))
        yield _tracked_run(studies[member_id], list(group), list(trajectory) if name == member_id else [])


def _tracked_run(study: str, rows: Sequence[Mapping[str, Any]], trajectory: Sequence[Mapping[str, Any]]) -> TrackedRun:
    first = rows[0]
    by_step: dict[int, dict[str, float]] = {}
    for row in trajectory:
        by_step.setdefault(row["step"], {}).update(_metrics(row))
    return TrackedRun(
        name=first["member_id"],
        study=study,
        params={setting.name: first[setting.name] for setting in SETTINGS if first[setting.name] is not None},
        tags={"study": study, **{name: str(first[name]) for name in _TAGS if first[name] is not None}},
        steps=tuple(sorted(by_step.items())),
        final={f"final/{name}": value for row in rows for name, value in _metrics(row).items()},
        finished_at=first["finished_at"],
    )


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Metric -> value of a row of a subset; what is null or not finite, which trackers refuse, is left out."""
    values = {f"{row['subset']}/{name}": row[name] for name in _METRICS}
    return {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
