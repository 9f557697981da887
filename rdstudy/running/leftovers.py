"""What killed runs left in a store and nobody will ever read: half-written files, and checkpoints of finished packs."""

from collections.abc import Callable, Sequence

from rdstudy.planning.packs import Pack
from rdstudy.planning.plan import Plan
from rdstudy.results.presence import is_here_and_dead, runs_at_work
from rdstudy.results.store import Store
from rdstudy.study.settings import Resources


def remove_leftovers(plan: Plan, store: Store, temporary: Sequence[str], say: Callable[[str], None]) -> None:
    """Say what is left over, and delete it, where no other run may be at work.

    `temporary` are those of `Blobs.temporary_files`, before this run wrote anything.
    """
    for run in runs_at_work(store):
        if not is_here_and_dead(run):
            return
        store.blobs.delete_run(run.token)
    stored = set(store.blobs.checkpoint_packs())
    checkpoints = sorted(stored - packs_to_come(plan, store)) if stored else []
    if temporary or checkpoints:
        say(
            f"deleting what killed runs left: {len(temporary)} half-written files and the checkpoints of "
            f"{len(checkpoints)} packs that nobody will train"
        )
    for name in temporary:
        store.blobs.delete_temporary(name)
    for pack_id in checkpoints:
        store.blobs.delete_checkpoints(pack_id)


def packs_to_come(plan: Plan, store: Store) -> set[str]:
    """Ids of the packs that this study, or another of the store, may still train.

    How packs are cut depends on the GPUs of a machine: of studies that train on GPUs, but for what this plan trains,
    all packs that have checkpoints are taken for some.
    """
    trained = {member_id for member_id, outcome in plan.outcomes.items() if outcome != "failed"}
    packs = list(plan.training)
    packs += [half for pack in packs for half in _halves(pack)]
    members = [member for planned in plan.experiments for member in planned.members]
    whole = len(plan.wanted) == len(set(members))
    keep_all = bool(plan.study.resources.gpus) and not whole
    for name in store.declarations.names():
        try:
            declaration = store.declarations.read(name)
            members += [declaration.member(member_id) for member_id in declaration.members]
            keep_all |= name != plan.study.name and bool(declaration.settings(Resources).gpus)
        except ValueError:  # damaged, or of another version
            keep_all = True
    packs += [Pack((member,)) for member in set(members) if member.member_id not in trained]
    pack_ids = {pack.pack_id for pack in packs}
    if keep_all:  # but for packs of which all members are stored: killed before their checkpoints were deleted
        cut = (*plan.cut, *(Pack((member,)) for member in plan.wanted))
        finished = {pack.pack_id for pack in cut if all(member.member_id in trained for member in pack.members)}
        pack_ids |= set(store.blobs.checkpoint_packs()) - finished
    return pack_ids


def _halves(pack: Pack) -> list[Pack]:
    """What a pack is divided into where memory is too small, down to single members."""
    if len(pack.members) == 1:
        return []
    halves = list(pack.halves())
    return halves + [smaller for half in halves for smaller in _halves(half)]
