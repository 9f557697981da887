"""A pack as a Ray Tune trial: trains it through `rdstudy.running.worker` and reports a few scalars.

Rows and checkpoints go to the store, not through Ray: a trial that is started again, by this run or by the same command
tomorrow, goes on from there.
"""

import contextlib
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.result import TIMESTEPS_TOTAL

from rdstudy.planning.packs import trial_pack
from rdstudy.results.store import Store
from rdstudy.running.failures import OtherFolderError, VersionsError
from rdstudy.running.progress import PackProgress
from rdstudy.running.provenance import versions
from rdstudy.running.worker import PackEvents, find_device, run_pack
from rdstudy.study import Measures, Member, Resources
from rdstudy.study.sources import Source, keep_sources

_STEP_SECONDS = 4.0  # between two reports of a trial; each wakes the driver and Ray: at 1 s, 2 % of a core
_ANSWER_SECONDS = 5.0  # that a trial waits for the driver


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a run share.

    Packs are by their ids: the settings of the members, and their runs where they are only to be measured.
    """

    packs: Mapping[str, tuple[list[dict[str, Any]], tuple[str, ...]]]
    uri: str  # of the store
    identity: str  # of the store, as the driver sees it
    resources: Resources
    measures: Measures | None  # what is measured after training; None for nothing
    versions: Mapping[str, str]  # of the driver, which every trial must have too
    tracked: bool  # whether anybody wants D, R and ELBO: Tune keeps what is reported, and of many trials that is much
    sources: Mapping[str, Source]  # files of the user's own parts, by digest: through Ray, never out of the store
    stop: Any  # a handle of `rdstudy.running.stopping.StopSignal`


class PackTrial(tune.Trainable):  # type: ignore[misc]
    """One pack as a Tune trial. Its process is used again for the next pack.

    Its configuration: `pack` names one of the packs of `TrialSettings`; `gpus` is its share of a GPU; `tried` lists
    ids of packs that have raised an exception before. The rest is for people, and for Ray.
    """

    def setup(self, config: dict[str, Any], settings: TrialSettings) -> None:
        """Make ready for the pack that `config` names."""
        self._settings = settings
        keep_sources(settings.sources)
        self._events: PackEvents | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Make ready for another pack, in the same process."""
        self.cleanup()
        members, runs = self._settings.packs[new_config["pack"]]
        self._pack = trial_pack(tuple(Member.from_dict(settings) for settings in members), runs)
        self._last: PackProgress | None = None
        self._events = self._run(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train for a few seconds, and report how far the pack is."""
        if self._is_to_end():
            self.cleanup()
            self._last = self._last or PackProgress(0, 0, 0.0)
            return self._report(done=True)
        started = time.monotonic()
        for event in self._events or ():
            self._last = event
            if time.monotonic() - started > _STEP_SECONDS:
                return self._report(done=False)
        return self._report(done=True)

    def cleanup(self) -> None:
        """Stop where the pack is; a checkpoint is kept."""
        if self._events is not None:
            self._events.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what a trial needs to go on is in the store, where the next run finds it too."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing, as above."""

    def _run(self, config: Mapping[str, Any]) -> PackEvents:
        """Run the pack. All that can fail is here, since an exception of `setup` does not reach the driver whole."""
        settings = self._settings
        if differ := describe_difference(versions(), settings.versions):
            raise VersionsError(differ)
        store = Store(settings.uri)
        if problem := folder_problem(store, settings.identity):
            raise OtherFolderError(
                f"results folder {store.uri}: {problem}; allowed: one that all nodes share, s3://, gs://"
            )
        store.hold(settings.identity)
        events = run_pack(
            self._pack,
            store,
            device=find_device(config["gpus"]),
            resources=settings.resources,
            measures=settings.measures,
            tried=config["tried"],
            can_grow=config["gpus"] < 1,  # of a CPU, the driver knows whether there is more
        )
        with contextlib.closing(events):
            yield from events

    def _is_to_end(self) -> bool:
        try:
            return bool(ray.get(self._settings.stop.given.remote(), timeout=_ANSWER_SECONDS))
        except ray.exceptions.RayError:
            return False  # a driver that is gone stops its trials by itself

    def _report(self, *, done: bool) -> dict[str, Any]:
        nothing_left = PackProgress(len(self._pack.members), 0, 1.0)
        progress = self._last or nothing_left
        report = {name: getattr(progress, name) for name in ("members_done", "members_not_ok", "share")}
        if self._settings.tracked:
            steps = round(progress.share * self._pack.members[0].recipe.steps)
            report |= {**progress.values, TIMESTEPS_TOTAL: steps}
        return {**report, "done": done}


def folder_problem(store: Store, identity: str) -> str:
    """Why a store is not the driver's from here, which has this identity; empty where it is.

    Raises:
        StorageError: it cannot be read.
    """
    try:
        return "" if store.identity() == identity else f"another folder lies there on {platform.node()}"
    except FileNotFoundError:
        return f"no results folder is there on {platform.node()}"


def describe_difference(theirs: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """`torch 2.9.0, here 2.13.0` for whatever differs; an empty string where nothing does."""
    return ", ".join(
        f"{name} {theirs.get(name)}, here {here}" for name, here in expected.items() if theirs.get(name) != here
    )
