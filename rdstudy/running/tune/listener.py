"""What Tune tells of its trials, handed on: progress, causes of failures, and how much of the cluster is at work."""

import re
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import OutOfMemoryError, RayTaskError

from rdstudy.results.store import FolderGoneError
from rdstudy.running.executor import Observer, Usage
from rdstudy.running.failures import (
    Cause,
    Failure,
    OtherFolderError,
    PackError,
    ShareTooSmallError,
    VersionsError,
    shortened,
)
from rdstudy.running.progress import PackProgress
from rdstudy.running.tune.queue import PackQueue, Unkept
from rdstudy.study.words import one_line, one_line_with_type

_LOOK_SECONDS = 2.0  # between two looks at the cluster
_LONGEST_REASON = 300
_COLOUR = re.compile(r"\x1b\[\d*m")  # in which Ray writes tracebacks
_NODE_GONE = re.compile(
    r"node (has died|is dead|was (terminated|drained))|node .*doesn't exist any more|unregistered|preempt",
    re.IGNORECASE,
)


class Listener(Unkept, tune.Callback):  # type: ignore[misc]
    """Hands on what happens to trials.

    Args:
        queue: told of failures.
        observer: told of progress, failures and how much of the cluster is at work.
        device: "GPU" or "CPU".
    """

    def __init__(self, queue: PackQueue, observer: Observer, *, device: str) -> None:
        self._queue, self._observer = queue, observer
        self._device = device
        self._running: dict[str, float] = {}  # trial id -> devices that it takes
        self._looked = 0.0

    @property
    def running(self) -> int:
        """Trials at work."""
        return len(self._running)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has its process."""
        self._running[trial.trial_id] = trial.config["gpus" if self._device == "GPU" else "cpus"]

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial reported."""
        progress = PackProgress(result["members_done"], result["members_not_ok"], result["share"])
        self._observer.progressed(trial.config["pack"], str(result.get("hostname")), progress)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end."""
        self._running.pop(trial.trial_id, None)
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to no end."""
        self._running.pop(trial.trial_id, None)
        host = (trial.last_result or {}).get("hostname") or trial.node_ip or "a node"
        failure = describe_failure(_error_of(trial), pack_id=trial.config["pack"], host=str(host))
        self._observer.failed(failure, self._queue.failed(trial.config, failure))
        _forget(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune went round once more."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            self._observer.used(Usage(ray.cluster_resources().get(self._device, 0.0), sum(self._running.values())))


def _error_of(trial: Any) -> BaseException | None:
    """What a trial raised, or Ray in its place; Tune keeps what is of neither a task nor an actor as text alone."""
    if trial.pickled_error_file is not None and Path(trial.pickled_error_file).exists():
        error: BaseException = ray.cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        return error
    text = Path(trial.error_file).read_text() if trial.error_file and Path(trial.error_file).exists() else ""
    return RuntimeError(text) if text else None


def _forget(trial: Any) -> None:
    """Drop the statistics that Tune keeps of all reports of every trial until the run ends: half of what it keeps."""
    metadata = trial.run_metadata
    metadata.metric_analysis.clear()
    metadata.metric_n_steps.clear()
    metadata.invalidate_cache()


def describe_failure(error: BaseException | None, *, pack_id: str, host: str) -> Failure:
    """Why a trial failed, from what Ray says."""
    raised = getattr(error, "cause", None) or error
    if isinstance(raised, PackError):
        return Failure(pack_id, Cause.RAISED, raised.reason, host, raised.pack_id, raised.traceback)
    cause = _cause(error, raised)
    where = shortened(_COLOUR.sub("", str(error))) if cause is Cause.RAISED else ""
    return Failure(pack_id, cause, _reason(raised), host, traceback=where)


def _cause(error: BaseException | None, raised: BaseException | None) -> Cause:
    kinds = (
        (ShareTooSmallError, Cause.MEMORY),
        (MemoryError, Cause.MEMORY),
        (OutOfMemoryError, Cause.MEMORY),
        (VersionsError, Cause.VERSIONS),
        (OtherFolderError, Cause.ELSEWHERE),
        (FolderGoneError, Cause.ELSEWHERE),
        (OSError, Cause.STORAGE),
    )
    for kind, cause in kinds:
        if isinstance(raised, kind):
            return cause
    if isinstance(error, RayTaskError):
        return Cause.RAISED
    if getattr(error, "preempted", False) or _NODE_GONE.search(str(error)):
        return Cause.PREEMPTED
    return Cause.MEMORY if "low on memory" in str(error) else Cause.DIED


def _reason(error: BaseException | None) -> str:
    if error is None:
        return "no reason known"
    in_words = one_line if isinstance(error, OSError | VersionsError | OtherFolderError) else one_line_with_type
    return in_words(error)[:_LONGEST_REASON]
