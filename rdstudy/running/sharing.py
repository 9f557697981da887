"""Two runs in one store: who is at work there already, and what is left for this one.

A member at which another run is at work is left to it: trained twice it would be paid for twice, and read once.
"""

import functools
import time
from collections.abc import Callable, Collection

from rdstudy.planning.plan import Plan
from rdstudy.results.presence import Run, is_alive, overlapping, runs_at_work, take_over, this_run
from rdstudy.results.snapshot import Snapshot
from rdstudy.results.store import Store

_LOOK_SECONDS = 5.0

MakePlan = Callable[[Snapshot, Collection[str]], Plan]


def share(
    study: str,
    store: Store,
    snapshot: Snapshot,
    make_plan: MakePlan,
    *,
    wait: bool,
    force: bool,
    say: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Plan, Snapshot]:
    """The plan of what no other run is at work on, and what it is made from.

    Args:
        study: its name.
        store: where other runs may be at work.
        snapshot: of the store; where this run waits for another one, the store is read again after it.
        make_plan: makes the plan from a snapshot, without some members, given by their ids.
        wait: whether to wait until no other run is at work on any of these members.
        force: whether to go on in the place of the others, which stop if they are alive.
        say: told what is decided.
        sleep: waits for so many seconds.

    Raises:
        ValueError: other runs are at work on all that remains.
    """
    while True:
        plan = make_plan(snapshot, ())
        rivals = living(store, ids_of(plan), say, sleep=sleep)
        if force:
            for run in rivals:
                say(f"{run} is told to stop: this one goes on in its place")
                take_over(store, run, this_run(study, ()))
            return plan, snapshot
        if not rivals:
            return plan, snapshot
        if not wait:
            return _left(rivals, plan, functools.partial(make_plan, snapshot), say), snapshot
        say(f"waiting until {rivals[0]} has ended")
        while rivals and is_alive(store, rivals[0], sleep=sleep) and rivals[0] in runs_at_work(store):
            sleep(_LOOK_SECONDS)
        snapshot = store.snapshot()


def ids_of(plan: Plan) -> tuple[str, ...]:
    """The members that a plan trains or measures."""
    return tuple(member.member_id for pack in plan.packs for member in pack.members)


def living(
    store: Store,
    member_ids: Collection[str],
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Run]:
    """Runs that are at work on some of these members; what dead ones put down is deleted."""
    alive = []
    for run in overlapping(runs_at_work(store), member_ids):
        say(f"{run} was at work here: looking whether it still is")
        if is_alive(store, run, sleep=sleep):
            alive.append(run)
        else:
            say("it is not")
            store.blobs.delete_run(run.token)
    return alive


def left_to_others(plan: Plan) -> set[str]:
    """Ids of members that remain, and that the plan leaves to runs at work on them."""
    remaining = {each.member_id for each in plan.wanted if plan.outcomes.get(each.member_id) not in ("ok", "nonfinite")}
    return remaining - set(ids_of(plan))


def _left(
    rivals: list[Run], plan: Plan, make_plan: Callable[[Collection[str]], Plan], say: Callable[[str], None]
) -> Plan:
    """The plan without what others are at work on."""
    claimed = {member_id for run in rivals for member_id in run.member_ids}
    left = make_plan(claimed)
    both = len(claimed.intersection(ids_of(plan)))
    if not left.packs:
        raise ValueError(
            f"{rivals[0]} is at work on the same {both} models; allowed: --follow to watch it, --wait to go on after "
            "it, --force to go on in its place"
        )
    say(f"{both} models are left to {rivals[0]}")
    return left
