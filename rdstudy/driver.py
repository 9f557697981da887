"""Trains what remains of a plan, here or as trials on Ray, until every member has a row or the user stops it."""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any

from rdstudy.packs import Pack
from rdstudy.plan import Plan
from rdstudy.progress import ProgressLine
from rdstudy.results.store import Store

_ROUNDS = 3  # of trials, before members without a row are reported as such

logger = logging.getLogger(__name__)


def train(plan: Plan, store: Store, *, local: bool, address: str | None) -> bool:
    """Train what remains; True when the user interrupted it."""
    with _Interrupt() as interrupt:
        if local:
            line = ProgressLine(plan.packs, workers="1 process")
            _train_here(plan, store, line, interrupt.asked)
        else:
            line = _train_on_ray(plan, store, address, interrupt.asked)
        line.close()
        return interrupt.asked()


def _train_here(plan: Plan, store: Store, line: Any, should_stop: Callable[[], bool]) -> None:
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


def _train_on_ray(plan: Plan, store: Store, address: str | None, should_stop: Callable[[], bool]) -> ProgressLine:
    """Train packs as trials, again and again until every member has a row: no trial's end is taken on trust."""
    from rdstudy import cluster

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


def _store_dead(packs: Sequence[Pack], store: Store, errors: dict[str, str]) -> None:
    """A row for every member whose trial died more often than it is started again."""
    if not errors:
        return
    import torch

    from rdstudy.worker import store_failed

    stored = store.outcomes()
    for pack in packs:
        lost = tuple(member for member in pack.members if member.member_id not in stored)
        if pack.pack_id in errors and lost:
            store_failed(store, Pack(lost), errors[pack.pack_id], device=torch.device("cpu"))


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
