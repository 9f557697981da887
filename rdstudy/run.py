"""The command: study file -> plan -> run, here or on a cluster -> report.

    python -m rdstudy.run STUDY.py [--out URI] [--only EXPERIMENT]... [--set recipe.steps=2000]... [--plan]

Exit status: 0 all members done, 1 some not ok or the storage failed, 2 bad input, 130 interrupted. Heavy libraries are
imported where they are needed, so that `--help`, `--plan` and a mistake in a study file answer at once.
"""

import argparse
import contextlib
import logging
import shlex
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from rdstudy.commandline import (
    INTERRUPTED,
    Parser,
    complete,
    describe_settings,
    is_read,
    run_command,
    sigterm_interrupts,
)
from rdstudy.results.address import without_keys
from rdstudy.running.failures import place_of
from rdstudy.running.floors import check_floors
from rdstudy.running.ray_address import named_address
from rdstudy.running.ray_settings import set_environment
from rdstudy.study import Study
from rdstudy.study.checks import fail
from rdstudy.study.shipped import shipped_studies
from rdstudy.study.study import SETTABLE
from rdstudy.study.studyfile import load_study
from rdstudy.study.words import one_line

if TYPE_CHECKING:
    from rdstudy.planning.plan import Plan
    from rdstudy.results.snapshot import Snapshot
    from rdstudy.results.standing import Unasked
    from rdstudy.results.store import Store
    from rdstudy.running.driver import Ended
    from rdstudy.running.log import RunLog

__all__ = ["load_study", "main"]

_OK, _SOME_NOT_OK = 0, 1
_MOST_CAUSES = 10


def main(arguments: Sequence[str] | None = None, *, prog: str = "python -m rdstudy.run") -> int:
    """Run the command and return its exit status."""
    return run_command(make_parser(prog), _answer, arguments)


def _answer(options: argparse.Namespace) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    set_environment()  # a study file may import Ray
    options.out = without_keys(options.out, tell=print)
    _check_options(options)
    check_floors(ray=not options.local)
    study = load_study(options.study).with_settings(options.set)
    if options.follow:
        return _follow(study, options)
    from rdstudy.running.own_images import install_stored_images

    install_stored_images(study, options.out)
    if options.plan:
        from rdstudy.planning.stored import snapshot_for_plan
        from rdstudy.results.store import Store

        store = Store.open(options.out) if Store.exists(options.out) else None
        snapshot = snapshot_for_plan(store) if store else None
        plan = _plan(study, snapshot, options)
        print(_describe(plan, store, snapshot, options))
        return _OK
    return _run(study, options)


def _check_options(options: argparse.Namespace) -> None:
    """Options that mean nothing, or contradict each other."""
    from rdstudy.planning.limits import check_limits

    for name, value in (("--out", options.out), ("--address", options.address)):
        if value is not None and not value.strip():
            raise fail(name, value, "a folder or a URI" if name == "--out" else "host:port")
    for option, contrary in (("local", "address"), ("plan", "follow"), ("wait", "force")):
        if getattr(options, option) and getattr(options, contrary):
            raise ValueError(f"--{option} and --{contrary} contradict each other; allowed: one of them")
    if options.pdb and not (options.local and _is_terminal()):
        lacking = "a terminal, which this is not" if options.local else "--local, which is missing"
        raise ValueError(f"--pdb is for {lacking}; allowed: --local --pdb, typed at a terminal")
    if not (options.local or options.follow):
        named_address(options.address)
    check_limits(max_hours=options.max_hours, max_cost=options.max_cost, price=0.0)  # a price is looked for later


