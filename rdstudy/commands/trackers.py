"""The experiment trackers that models are exported to, a class each: where a run is written, once.

A tracker's package is imported when it is asked for. A run that is cut short is written again, and one that is there
is left as it is: a run is told by the id of its model and by that of its training.
"""

import csv
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rdstudy.study.words import one_line
from rdstudy.whole_files import replaced_whole

if TYPE_CHECKING:
    from rdstudy.commands.export import TrackedRun

_MOST_METRICS = 1_000  # of a request, as MLflow allows
_SHORT = 8  # digits of the id of a training


class Tracker(Protocol):
    """Where runs are written."""

    def write(self, run: "TrackedRun") -> bool:
        """Write a run, unless it is there; returns whether it was written."""

    def close(self) -> None:
        """Write what belongs to all runs."""


def default_place(tracker: str) -> str:
    """Where runs are written unless the user says so.

    Raises:
        ValueError: MLflow keeps them on a server, which is not named.
    """
    if tracker != "mlflow":
        return f"exports/{tracker}"
    if address := os.environ.get("MLFLOW_TRACKING_URI", ""):
        return address
    raise ValueError("--out is missing; allowed: the address of an MLflow server, such as http://127.0.0.1:5000")


def _missing(package: str, what: str) -> ValueError:
    return ValueError(f"{what} is not installed; python -m pip install '{package}'")


def _folder(place: str) -> Path:
    """A folder of this machine, made where there is none.

    Raises:
        ValueError: an address, or a folder that cannot be made.
    """
    if "://" in place:
        raise ValueError("--out is an address; allowed: a folder of this machine")
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {place} cannot be made: {error.strerror}; allowed: a folder") from None
    return Path(place)


