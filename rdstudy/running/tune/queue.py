"""The packs that are still to be trained, as what Tune calls a searcher: it hands out one pack after the other.

A pack whose trial came to no end is handed out again before all that were not handed out yet, on a larger share where
that helps. So a spot node may vanish as often as it likes, and a pack waits at most for those that Tune has already.
"""

import functools
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from rdstudy.planning.packs import TrialPack
from rdstudy.planning.placement import Placement
from rdstudy.running.failures import Cause, Failure, Failures, Remedy
from rdstudy.study import Resources
from rdstudy.study.factors import CELL_FACTORS

_OUT_OF_MEMORY = "out of memory on the whole of what a node has: "


class Unkept:
    """What is of this process alone: Tune keeps a copy of it in its records, which nobody reads."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class PackQueue(Unkept, Searcher):  # type: ignore[misc]
    """Hands out packs as configurations of `PackTrial`.

    Args:
        packs: in the order in which they are started.
        placements: pack id -> share of a GPU; empty on a CPU.
        resources: of the study.
        most_cpus: tells the CPU cores of the largest node that is up.
        failures: what is known of failed tries.
    """

    def __init__(
        self,
        packs: Sequence[TrialPack],
        *,
        placements: Mapping[str, Placement],
        resources: Resources,
        most_cpus: Callable[[], int],
        failures: Failures,
    ) -> None:
        super().__init__()
        self.given_up: dict[str, str] = {}
        """Pack id -> why."""
        self._most_cpus, self._failures = most_cpus, failures
        self._configure = functools.partial(_configuration, placements=placements, resources=resources)
        self._packs = deque(packs)  # a configuration is made as it is handed out: a hundred thousand are 60 MB
        self._again: deque[dict[str, Any]] = deque()  # configurations that came back
        self._given: set[str] = set()  # trials that are neither done nor failed
        self._closed = False

    def close(self) -> None:
        """Hand out nothing more."""
        self._closed = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next pack; None while one that is handed out may come back."""
        if (self._again or self._packs) and not self._closed:
            self._given.add(trial_id)
            return self._again.popleft() if self._again else self._configure(self._packs.popleft())
        return None if self._given and not self._closed else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial ended; of one that failed, `failed` is told next."""
        self._given.discard(trial_id)

    def failed(self, config: Mapping[str, Any], failure: Failure) -> Remedy:
        """Decide on a pack whose trial failed, and hand it out again where that is the remedy."""
        remedy = self._failures.failed(failure)
        config = {**config, "tried": sorted(self._failures.tried.get(failure.pack_id, ()))}
        if remedy is Remedy.LARGER:
            most_cpus = self._most_cpus()
            larger = _larger(config, most_cpus)
            if larger != config:
                config = larger
            elif not config["gpus"] and most_cpus < config["cpus"]:
                remedy = Remedy.AGAIN  # its node is gone, and what another one has is not known yet
            else:
                remedy = self._failures.no_larger(failure)
        if remedy is Remedy.GIVE_UP:
            where = _OUT_OF_MEMORY if failure.cause is Cause.MEMORY else ""
            self.given_up[failure.pack_id] = where + failure.reason
        else:
            self._again.appendleft(config)
        return remedy

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what remains is told by the store."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as above."""


def request(config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
    """What the trial of one pack asks of Ray; a pack without a share asks for no GPU."""
    return tune.PlacementGroupFactory(
        [{"CPU": float(config["cpus"]), **({"GPU": config["gpus"]} if config["gpus"] else {})}]
    )


def _configuration(pack: TrialPack, *, placements: Mapping[str, Placement], resources: Resources) -> dict[str, Any]:
    """What `PackTrial` is told, and what an experiment tracker shows of it."""
    placement = placements.get(pack.pack_id)
    betas = [member.beta for member in pack.members]
    ids = ", ".join(member.member_id for member in pack.members)
    return {
        "pack": pack.pack_id,
        "cpus": resources.cpus,
        "gpus": placement.share if placement else 0.0,
        "tried": [],
        "members": len(pack.members),
        "member_ids": ids,
        "beta": _level(pack, "beta"),
        "seed": _level(pack, "seed"),
        "beta_min": min(betas),
        "beta_max": max(betas),
        **{name: _level(pack, name) for name in CELL_FACTORS},
    }


def _level(pack: TrialPack, factor: str) -> Any:
    """The level of a factor of a pack's members; of those that differ, in words."""
    levels = tuple(dict.fromkeys(member.level(factor) for member in pack.members))
    return levels[0] if len(levels) == 1 else ", ".join(map(str, levels))


def _larger(config: Mapping[str, Any], most_cpus: int) -> dict[str, Any]:
    """The configuration with twice the share of a GPU, or twice the cores; the same where there is no more.

    With more cores to each, fewer trials share the memory of a node.
    """
    if config["gpus"]:
        return {**config, "gpus": 1 / max(1, math.floor(1 / (2 * config["gpus"]) + 1e-9))}
    return {**config, "cpus": max(config["cpus"], min(2 * config["cpus"], most_cpus))}
