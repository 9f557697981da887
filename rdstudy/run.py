"""The command: study file -> plan -> run, here or on a cluster -> report.

    python -m rdstudy.run STUDY.py [--out URI] [--only EXPERIMENT]... [--set recipe.steps=2000]... [--plan]

Exit status: 0 all members done, 1 some not ok or the storage failed, 2 bad input, 130 interrupted. Heavy libraries are
imported where they are needed, so that `--help`, `--plan` and a mistake in a study file answer at once.
"""

import argparse
import contextlib
import importlib.util
import logging
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rdstudy.checks import one_line
from rdstudy.commandline import Parser, answer
from rdstudy.ray_settings import set_environment
from rdstudy.study import Study

if TYPE_CHECKING:
    from rdstudy.plan import Plan
    from rdstudy.results.store import Store
    from rdstudy.runlog import RunLog

_OK, _SOME_NOT_OK, _INTERRUPTED = 0, 1, 130
_MOST_CAUSES = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    set_environment()  # a study file may import Ray
    return answer(lambda: _answer(options))


def _answer(options: argparse.Namespace) -> int:
    study = load_study(options.study).with_settings(options.set)
    if options.follow:
        return _follow(study, options)
    if options.plan:
        print(_describe(_plan(study, _existing_store(options.out), options), options))
        return _OK
    return _run(study, options)


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


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m rdstudy.run", description="Run a study and build its report.")
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
    parser.add_argument("--max-hours", metavar="H", type=float, help="stop in order after so many hours")
    parser.add_argument("--max-cost", metavar="USD", type=float, help="stop in order once so much is spent")
    parser.add_argument("--follow", action="store_true", help="print the log of the run that writes to --out")
    parser.add_argument("--no-report", action="store_true", help="do not build the page at the end")
    return parser


def _plan(study: Study, store: "Store | None", options: argparse.Namespace) -> "Plan":
    """Hold a study against what is stored; against nothing where there is no store."""
    from rdstudy.estimate import CALIBRATION_COLUMNS
    from rdstudy.plan import make_plan

    members = store.read("members").select([*CALIBRATION_COLUMNS, "member_id"]).to_pylist() if store else []
    return make_plan(
        study,
        {row["member_id"]: row["outcome"] for row in members},
        rows=members,
        only=options.only,
        member_id=options.member,
        unmeasured=store.unmeasured(study.measures.measures_id)
        if store and (study.measures.names or study.measures.annealing)
        else {},
    )


def _describe(plan: "Plan", options: argparse.Namespace) -> str:
    """What there is to do, what it will take, and what will stop it before its end."""
    from rdstudy.describe import describe_limits, describe_plan

    limits = describe_limits(plan.estimate, max_hours=options.max_hours, max_cost=options.max_cost)
    return "\n".join([describe_plan(plan, options.out), *limits])


def _existing_store(out: str) -> "Store | None":
    """The results folder, which is not made where there is none."""
    from rdstudy.results.store import Store

    return Store.open(out) if Store.exists(out) else None


def _run(study: Study, options: argparse.Namespace) -> int:
    from rdstudy.meter import check_limits
    from rdstudy.results.files import StorageError
    from rdstudy.results.store import Store
    from rdstudy.runlog import RunLog

    check_limits(max_hours=options.max_hours, max_cost=options.max_cost, price=study.resources.price)
    _plan(study, None, options)  # a mistake in the study is found before a results folder is made
    store = Store.create(options.out)
    log = RunLog(store, study.name)
    status, why = _OK, "a fault of the program"
    try:
        status = _run_logged(study, store, options, log)
        why = f"exit status {status}"
    except KeyboardInterrupt:
        print(f"stopped at once; what was stored is not lost. Go on with: {_command(options)}", flush=True)
        if not options.local:
            print("if this ran on a cluster, `ray down` with its file takes that down", flush=True)
        status, why = _INTERRUPTED, "stopped at once"
    except StorageError as error:
        print(f"error: {error}. Go on with: {_command(options)}", file=sys.stderr, flush=True)
        status, why = _SOME_NOT_OK, str(error)
    except ValueError as error:
        why = one_line(error)
        raise
    finally:
        log.close(why)
    return status