class Csv(Tracker):
    """`runs.csv`, a row a run with its parameters, tags and final metrics, and `<id>.csv`, its trajectory."""

    def __init__(self, place: str) -> None:
        self._folder = _folder(place)
        self._rows: list[dict[str, Any]] = []

    def write(self, run: "TrackedRun") -> bool:
        """Write a run, in place of one that is there: it is the same."""
        self._rows.append({**run.params, **run.tags, **run.final})
        _write_csv(self._folder / f"{run.name}.csv", [{"step": step, **values} for step, values in run.steps])
        return True

    def close(self) -> None:
        """Write `runs.csv`."""
        _write_csv(self._folder / "runs.csv", self._rows)


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with replaced_whole(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


class TensorBoard(Tracker):
    """A folder of event files a run, `<study>/<id>-<training>`, with its parameters in the tab HPARAMS."""

    def __init__(self, place: str) -> None:
        self._folder = _folder(place)

    def write(self, run: "TrackedRun") -> bool:
        """Write a run, unless its folder is there; the folder is moved into place when all is in it."""
        from tensorboardX import SummaryWriter
        from tensorboardX.summary import hparams

        target = self._folder / run.study / f"{run.name}-{run.tags['run_id'][:_SHORT]}"
        if target.exists():
            return False
        temporary = self._folder / f".{uuid.uuid4().hex}"
        time = run.finished_at.timestamp()
        try:
            with SummaryWriter(str(temporary)) as writer:
                for summary in hparams(dict(run.params), dict(run.final)):
                    writer.file_writer.add_summary(summary, walltime=time)
                tags = "\n".join(f"    {name}: {text}" for name, text in run.tags.items())  # Markdown, as they stand
                writer.add_text("tags", tags, walltime=time)
                for step, values in run.steps:
                    for name, value in values.items():
                        writer.add_scalar(name, value, step, walltime=time)
                for name, value in run.final.items():
                    writer.add_scalar(name, value, run.last_step, walltime=time)
            target.parent.mkdir(exist_ok=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return True


class MLflow(Tracker):
    """A run of MLflow a run, in the experiment of the study's name, on a server or in what else MLflow keeps."""

    def __init__(self, place: str) -> None:
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise _missing("rdstudy[trackers]", "MLflow") from None
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a run
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # some ten seconds; with MLflow's own 7, minutes
        self._client = MlflowClient(tracking_uri=place)
        self._experiments: dict[str, str] = {}

    def write(self, run: "TrackedRun") -> bool:
        """Write a run, unless it is there; one that was cut short is deleted first."""
        from mlflow.entities import Metric, Param

        experiment, client = self._experiment(run.study), self._client
        if self._is_there(run, experiment):
            return False
        time = round(run.finished_at.timestamp() * 1000)
        tags = {f"rdstudy.{name}": text for name, text in run.tags.items()}
        made = client.create_run(experiment, start_time=time, tags=tags, run_name=run.name).info.run_id
        pairs = [*run.steps, (run.last_step, run.final)]
        metrics = [Metric(name, value, time, step) for step, values in pairs for name, value in values.items()]
        client.log_batch(made, params=[Param(name, str(level)) for name, level in run.params.items()])
        for start in range(0, len(metrics), _MOST_METRICS):
            client.log_batch(made, metrics=metrics[start : start + _MOST_METRICS])
        client.set_terminated(made, status="FINISHED" if run.is_ok else "FAILED", end_time=time)
        return True

    def _experiment(self, study: str) -> str:
        """The id of the experiment of that name, made where there is none.

        Raises:
            ValueError: no server answers.
        """
        from mlflow.exceptions import MlflowException

        if study not in self._experiments:
            try:
                known = self._client.get_experiment_by_name(study)
                self._experiments[study] = known.experiment_id if known else self._client.create_experiment(study)
            except MlflowException as error:
                allowed = "--out with the address of a server"
                raise ValueError(f"MLflow cannot be written: {one_line(error)}; allowed: {allowed}") from None
        return self._experiments[study]

    def _is_there(self, run: "TrackedRun", experiment: str) -> bool:
        wanted = (f"tags.`rdstudy.{name}` = '{run.tags[name]}'" for name in ("member_id", "run_id"))
        stored = self._client.search_runs([experiment], filter_string=" and ".join(wanted))
        for each in stored:
            if each.info.status == "RUNNING":
                self._client.delete_run(each.info.run_id)
        return any(each.info.status != "RUNNING" for each in stored)


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases a run, in the project of the study's name; offline unless `WANDB_MODE` says otherwise.

    `wandb sync` sends offline runs.
    """

    def __init__(self, place: str) -> None:
        try:
            import wandb
        except ImportError:
            raise _missing("rdstudy[trackers]", "Weights & Biases") from None
        try:
            wandb.setup()  # reads its settings
        except ValueError as error:
            raise ValueError(f"Weights & Biases refuses its settings, such as WANDB_MODE: {one_line(error)}") from None
        self._wandb: Any = wandb
        self._folder = _folder(place)

    def write(self, run: "TrackedRun") -> bool:
        """Write a run, unless it is there: an empty file beside the runs says that it was written whole."""
        run_id = f"{run.name}-{run.tags['run_id'][:_SHORT]}"
        written = self._folder / f"{run_id}.written"
        if written.exists():
            return False
        tracked = self._wandb.init(
            project=run.study,
            name=run.name,
            id=run_id,
            config={**run.params, **run.tags},
            dir=str(self._folder),
            mode=os.environ.get("WANDB_MODE", "offline"),
            reinit="finish_previous",
            settings=self._wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )
        for step, values in run.steps:
            tracked.log(dict(values), step=step)
        tracked.summary.update(dict(run.final))
        tracked.finish(exit_code=0 if run.is_ok else 1)
        written.touch()
        return True


TRACKERS: Mapping[str, Callable[[str], Tracker]] = {
    "csv": Csv,
    "mlflow": MLflow,
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}
"""Name, as `--to` takes it -> what opens it at a place."""