def _is_terminal() -> bool:
    """Whether a person can type to a debugger."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout))


def make_parser(prog: str) -> Parser:
    """What the command takes."""
    parser = Parser(
        prog=prog,
        description="Run a study and build its report.",
        epilog=describe_settings(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    study = parser.add_argument(
        "study",
        metavar="STUDY",
        help="a Python file that defines STUDY; or a study that comes with rdstudy",
    )
    complete(study, lambda _: shipped_studies(), files=True)
    parser.add_argument("--out", metavar="URI", default="results", help="results folder or bucket (default: results)")
    parser.add_list("--only", "EXPERIMENT", "run these experiments only")
    settings = parser.add_list(
        "--set", "NAME=VALUE", "replace a setting of the study, such as recipe.steps=2000: see below"
    )
    complete(settings, lambda _: [f"{name}=" for name in SETTABLE])
    parser.add_argument("--member", metavar="ID", help="run this member only: its id, or the first digits")
    parser.add_argument("--plan", action="store_true", help="print what there is to do, and start nothing")
    parser.add_argument("--local", action="store_true", help="train in this process, without Ray")
    parser.add_argument("--pdb", action="store_true", help="with --local: a debugger where a model's training fails")
    parser.add_argument(
        "--address", metavar="ADDR", help="the Ray to join, HOST:PORT of its head; local: a private one"
    )
    parser.add_argument("--max-hours", metavar="H", type=float, help="stop in order after so many hours")
    parser.add_argument("--max-cost", metavar="USD", type=float, help="stop in order once so much is spent")
    parser.add_argument("--wait", action="store_true", help="wait until no other run is at work on the same models")
    parser.add_argument("--force", action="store_true", help="go on in the place of a run at work on the same models")
    parser.add_argument(
        "--follow", action="store_true", help="watch the run that writes to --out: a table of cells, and its log"
    )
    parser.add_argument("--no-report", action="store_true", help="do not build the page at the end")
    return parser


def _plan(
    study: Study, snapshot: "Snapshot | None", options: argparse.Namespace, *, elsewhere: Collection[str] = ()
) -> "Plan":
    """Hold a study against what is stored; against nothing where there is no store."""
    from rdstudy.planning.estimate import CALIBRATION_COLUMNS
    from rdstudy.planning.plan import make_plan
    from rdstudy.results.tables import trained_runs
    from rdstudy.running.own_parts import check_study

    check_study(study)

    measures = study.measures
    return make_plan(
        study,
        snapshot.outcomes() if snapshot else {},
        runs=trained_runs(snapshot.table("members"), CALIBRATION_COLUMNS) if snapshot else (),
        only=options.only,
        member_id=options.member,
        elsewhere=elsewhere,
        unmeasured=snapshot.unmeasured(measures.measures_id)
        if snapshot and (measures.names or measures.annealing)
        else {},
    )


def _describe(plan: "Plan", store: "Store | None", snapshot: "Snapshot | None", options: argparse.Namespace) -> str:
    """What there is to do, what it will take, and what will stop it before its end."""
    from rdstudy.planning.describe import describe_damaged, describe_limits, describe_plan, describe_unasked

    limits = describe_limits(plan.estimate, max_hours=options.max_hours, max_cost=options.max_cost)
    unasked = _unasked(plan, store, snapshot) if store and snapshot else []
    beside = describe_unasked(plan, unasked, out=options.out, command=_command(_whole(options)))
    damaged = describe_damaged(snapshot.damaged.values() if snapshot else ())
    return "\n".join([describe_plan(plan, options.out), *beside, *damaged, *_lacking(plan, snapshot), *limits])


def _unasked(plan: "Plan", store: "Store", snapshot: "Snapshot") -> "list[Unasked]":
    """What is stored under the study's name and it does not ask for."""
    from rdstudy.results.standing import levels_of, unasked

    wanted = {member.member_id: member for planned in plan.experiments for member in planned.members}
    members = snapshot.table("members")
    return unasked(members, wanted, plan.study.name, store.declarations.readable, levels=levels_of)


def _lacking(plan: "Plan", snapshot: "Snapshot | None") -> list[str]:
    """What the study asks of members that are stored and this results folder cannot get any more, in lines."""
    from rdstudy.planning.describe import describe_lacking

    without = snapshot.without_weights() if snapshot and plan.study.resources.keep_weights else set()
    return describe_lacking(plan, weightless=sum(member.member_id in without for member in plan.wanted))


def _run(study: Study, options: argparse.Namespace) -> int:
    from rdstudy.planning.limits import check_limits
    from rdstudy.results.files import StorageError
    from rdstudy.results.store import Store
    from rdstudy.running.log import RunLog

    check_limits(max_hours=options.max_hours, max_cost=options.max_cost, price=study.resources.price)
    _plan(study, None, options)  # a mistake in the study is found before a results folder is made
    store = Store.create(options.out)
    temporary = store.blobs.temporary_files()  # before this run writes any
    log = RunLog(store, study.name)
    status, why = _OK, "a fault of the program"
    try:
        with sigterm_interrupts():
            status = _run_logged(study, store, options, log, temporary)
        why = f"exit status {status}"
    except KeyboardInterrupt:
        print(f"stopped at once; what was stored is not lost. Go on with: {_command(options)}", flush=True)
        if not options.local:
            print("if this ran on a cluster, `ray down` with its file takes that down", flush=True)
        status, why = INTERRUPTED, "stopped at once"
    except StorageError as error:
        print(f"error: {error}. Go on with: {_command(options)}", file=sys.stderr, flush=True)
        status, why = _SOME_NOT_OK, str(error)
    except ValueError as error:
        why = one_line(error)
        raise
    finally:
        log.close(why)
    return status


