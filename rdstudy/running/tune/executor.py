"""Packs as trials of Ray Tune experiments, on a cluster that is joined or a Ray that is started and stopped."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayError

from rdstudy.planning.packs import TrialPack, runs_of
from rdstudy.running.executor import Observer, Work
from rdstudy.running.provenance import versions
from rdstudy.running.stopping import StopSignal
from rdstudy.running.tune.connection import connected
from rdstudy.running.tune.folders import own_folder
from rdstudy.running.tune.listener import Listener
from rdstudy.running.tune.nodes import check_nodes, on_node
from rdstudy.running.tune.queue import PackQueue, Unkept, request
from rdstudy.running.tune.tracking import TrackerFiles
from rdstudy.running.tune.trial import PackTrial, TrialSettings

_ROUNDS = 3  # of trials, before members without a row are reported as such
_ANSWER_SECONDS = 10.0  # that the driver waits for the stop signal


class TuneExecutor:
    """Trains packs as trials.

    Args:
        address: of the cluster to join; None for one that was started on this machine, or a Ray of this run's own.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address

    def run(self, work: Work, observer: Observer) -> bool:
        """Train packs, again and again until every member has a row: no trial's end is taken on trust.

        See `Executor.run`.
        """
        with connected(self._address, work.resources) as connection:
            observer.begins()  # Ray ends the process at SIGTERM
            observer.say(connection.which)
            if connection.joined:
                check_nodes(work.store, gpus=bool(work.resources.gpus))
            if connection.devices is None:
                _refuse_own_folder(work.store.uri)
                observer.say("no node has what a trial asks for yet: waiting for the cluster to grow")
            packs = work.packs
            for _ in range(_ROUNDS):
                given_up = run_round(packs, work, observer)
                for pack in packs:
                    if pack.pack_id in given_up:
                        observer.gave_up(pack, given_up[pack.pack_id])
                stored = work.store.rows.outcomes()
                packs = [pack for pack in packs if any(member.member_id not in stored for member in pack.members)]
                if not packs or observer.should_stop():
                    break
                observer.say(f"{len(packs)} packs ended without all their rows; started again")
            return connection.joined and not connection.in_process


def run_round(packs: Sequence[TrialPack], work: Work, observer: Observer) -> dict[str, str]:
    """Train packs as the trials of one Tune experiment, on the Ray that is connected.

    All packs that could run at once are asked for at once, as placement groups that wait: an autoscaler sees what the
    plan needs, and forgets it when this process ends, however it ends.

    Returns:
        Pack id -> reason, of the packs that were given up.
    """
    here = on_node(ray.get_runtime_context().get_node_id())
    stop = ray.remote(num_cpus=0, scheduling_strategy=here)(StopSignal).remote()
    settings = TrialSettings(
        packs={pack.pack_id: ([member.to_dict() for member in pack.members], runs_of(pack)) for pack in packs},
        uri=work.store.location,
        identity=work.store.identity(),
        resources=work.resources,
        measures=work.measures,
        versions=versions(),
        tracked=bool(work.callbacks),
        sources=work.sources,
        stop=stop,
    )
    queue = PackQueue(
        packs,
        placements=work.placements,
        resources=work.resources,
        most_cpus=_most_cpus,
        failures=work.failures,
    )
    listener = Listener(queue, observer, device="GPU" if work.resources.gpus else "CPU")
    kept = [TrackerFiles(work.store, work.study)] if work.callbacks else []
    with own_folder() as folder:  # Tune's own records: nothing is read from them
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
                storage_path=str(folder),
                stop=_Stop(queue, listener, stop, observer),
                failure_config=tune.FailureConfig(max_failures=0),  # the queue decides
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[listener, *work.callbacks, *kept],
                verbose=0,
            ),
        )
        with _quiet():
            tuner.fit()
    return queue.given_up


def _refuse_own_folder(uri: str) -> None:
    """Before nodes are waited for: they would find out, each for itself, that the folder is not there."""
    if "://" not in uri:
        raise ValueError(
            f"results folder {uri} may be on this machine alone, and nodes that train are still to come; allowed: "
            f"s3://, gs://, or file://{os.path.abspath(uri)} where all nodes share it"
        )


class _Stop(Unkept, tune.Stopper):  # type: ignore[misc]
    """Once it is asked for: hands out nothing more, lets trials save, and ends when none is at work."""

    def __init__(self, queue: PackQueue, listener: Listener, signal: Any, observer: Observer) -> None:
        self._queue, self._listener, self._signal, self._observer = queue, listener, signal, observer
        self._asked = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        if not self._asked and self._observer.should_stop():
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
