"""What experiment trackers write into the folders of trials, such as TensorBoard's files, is kept with the results.

Tune gives each trial a folder among Ray's temporary files: without this, it would be gone with them.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from rdstudy.results.store import Store
from rdstudy.running.tune.queue import Unkept

logger = logging.getLogger(__name__)

_COPY_SECONDS = 30.0
_TUNES_OWN = {"error.txt", "error.pkl"}


class TrackerFiles(Unkept, tune.Callback):  # type: ignore[misc]
    """Copies what trackers write to `trackers/<study>/<pack>-<trial>/` of the store: TensorBoard can be pointed there.

    Goes behind the trackers, which close their files when a trial ends.

    Args:
        store: that of the run.
        study: its name.
        clock: tells seconds.
    """

    def __init__(self, store: Store, study: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store, self._study = store.hurried(), study
        self._clock, self._copied = clock, clock()
        self._seen: dict[str, dict[str, tuple[int, int]]] = {}  # trial id -> file -> size and time of what was copied

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial has its process."""
        self._seen.setdefault(trial.trial_id, {})

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune went round once more."""
        if self._clock() - self._copied < _COPY_SECONDS:
            return
        for trial in trials:
            if trial.trial_id in self._seen:
                self._copy(trial)
        self._copied = self._clock()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end."""
        self._copy(trial)
        self._seen.pop(trial.trial_id, None)

    on_trial_error = on_trial_complete

    def _copy(self, trial: Any) -> None:
        """Copy what has changed; a tracker's file that cannot be copied stops nothing."""
        folder = Path(trial.local_path)
        seen = self._seen.setdefault(trial.trial_id, {})
        for file in sorted(folder.rglob("*")):
            name = file.relative_to(folder).as_posix()
            try:
                status = file.stat()
                state = (status.st_size, status.st_mtime_ns)
                if not file.is_file() or name in _TUNES_OWN or seen.get(name) == state:
                    continue
                self._store.blobs.write_tracked(f"{self._study}/{trial.config['pack']}-{trial.trial_id}", name, file)
            except OSError as error:
                logger.warning("%s could not be copied into the results: %s", file, error)
                continue
            seen[name] = state
