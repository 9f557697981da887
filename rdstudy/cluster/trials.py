"""A pack as a Ray Tune trial, and the run of all packs.

A trial trains one pack through `rdstudy.worker` and reports four scalars. Rows and checkpoints go to the store, not
through Ray: a trial that is started again, by Tune or by the same command tomorrow, goes on from there.
"""

import contextlib
import dataclasses
import functools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from rdstudy.cluster.preflight import check_nodes_see
from rdstudy.packs import Pack
from rdstudy.placement import place
from rdstudy.progress import PackProgress
from rdstudy.results.store import Store
from rdstudy.study import Measures, Member, Resources
from rdstudy.worker import PackEvents, find_device, run_pack

logger = logging.getLogger(__name__)

_STEP_SECONDS = 1.0  # between two reports of a trial
_RESTARTS = 2  # of a trial whose process died
OnProgress = Callable[[str, PackProgress], None]
"""Called with a pack's id and how far it has come."""


class PackTrial(tune.Trainable):  # type: ignore[misc]
    """One pack as a Tune trial. Its process is used again for the next pack."""

    def setup(
        self,
        config: dict[str, Any],
        packs: Mapping[str, tuple[list[dict[str, Any]], tuple[str, ...]]],
        shares: Mapping[str, float],
        uri: str,
        resources: Resources,
        measures: Measures | None,
    ) -> None:
        """Start on the pack that `config` names."""
        self._packs, self._shares, self._uri = packs, shares, uri
        self._resources, self._measures = resources, measures
        self._events: PackEvents | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start on another pack, in the same process."""
        self.cleanup()
        members, runs = self._packs[new_config["pack"]]
        pack = Pack(tuple(Member.from_dict(settings) for settings in members), runs)
        self._last = PackProgress(len(pack.members), 0, 1.0)  # unless something is left to do
        self._events = run_pack(
            pack,
            Store.open(self._uri),
            device=find_device(self._shares.get(new_config["pack"], 0.0)),
            resources=self._resources,
            measures=self._measures,
        )
        return True

    def step(self) -> dict[str, Any]:
        """Train for about a second, and report how far the pack is."""
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

    def _report(self, *, done: bool) -> dict[str, Any]:
        return {**dataclasses.asdict(self._last), "done": done}


def run_packs(
    packs: Sequence[Pack],
    store: Store,
    *,
    resources: Resources,
    measures: Measures | None = None,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
) -> dict[str, str]:
    """Train packs as Tune trials on the Ray that `connected` joined or started.

    Args:
        packs: what remains.
        store: where rows go; every node must reach it.
        resources: what a trial asks for.
        measures: what is measured after training; None for nothing.
        on_progress: told of each pack's progress.
        should_stop: asked now and then; once true, trials save a checkpoint and end.

    Returns:
        Pack id -> error, of the trials whose process died more often than it is started again.

    Raises:
        ValueError: a node does not see the store.
    """
    check_nodes_see(store)
    settings = {pack.pack_id: ([member.to_dict() for member in pack.members], pack.runs) for pack in packs}
    shares = {pack_id: placement.share for pack_id, placement in place(packs, resources).items()}
    trainable = tune.with_parameters(
        PackTrial, packs=settings, shares=shares, uri=store.location, resources=resources, measures=measures
    )
    listener = _Listener(on_progress)
    with tempfile.TemporaryDirectory(prefix="rdstudy-") as folder:  # Tune's own records: nothing is read from them
        tuner = tune.Tuner(
            tune.with_resources(trainable, functools.partial(_request, cpus=resources.cpus, shares=shares)),
            param_space={"pack": tune.grid_search(list(settings))},
            tune_config=tune.TuneConfig(
                reuse_actors=True,
                trial_name_creator=_trial_id,
                trial_dirname_creator=_trial_id,
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=folder,
                stop=_Stop(should_stop),
                failure_config=tune.FailureConfig(max_failures=_RESTARTS),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[listener],
                verbose=0,
            ),
        )
        with _quiet():
            tuner.fit()
    return listener.errors


def _request(config: dict[str, Any], *, cpus: int, shares: Mapping[str, float]) -> tune.PlacementGroupFactory:
    """What the trial of one pack asks of Ray; a pack without a share asks for no GPU."""
    share = shares.get(config["pack"], 0.0)
    return tune.PlacementGroupFactory([{"CPU": float(cpus), **({"GPU": share} if share else {})}])


class _Stop(tune.Stopper):  # type: ignore[misc]
    """Ends all trials once the user asks for it."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self._should_stop()


class _Listener(tune.Callback):  # type: ignore[misc]
    """Hands on progress, and keeps what trials died of."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self.errors: dict[str, str] = {}

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Any],
        trial: Any,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._on_progress(
            trial.config["pack"], PackProgress(*(result[field.name] for field in dataclasses.fields(PackProgress)))
        )

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        reason = _last_line(trial.error_file)
        logger.warning("pack %s: its process ended (%s); started again", trial.config["pack"], reason)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.errors[trial.config["pack"]] = f"its process ended {_RESTARTS + 1} times ({_last_line(trial.error_file)})"


def _last_line(error_file: str | None) -> str:
    """What a trial died of, in one line."""
    lines = Path(error_file).read_text().split("\n") if error_file and Path(error_file).exists() else []
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "no reason known")


def _trial_id(trial: Any) -> str:
    return str(trial.trial_id)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune's own remarks off the terminal: what matters of them is in the rows."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