def _run_logged(study: Study, store: "Store", options: argparse.Namespace, log: "RunLog") -> int:
    from rdstudy.driver import Ended, Limits, train
    from rdstudy.plan import declaration

    def say(text: str) -> None:
        print(text, flush=True)
        log.add(text)

    for bad in store.set_aside_damaged():
        say(f"{bad.path} was damaged ({bad.reason}): set aside as {bad.path}.damaged, its members are trained again")
    plan = _plan(study, store, options)
    _forget_checkpoints(plan, store)
    store.declare(study.name, declaration(plan, _command(_whole(options))))
    _keep_images(plan, store)
    say(_describe(plan, options))
    ended = Ended()
    if plan.packs:
        limits = Limits(options.max_hours, options.max_cost)
        ended = train(plan, store, local=options.local, address=options.address, limits=limits, log=log)
    else:
        say("nothing to do: all members are stored")
    if ended.joined:
        say("the cluster is still up; `ray down` with its file takes it down")
    if ended.interrupted:
        say(f"{ended.interrupted}; nothing that was stored is lost. Go on with: {_command(options)}")
        return _INTERRUPTED
    if ended.failed:
        say(f"stopped: {ended.failed}\n  see it here: {_command(_alone(options, ended.example))}")
        say(f"nothing that was stored is lost. Go on with: {_command(options)}")
        return _SOME_NOT_OK
    if not options.no_report:
        from rdstudy.report.build import build_report

        say(f"report: {build_report(options.out, study=study.name)}")
    return _outcome(_plan(study, store, options), store, options, say)


def _follow(study: Study, options: argparse.Namespace) -> int:
    from rdstudy.results.store import Store
    from rdstudy.runlog import follow

    with contextlib.suppress(KeyboardInterrupt):  # the run goes on
        follow(Store.open(options.out), study.name)
    return _OK


def _forget_checkpoints(plan: "Plan", store: "Store") -> None:
    """Delete checkpoints of what is stored, of packs on a GPU and of single members: killed between the two."""
    from rdstudy.packs import Pack

    remaining = set(plan.remaining)
    units = [*plan.cut, *(Pack((member,)) for member in plan.wanted)]
    stored = {unit.pack_id for unit in units if remaining.isdisjoint(unit.members)}
    for unit in stored & set(store.checkpoint_units()):
        store.delete_checkpoints(unit)


def _keep_images(plan: "Plan", store: "Store") -> None:
    """Keep pictures for the page, and images of one's own for other nodes."""
    from rdstudy.datasets.examples import example_rows
    from rdstudy.datasets.own import own_files

    for dataset in sorted({member.dataset for member in plan.wanted}):
        store.write_dataset(dataset, own_files(dataset))
        if not store.has_examples(dataset):
            store.write_examples(dataset, example_rows(dataset))


def _outcome(plan: "Plan", store: "Store", options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """List what is not ok, grouped by cause, with the command that reruns one."""
    unmeasured = sum(len(pack.members) for pack in plan.packs if pack.runs)
    if unmeasured:
        say(f"{unmeasured} members were not measured; to measure them: {_command(options)}")
    not_ok = [m.member_id for m in plan.wanted if plan.outcomes.get(m.member_id) != "ok"]
    if not not_ok:
        return _SOME_NOT_OK if unmeasured else _OK
    members = store.read("members").select(["member_id", "reason"]).to_pylist()
    reasons = {row["member_id"]: row["reason"] for row in members}
    causes: dict[str, list[str]] = {}
    for member_id in not_ok:
        causes.setdefault(reasons.get(member_id) or "no row was stored", []).append(member_id)
    say(f"{len(not_ok)} of {len(plan.wanted)} members are not ok:")
    for cause, ids in sorted(causes.items(), key=lambda item: -len(item[1]))[:_MOST_CAUSES]:
        say(f"  {len(ids)} × {cause}\n      rerun one: {_command(_alone(options, ids[0]))}")
    if len(causes) > _MOST_CAUSES:
        say(f"  and {len(causes) - _MOST_CAUSES} other causes, all on the page")
    return _SOME_NOT_OK


def _command(options: argparse.Namespace) -> str:
    """The command that goes on with this run: all that was asked for, its limits too."""
    words = ["python", "-m", "rdstudy.run", options.study]
    if options.out != "results":
        words += ["--out", options.out]
    for name in options.only:
        words += ["--only", name]
    for assignment in options.set:
        words += ["--set", assignment]
    if options.local:
        words += ["--local"]
    elif options.address:
        words += ["--address", options.address]
    for flag, value in (
        ("--member", options.member),
        ("--max-hours", options.max_hours),
        ("--max-cost", options.max_cost),
    ):
        if value is not None:
            words += [flag, f"{value}"]
    if options.no_report:
        words += ["--no-report"]
    return shlex.join(words)


def _alone(options: argparse.Namespace, member_id: str | None) -> argparse.Namespace:
    """The same, for one member in one process."""
    return argparse.Namespace(**{**vars(options), "local": True, "member": member_id})


def _whole(options: argparse.Namespace) -> argparse.Namespace:
    """The same, for all of the study: its page counts what was not asked for too, and says how to train it."""
    return argparse.Namespace(**{**vars(options), "only": [], "member": None})


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
