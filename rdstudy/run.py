"""The command: study file -> plan -> run, here or on a cluster -> report.

    python -m rdstudy.run STUDY.py [--out URI] [--only EXPERIMENT]... [--set recipe.steps=2000]... [--plan]

Exit status: 0 all members done, 1 some not ok, 2 bad input, 130 interrupted. Heavy libraries are imported where they
are needed, so that `--help`, `--plan` and a mistake in a study file answer at once.
"""

import argparse
import importlib.util
import logging
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdstudy.study import Study

if TYPE_CHECKING:
    from rdstudy.packs import Pack
    from rdstudy.plan import Plan
    from rdstudy.progress import ProgressLine
    from rdstudy.results.store import Store

_OK, _SOME_NOT_OK, _BAD_INPUT, _INTERRUPTED = 0, 1, 2, 130
_MOST_CAUSES = 10
_ROUNDS = 3  # of trials, before members without a row are reported as such

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        study = load_study(options.study).with_settings(options.set)
        if options.plan:
            print(describe_plan(_plan(study, _existing_store(options.out), options), options.out))
            return _OK
        return _run(study, options)
    except ValueError as error:
        if not _is_users_mistake(error):
            raise
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return _BAD_INPUT


def load_study(path: str) -> Study:
    """Read a study file.

    Raises:
        ValueError: no such file, it does not run, or it defines no `STUDY`; one line that says where.
    """
    if not Path(path).is_file():
        raise ValueError(f"study file {path} does not exist; allowed: a Python file that defines STUDY")
    spec = importlib.util.spec_from_file_location("rdstudy_study_file", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"study file {path} is no Python file; allowed: a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"study file {path}, line {error.lineno}: {error.msg}") from None
    except Exception as error:
        raise ValueError(f"study file {path}, line {_line_in(path, error)}: {_message(error)}") from None
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        found = "defines no STUDY" if study is None else f"defines STUDY as a {type(study).__name__}"
        raise ValueError(f"study file {path} {found}; allowed: STUDY = Study(...)")
    return study


def describe_plan(plan: "Plan", out: str) -> str:
    """A table of what is wanted, done and remaining, per experiment and in all; then what the packs ask of a device."""
    from rdstudy.plan import describe_packs

    rows: list[tuple[str, ...]] = [("experiment", "cells", "members", "done", "not ok", "remaining")]
    remaining, wanted = set(plan.remaining), set(plan.wanted)
    for planned in plan.experiments:
        members = [member for member in planned.members if member in wanted]
        outcomes = [plan.outcomes.get(member.member_id) for member in members]
        not_ok = sum(outcome in ("nonfinite", "failed") for outcome in outcomes)
        counts = (planned.cells, len(members), outcomes.count("ok"), not_ok, sum(m in remaining for m in members))
        rows.append((planned.experiment.name, *map(str, counts)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    trained = [pack for pack in plan.packs if not pack.runs]
    sizes = sorted({len(pack.members) for pack in trained})
    packs = f"{len(trained)} packs of {_range(sizes)} members" if sizes else "no packs"
    steps = sum(member.recipe.steps for pack in trained for member in pack.members)
    return "\n".join(
        [
            f"study {plan.study.name}: {len(plan.wanted)} distinct members, {plan.count('ok')} done, "
            f"{len(plan.remaining)} remaining; results in {out}",
            *lines,
            f"remaining: {packs}, {steps:,} training steps",
            *_describe_measuring(plan, len(plan.packs) - len(trained)),
            *describe_packs(plan),
        ]
    )


def _describe_measuring(plan: "Plan", measured: int) -> list[str]:
    """What is to be measured of members that are stored, and what cannot be."""
    lines = [f"to be measured, without training: {measured} members whose weights are kept"] if measured else []
    if plan.unmeasurable:
        lines.append(
            f"not measured as the study asks: {plan.unmeasurable} members, whose weights were not kept "
            "(resources.keep_weights); with another --out they are trained and measured"
        )
    return lines


def _range(sizes: list[int]) -> str:
    return str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m rdstudy.run", description="Run a study and build its report.")
    parser.add_argument("study", metavar="STUDY.py", help="a Python file that defines STUDY")
    parser.add_argument("--out", metavar="URI", default="results", help="results folder or bucket (default: results)")
    parser.add_argument("--only", metavar="EXPERIMENT", action="append", default=[], help="run these experiments only")
    parser.add_argument(
        "--set",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="replace a setting of the study, such as recipe.steps=2000",
    )
    parser.add_argument("--member", metavar="ID", help="run this member only")
    parser.add_argument("--plan", action="store_true", help="print what there is to do, and start nothing")
    parser.add_argument("--local", action="store_true", help="train in this process, without Ray")
    parser.add_argument("--address", metavar="ADDR", help="the Ray cluster to join")
    parser.add_argument("--no-report", action="store_true", help="do not build the page at the end")
    return parser


def _plan(study: Study, store: "Store | None", options: argparse.Namespace) -> "Plan":
    """Hold a study against what is stored; against nothing where there is no store."""
    from rdstudy.plan import make_plan

    return make_plan(
        study,
        store.outcomes() if store else {},
        only=options.only,
        member_id=options.member,
        unmeasured=store.unmeasured(study.measures.measures_id)
        if store and (study.measures.names or study.measures.annealing)
        else {},
    )


def _existing_store(out: str) -> "Store | None":
    """The results folder, which is not made where there is none."""
    from rdstudy.results.store import Store

    return Store.open(out) if Store.exists(out) else None


def _run(study: Study, options: argparse.Namespace) -> int:
    from rdstudy.plan import declaration
    from rdstudy.results.store import Store

    plan = _plan(study, None, options)  # a mistake in the study is found before a results folder is made
    store = Store.create(options.out)
    for bad in store.set_aside_damaged():
        print(f"{bad.path} was damaged ({bad.reason}): set aside as {bad.path}.damaged, its members are trained again")
    plan = _plan(study, store, options)
    store.declare(study.name, declaration(plan, _command(options)))
    _keep_examples(plan, store)
    print(describe_plan(plan, options.out), flush=True)
    interrupted = False
    if plan.packs:
        interrupted = _train(plan, store, options)
    else:
        print("nothing to do: all members are stored")
    if interrupted:
        print(f"interrupted; nothing that was stored is lost. Go on with: {_command(options)}")
        return _INTERRUPTED
    if not options.no_report:
        from rdstudy.report.build import build_report

        print(f"report: {build_report(options.out, study=study.name)}")
    return _outcome(_plan(study, store, options), store, options)


def _train(plan: "Plan", store: "Store", options: argparse.Namespace) -> bool:
    """Train what remains; True when the user interrupted it."""
    from rdstudy.progress import ProgressLine

    with _Interrupt() as interrupt:
        if options.local:
            line = ProgressLine(plan.packs, workers="1 process")
            _train_here(plan, store, line, interrupt.asked)
        else:
            line = _train_on_ray(plan, store, options.address, interrupt.asked)
        line.close()
        return interrupt.asked()


def _train_here(plan: "Plan", store: "Store", line: Any, should_stop: Callable[[], bool]) -> None:
    from rdstudy.worker import find_device, run_pack

    resources = plan.study.resources
    device = find_device(resources.gpus)
    for pack in plan.packs:
        events = run_pack(
            pack,
            store,
            device=device,
            resources=resources,
            measures=plan.study.measures,
        )
        for progress in events:
            line.update(pack.pack_id, progress)
            if should_stop():
                events.close()
                return


def _train_on_ray(plan: "Plan", store: "Store", address: str | None, should_stop: Callable[[], bool]) -> "ProgressLine":
    """Train packs as trials, again and again until every member has a row: no trial's end is taken on trust."""
    from rdstudy import cluster
    from rdstudy.progress import ProgressLine

    resources = plan.study.resources
    with cluster.connected(address, resources) as workers:
        line = ProgressLine(plan.packs, workers=workers)
        packs = plan.packs
        for _ in range(_ROUNDS):
            errors = cluster.run_packs(
                packs,
                store,
                resources=resources,
                measures=plan.study.measures,
                on_progress=line.update,
                should_stop=should_stop,
            )
            _store_dead(packs, store, errors)
            stored = store.outcomes()
            packs = tuple(pack for pack in packs if any(one.member_id not in stored for one in pack.members))
            if not packs or should_stop():
                break
            logger.warning("%d packs ended without all their rows; started again", len(packs))
    return line


def _store_dead(packs: "Sequence[Pack]", store: "Store", errors: dict[str, str]) -> None:
    """A row for every member whose trial died more often than it is started again."""
    if not errors:
        return
    import torch

    from rdstudy.packs import Pack
    from rdstudy.worker import store_failed

    stored = store.outcomes()
    for pack in packs:
        lost = tuple(member for member in pack.members if member.member_id not in stored)
        if pack.pack_id in errors and lost:
            store_failed(store, Pack(lost), errors[pack.pack_id], device=torch.device("cpu"))


def _keep_examples(plan: "Plan", store: "Store") -> None:
    from rdstudy.datasets.examples import example_rows

    for dataset in sorted({member.dataset for member in plan.wanted}):
        if not store.has_examples(dataset):
            store.write_examples(dataset, example_rows(dataset))


def _outcome(plan: "Plan", store: "Store", options: argparse.Namespace) -> int:
    """List what is not ok, grouped by cause, with the command that reruns one."""
    unmeasured = sum(len(pack.members) for pack in plan.packs if pack.runs)
    if unmeasured:
        print(f"{unmeasured} members were not measured; to measure them: {_command(options)}")
    not_ok = [m.member_id for m in plan.wanted if plan.outcomes.get(m.member_id) != "ok"]
    if not not_ok:
        return _SOME_NOT_OK if unmeasured else _OK
    members = store.read("members").select(["member_id", "reason"]).to_pylist()
    reasons = {row["member_id"]: row["reason"] for row in members}
    causes: dict[str, list[str]] = {}
    for member_id in not_ok:
        causes.setdefault(reasons.get(member_id) or "no row was stored", []).append(member_id)
    print(f"{len(not_ok)} of {len(plan.wanted)} members are not ok:")
    for cause, ids in sorted(causes.items(), key=lambda item: -len(item[1]))[:_MOST_CAUSES]:
        print(f"  {len(ids)} × {cause}\n      rerun one: {_command(options)} --local --member {ids[0]}")
    if len(causes) > _MOST_CAUSES:
        print(f"  and {len(causes) - _MOST_CAUSES} other causes, all on the page")
    return _SOME_NOT_OK


def _command(options: argparse.Namespace) -> str:
    """The command that goes on with this run."""
    words = ["python", "-m", "rdstudy.run", options.study]
    if options.out != "results":
        words += ["--out", options.out]
    for name in options.only:
        words += ["--only", name]
    for assignment in options.set:
        words += ["--set", assignment]
    return shlex.join(words)


class _Interrupt:
    """The first Ctrl-C asks for an orderly end, the second ends at once."""

    def __enter__(self) -> "_Interrupt":
        self._asked = False
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("\nstopping: saving checkpoints; Ctrl-C again to stop at once", file=sys.stderr, flush=True)

    def asked(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._asked


def _is_users_mistake(error: ValueError) -> bool:
    """Whether a ValueError was raised by this package itself: those of libraries are a program's fault."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(Path(__file__).resolve().parent)


def _line_in(path: str, error: BaseException) -> int | str:
    """The last line of the study file that led to an error."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith(path)]
    return lines[-1] if lines and lines[-1] else "?"


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
