"""The only door to Ray: packs as Ray Tune trials. A thin adapter with no arithmetic of its own.

A trial trains one pack through `rdstudy.worker` and reports four scalars. Rows and checkpoints go to the store, not
through Ray: a trial that is started again, by Tune or by the same command tomorrow, goes on from there.
"""

import contextlib
import dataclasses
import functools
import logging
import os
import re
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

# Read by Ray at import: no reporter, usage report, loggers or signal handlers beside ours.
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")

import ray
from ray import tune
from ray._private import ray_constants, services
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rdstudy.packs import MOST_SHARES, Pack
from rdstudy.plan import place
from rdstudy.progress import PackProgress
from rdstudy.results.store import Store
from rdstudy.study import Measures, Member, Resources
from rdstudy.worker import PackEvents, find_device, run_pack

logger = logging.getLogger(__name__)

_STEP_SECONDS = 1.0  # between two reports of a trial
_RESTARTS = 2  # of a trial whose process died
_OBJECT_STORE_BYTES = 128 * 2**20  # of a local Ray: nothing but the settings of the packs goes through it
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
    _check_nodes_see(store)
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


@contextlib.contextmanager
def connected(address: str | None, resources: Resources) -> Iterator[str]:
    """Join the cluster at `address`, else one that was started here, else start a local Ray and stop it at the end.

    Yields:
        How many trials can run at once, in words.

    Raises:
        ValueError: no cluster at `address`, or none that has what a trial asks for.
    """
    address = address or _started_here()
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        _start_local(options)
    else:
        _check_listening(address)
        try:
            ray.init(address=address, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ValueError(f"Ray at {address!r} cannot be joined: {_one_line(error)}") from None
    try:
        yield _concurrency(resources)
    finally:
        ray.shutdown()


def _check_listening(address: str) -> None:
    """Find out in a moment what Ray takes minutes to find out.

    Raises:
        ValueError: nothing listens at `address`.
    """
    match = re.fullmatch(r"(?:ray://)?(.+):(\d+)", address)
    if match is None:
        raise ValueError(f"--address is {address!r}; allowed: HOST:PORT, ray://HOST:PORT")
    try:
        socket.create_connection((match[1], int(match[2])), timeout=5).close()
    except OSError as error:
        raise ValueError(f"no Ray head listens at {address!r}: {error}") from None


def _started_here() -> str | None:
    """The cluster of `ray start` on this machine, or of RAY_ADDRESS; None where there is none.

    Ray's own search would also join the private Ray of another run, which goes away when that run ends.
    """
    address: str | None = services.canonicalize_bootstrap_address(None)
    if address is None or "RAY_ADDRESS" in os.environ:
        return address
    try:
        _check_listening(address)
    except ValueError as error:
        logger.warning("%s; it was started here once, and is not joined", error)
        return None
    return address


def _start_local(options: dict[str, Any]) -> None:
    """Start a Ray that listens on the loopback device only.

    On Linux, Ray replaces 127.0.0.1 by the machine's outer address and listens on all devices unless this constant,
    which is off on other systems, says that no cluster is to be formed.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(
            address="local",
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            **options,
        )
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = True


def _concurrency(resources: Resources) -> str:
    """How many trials the cluster runs at the same time."""
    there = ray.cluster_resources()
    trials = int(there.get("CPU", 0) // resources.cpus)
    by_estimate = isinstance(resources.gpus, str)  # then the most that a GPU may be shared by
    share = 1 / MOST_SHARES if by_estimate else float(resources.gpus)
    if share:
        trials = min(trials, round(there.get("GPU", 0) / share))
    if trials < 1:
        wanted = f"{resources.cpus} CPUs and {'a share of' if by_estimate else format(share, 'g')} GPUs"
        has = f"{there.get('CPU', 0):g} CPUs and {there.get('GPU', 0):g} GPUs"
        raise ValueError(f"resources ask for {wanted} for each trial; allowed: what this Ray has, {has}")
    return f"up to {trials} at a time" if by_estimate else f"{trials} at a time"


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


def _check_nodes_see(store: Store) -> None:
    """Refuse a folder of one node where there are several, before any of them has worked for nothing."""
    nodes = {node["NodeID"]: node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    if len(nodes) == 1:
        return
    exists = ray.remote(num_cpus=0)(_exists)
    seen = {
        node: exists.options(scheduling_strategy=_on(node)).remote(f"{store.location}/store.json") for node in nodes
    }
    blind = [nodes[node] for node, answer in seen.items() if not ray.get(answer)]
    if blind:
        raise ValueError(
            f"results folder {store.uri} is not seen by {', '.join(blind)}; "
            "allowed with several nodes: a folder that all of them share, s3://, gs://"
        )


def _exists(uri: str) -> bool:
    return Store.exists(uri)


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


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