def _run_logged(
    study: Study, store: "Store", options: argparse.Namespace, log: "RunLog", temporary: Sequence[str]
) -> int:
    from rdstudy.running.driver import Ended

    def say(text: str) -> None:
        print(text, flush=True)
        log.add(text)

    plan, snapshot = _prepare(study, store, options, temporary, say)
    ended = _train(plan, store, options, log) if plan.packs else Ended()
    if ended.joined:
        say("the cluster is still up; `ray down` with its file takes it down")
    if ended.interrupted:
        say(f"{ended.interrupted}; nothing that was stored is lost. Go on with: {_command(options)}")
        return INTERRUPTED
    if ended.failed:
        say(f"stopped: {ended.failed}\n  see it here: {_command(_alone(options, ended.example))}")
        say(f"nothing that was stored is lost. Go on with: {_command(options)}")
        return _SOME_NOT_OK
    return _finish(plan, store, snapshot or store.snapshot(), options, say)


def _prepare(
    study: Study, store: "Store", options: argparse.Namespace, temporary: Sequence[str], say: Callable[[str], None]
) -> tuple["Plan", "Snapshot | None"]:
    """Tidy the store, declare the study, and say what there is to do.

    Returns:
        The plan, and what is stored; None instead of that where there is something to do, which will change it.
    """
    from rdstudy.planning.plan import check_splits, declaration
    from rdstudy.running.leftovers import remove_leftovers
    from rdstudy.running.own_parts import keep_copies
    from rdstudy.running.provenance import code_version
    from rdstudy.running.sharing import share

    plan, snapshot = share(
        study.name,
        store,
        _usable(store, say),
        lambda snapshot, elsewhere: _plan(study, snapshot, options, elsewhere=elsewhere),
        wait=options.wait,
        force=options.force,
        say=say,
    )
    check_splits(plan)
    remove_leftovers(plan, store, temporary, say)
    declared = declaration(plan, _command(_whole(options)), code_version=code_version())
    if damage := store.declarations.declare(declared):
        say(damage)
    keep_copies(store, study, plan.wanted)
    if _keep_images(plan, store, snapshot):
        snapshot = store.snapshot(("examples",), known=snapshot)
    say(_describe(plan, store, snapshot, options))
    if plan.packs:
        return plan, None
    lacking = bool(_lacking(plan, snapshot))
    say(f"nothing to do: all members are stored{', but not all that the study asks for' if lacking else ''}")
    return plan, snapshot


def _finish(
    plan: "Plan", store: "Store", snapshot: "Snapshot", options: argparse.Namespace, say: Callable[[str], None]
) -> int:
    """Build the page of what is stored now, and say what is not ok."""
    from rdstudy.running.sharing import left_to_others

    if _mend_neighbours(plan, store, snapshot, say):
        snapshot = store.snapshot(("neighbours",), known=snapshot)
    if not options.no_report:
        from rdstudy.report.build import write_page

        say(f"report: {write_page(store, plan.study.name, snapshot=snapshot)}")
    after = _plan(plan.study, snapshot, options) if plan.packs else plan
    return _outcome(after, snapshot, options, say, elsewhere=left_to_others(plan))


def _usable(store: "Store", say: Callable[[str], None]) -> "Snapshot":
    """What is stored, once what is damaged is said and set aside."""
    snapshot = store.snapshot()
    for bad in snapshot.damaged.values():
        say(f"{bad.path} was damaged ({bad.reason}): set aside as {bad.path}.damaged, what it held is made again")
    snapshot = store.rows.set_aside_damaged(snapshot)
    for copy in snapshot.copies:
        say(f"{copy} has a name that no file of a run has: if it is a copy, its rows count once")
    return snapshot


def _follow(study: Study, options: argparse.Namespace) -> int:
    from rdstudy.planning.plan import make_plan
    from rdstudy.results.store import Store
    from rdstudy.running.board import Board
    from rdstudy.running.log import follow

    def wait(seconds: float) -> None:
        if not is_read():
            raise KeyboardInterrupt
        time.sleep(seconds)

    with contextlib.suppress(KeyboardInterrupt):  # the run goes on
        store = Store.open(options.out)
        wanted = make_plan(study, {}, only=options.only, member_id=options.member).wanted
        board = Board(store, study.name, wanted)
        follow(store, study.name, board=board.lines, sleep=wait)
    return _OK


def _train(plan: "Plan", store: "Store", options: argparse.Namespace, log: "RunLog") -> "Ended":
    """Train what remains, seen by others that come here meanwhile."""
    from rdstudy.results.presence import present, this_run
    from rdstudy.running.driver import Limits, train
    from rdstudy.running.sharing import ids_of

    limits = Limits(options.max_hours, options.max_cost)
    with present(store, this_run(plan.study.name, ids_of(plan), log=log.name)) as presence:
        return train(
            plan,
            store,
            local=options.local,
            address=options.address,
            limits=limits,
            log=log,
            presence=presence,
            debugger=options.pdb,
        )


