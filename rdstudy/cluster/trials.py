"""The run of all packs as trials of one Tune experiment."""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError

from rdstudy.cluster.listener import Listener, Usage
from rdstudy.cluster.nodes import on_node
from rdstudy.cluster.queue import PackQueue, request
from rdstudy.cluster.trial import PackTrial, StopSignal, TrialSettings
from rdstudy.failures import Failure, Failures, Remedy
from rdstudy.packs import Pack
from rdstudy.placement import Placement
from rdstudy.progress import PackProgress
from rdstudy.provenance import versions
from rdstudy.results.store import Store
from rdstudy.study import Measures, Resources

_ANSWER_SECONDS = 10.0  # that the driver waits for the stop signal


def run_packs(
    packs: Sequence[Pack],
    store: Store,
    *,
    placements: Mapping[str, Placement],
    resources: Resources,
    measures: Measures | None = None,
    callbacks: Sequence[Any] = (),
    failures: Failures,
    on_progress: Callable[[str, str, PackProgress], None],
    on_failure: Callable[[Failure, Remedy], None],
    on_usage: Callable[[Usage], None],
    should_stop: Callable[[], bool],
) -> dict[str, str]:
    """Train packs as Tune trials on the Ray that `connected` joined or started.

    All packs that could run at once are asked for at once, as placement groups that wait: an autoscaler sees what the
    plan needs, and forgets it when this process ends, however it ends.

    Args:
        packs: what remains.
        store: where rows go; every node must reach it.
        placements: pack id -> its share of a GPU; empty on a CPU.
        resources: what a trial asks for.
        measures: what is measured after training; None for nothing.
        callbacks: of Tune, for experiment trackers.
        failures: what is known of failed tries.
        on_progress: told of each pack's id, host and progress.
        on_failure: told of a try that came to no end, and of its remedy.
        on_usage: told every few seconds how much of the cluster is at work.
        should_stop: asked now and then; once true, nothing is started, and trials save a checkpoint and end.

    Returns:
        Pack id -> reason, of the packs that were given up.
    """
    here = on_node(ray.get_runtime_context().get_node_id())
    stop = ray.remote(num_cpus=0, scheduling_strategy=here)(StopSignal).remote()
    settings = TrialSettings(
        packs={pack.pack_id: ([member.to_dict() for member in pack.members], pack.runs) for pack in packs},
        uri=store.location,
        identity=store.identity(),
        resources=resources,
        measures=measures,
        versions=versions(),
        stop=stop,
    )
    queue = PackQueue(
        packs,
        placements=placements,
        resources=resources,
        most_cpus=_most_cpus,
        failures=failures,
    )
    device = "GPU" if resources.gpus else "CPU"
    listener = Listener(queue, on_progress=on_progress, on_failure=on_failure, on_usage=on_usage, device=device)
    with tempfile.TemporaryDirectory(prefix="rdstudy-") as folder:  # Tune's own records: nothing is read from them
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(PackTrial, settings=settings), request),
            tune_config=tune.TuneConfig(
                search_alg=queue,
                num_samples=-1,  # until the queue says that it is finished
                reuse_actors=True,
                trial_name_creator=_trial_id,
                trial_dirname_creator=_trial_id,
            ),
            run_config=tune.RunConfig(
                name="packs",
                storage_path=folder,
                stop=_Stop(queue, listener, stop, should_stop),
                failure_config=tune.FailureConfig(max_failures=0),  # the queue decides
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[listener, *callbacks],
                verbose=0,
            ),
        )
        with _quiet():
            tuner.fit()
    return queue.given_up


class _Stop(tune.Stopper):  # type: ignore[misc]
    """Once it is asked for: hands out nothing more, lets trials save, and ends when none is at work."""

    def __init__(self, queue: PackQueue, listener: Listener, signal: Any, should_stop: Callable[[], bool]) -> None:
        self._queue, self._listener, self._signal, self._should_stop = queue, listener, signal, should_stop
        self._asked = False

    def __getstate__(self) -> dict[str, Any]:
        """Nothing of this process: Tune keeps a copy in its records, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self._asked and self._should_stop():
            self._asked = True
            self._queue.close()
            try:
                ray.get(self._signal.give.remote(), timeout=_ANSWER_SECONDS)
            except RayError:  # then trials cannot be told to save: what they did since their last checkpoint is lost
                return True
        return self._asked and not self._listener.running


def _most_cpus() -> int:
    return max((int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]), default=0)


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