def _mend_neighbours(plan: "Plan", store: "Store", snapshot: "Snapshot", say: Callable[[str], None]) -> bool:
    """Find the neighbours of splits whose file is gone although their members are measured: nobody else will.

    Returns:
        Whether any were stored.
    """
    measures = plan.study.measures
    gone = snapshot.without_neighbours(plan.wanted, measures) if measures.names else []
    unmeasured = snapshot.unmeasured(measures.measures_id) if gone else {}
    stored = snapshot.outcomes() if gone else {}
    mended = False
    for key, members in gone:
        if any(stored.get(each.member_id) == "ok" and each.member_id not in unmeasured for each in members):
            from rdstudy.running.worker import store_neighbours

            say(f"the neighbours of {key.dataset}, {key.split} are gone: finding them again")
            store_neighbours(store, members[0], measures, resources=plan.study.resources)
            mended = True
    return mended


def _keep_images(plan: "Plan", store: "Store", snapshot: "Snapshot") -> bool:
    """Keep pictures for the page, and images of one's own for other nodes.

    Returns:
        Whether pictures were stored that were not there.
    """
    from rdstudy.datasets.examples import example_rows
    from rdstudy.datasets.own import own_files

    datasets = sorted({member.dataset for member in plan.wanted})
    lacking = [dataset for dataset in datasets if not snapshot.has_examples(dataset)]
    for dataset in datasets:
        store.blobs.write_dataset(dataset, own_files(dataset))
    for dataset in lacking:
        store.rows.write_examples(dataset, example_rows(dataset))
    return bool(lacking)


def _outcome(
    plan: "Plan",
    snapshot: "Snapshot",
    options: argparse.Namespace,
    say: Callable[[str], None],
    *,
    elsewhere: Collection[str] = (),
) -> int:
    """Say what is lacking, and list what is not ok, grouped by cause, with the command that reruns one."""
    for line in _lacking(plan, snapshot):
        say(line)
    unmeasured = sum(len(pack.members) for pack in plan.measuring)
    if unmeasured:
        say(f"{unmeasured} members were not measured; to measure them: {_command(options)}")
    not_ok = [m.member_id for m in plan.wanted if plan.outcomes.get(m.member_id) != "ok"]
    at_work = {member_id for member_id in not_ok if member_id in elsewhere and member_id not in plan.outcomes}
    if at_work:
        say(f"{len(at_work)} models were left to another run; once it has ended: {_command(options)}")
        not_ok = [member_id for member_id in not_ok if member_id not in at_work]
        if not not_ok:
            return _SOME_NOT_OK
    if not not_ok:
        return _SOME_NOT_OK if unmeasured else _OK
    say(f"{len(not_ok)} of {len(plan.wanted)} members are not ok:")
    for line in _causes(not_ok, snapshot, options):
        say(line)
    return _SOME_NOT_OK


def _causes(not_ok: Sequence[str], snapshot: "Snapshot", options: argparse.Namespace) -> Iterator[str]:
    """Lines on members that are not ok, by their ids: how many for one reason, where, and how to see one of them."""
    rows = {row["member_id"]: row for row in snapshot.rows("members", ["member_id", "reason", "traceback"])}
    causes: dict[str, list[str]] = {}
    for member_id in not_ok:
        causes.setdefault(rows.get(member_id, {}).get("reason") or "no row was stored", []).append(member_id)
    for cause, ids in sorted(causes.items(), key=lambda item: -len(item[1]))[:_MOST_CAUSES]:
        place = place_of(rows.get(ids[0], {}).get("traceback") or "")
        yield f"  {len(ids)} × {cause}" + (f"\n      at {place}" if place else "")
        yield f"      rerun one: {_command(_alone(options, ids[0]))}"
    if len(causes) > _MOST_CAUSES:
        yield f"  and {len(causes) - _MOST_CAUSES} other causes, all on the page"


def _command(options: argparse.Namespace) -> str:
    """The command that goes on with this run: all that was asked for, its limits too."""
    words = ["python", "-m", "rdstudy.run", options.study]
    if options.out != "results":
        words += ["--out", options.out]
    for flag, values in (("--only", options.only), ("--set", options.set)):
        words += [word for value in values for word in (flag, value)]
    if options.local:
        words += ["--local"]
    elif options.address:
        words += ["--address", options.address]
    # not --wait or --force: they answered what another run was at then
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


if __name__ == "__main__":
    sys.exit(main())
