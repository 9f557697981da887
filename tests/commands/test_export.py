"""`rdstudy export`: each stored model is one run whose numbers are those of the tables, read back by other programs."""

import contextlib
import csv
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rdstudy.__main__ import main
from rdstudy.results.store import Store
from tests.commands.conftest import STORED
from tests.test_run import ROOT
from tests.waiting import listens, wait_until

METRICS = ("distortion", "rate", "elbo")


def stored(store: Store) -> dict[str, dict[str, float]]:
    """Member id -> `test/rate@step` and `final/test/rate` -> value, of the tables themselves."""
    snapshot = store.snapshot()
    values: dict[str, dict[str, float]] = {member_id: {} for member_id in snapshot.outcomes()}
    for row in snapshot.table("trajectories").to_pylist():
        values[row["member_id"]] |= {f"{row['subset']}/{name}@{row['step']}": row[name] for name in METRICS}
    for row in snapshot.table("members").to_pylist():
        final = {f"final/{row['subset']}/{name}": row[name] for name in METRICS}
        values[row["member_id"]] |= {name: value for name, value in final.items() if value is not None}
    return values


def test_csv_has_a_row_a_model_and_a_file_a_trajectory(store, ids, capsys):
    assert main(["export", "results", "--to", "csv", "--out", "runs"]) == 0
    assert capsys.readouterr().out == "7 runs written to runs, 0 were there\n"
    with Path("runs/runs.csv").open() as file:
        rows = {row["member_id"]: row for row in csv.DictReader(file)}
    assert set(rows) == {*ids} - {ids[3]}
    assert (rows[ids[6]]["depth"], rows[ids[6]]["beta"], rows[ids[6]]["seed"]) == ("3", "1.0", "0")
    assert rows[ids[1]]["outcome"] == "nonfinite"
    for member_id, expected in stored(store).items():
        values = {name: float(text) for name, text in rows[member_id].items() if name.startswith("final/") and text}
        with Path(f"runs/{member_id}.csv").open() as file:
            for row in csv.DictReader(file):
                values |= {f"{name}@{row['step']}": float(value) for name, value in row.items() if name != "step"}
        assert values == expected


@pytest.mark.usefixtures("store")
def test_filters_choose_what_is_exported(ids, capsys):
    assert main(["export", "results", ids[0][:9], ids[7], "--to", "csv"]) == 0
    assert capsys.readouterr().out == "2 runs written to exports/csv, 0 were there\n"
    assert sorted(path.stem for path in Path("exports/csv").iterdir()) == sorted([ids[0], ids[7], "runs"])


@pytest.mark.usefixtures("store")
def test_what_is_missing_is_one_line(monkeypatch, capsys):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert main(["export", "results", "--to", "mlflow"]) == 2
    assert "--out is missing; allowed: the address of an MLflow server" in capsys.readouterr().err
    for module, name in (("mlflow", "MLflow"), ("wandb", "Weights & Biases")):
        monkeypatch.setitem(sys.modules, module, None)
        assert main(["export", "results", "--to", module, "--out", "http://127.0.0.1:9"]) == 2
        assert capsys.readouterr().err == f"error: {name} is not installed; python -m pip install 'rdstudy[trackers]'\n"
    assert main(["export", "results", "--to", "tensorboard", "--out", "s3://bucket"]) == 2
    assert capsys.readouterr().err == "error: --out is an address; allowed: a folder of this machine\n"


@pytest.mark.usefixtures("store")
def test_tensorboard_has_a_folder_a_run_written_once_and_whole(monkeypatch, capsys):
    import tensorboardX

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tensorboardX.SummaryWriter, "add_text", cut)
        assert main(["export", "results", "--to", "tensorboard", "--out", "tb"]) == 130
    assert list(Path("tb").rglob("*")) == []
    for said in ("7 runs written to tb, 0 were there\n", "0 runs written to tb, 7 were there\n"):
        assert main(["export", "results", "--to", "tensorboard", "--out", "tb"]) == 0
        assert capsys.readouterr().out == said
    assert len(list(Path("tb/simulated").iterdir())) == len(list(Path("tb").rglob("events.*"))) == 7


# --- the trackers themselves --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.trackers
def test_tensorboards_own_reader_reads_what_is_stored(store):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    assert main(["export", "results", "--to", "tensorboard", "--out", "tb"]) == 0
    expected = stored(store)
    folders = {path.name.partition("-")[0]: path for path in Path("tb/simulated").iterdir()}
    assert set(folders) == set(expected)
    for member_id, path in folders.items():
        events = EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
        values = {
            name if name.startswith("final/") else f"{name}@{event.step}": event.value
            for name in events.Tags()["scalars"]
            for event in events.Scalars(name)
        }
        assert values == pytest.approx(expected[member_id], rel=1e-6)  # TensorBoard keeps float32
        content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
        started = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
        assert {"beta", "depth", "seed", "steps"} <= set(started.hparams)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real MLflow server on loopback."""
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files")]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--workers", "1"], stdout=log, stderr=log, cwd=folder, start_new_session=True
        )
    try:
        wait_until(lambda: listens(port), (folder / "log").read_text, process=process)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(timeout=60)


@pytest.mark.slow
@pytest.mark.trackers
def test_an_mlflow_server_has_one_run_a_model_with_its_factors_metrics_and_ids(store, ids, server, capsys):
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=server)
    for said in (f"7 runs written to {server}, 0 were there\n", f"0 runs written to {server}, 7 were there\n"):
        assert main(["export", "results", "--to", "mlflow", "--out", server]) == 0
        assert capsys.readouterr().out == said
    experiment = client.get_experiment_by_name("simulated")
    runs = {run.data.tags["rdstudy.member_id"]: run for run in client.search_runs([experiment.experiment_id])}
    expected = stored(store)
    assert set(runs) == set(expected)
    members = dict(zip(ids, STORED.study().experiments[0].members(STORED.study()), strict=True))
    for member_id, run in runs.items():
        member = members[member_id]
        assert (float(run.data.params["beta"]), run.data.params["depth"]) == (member.beta, str(member.depth))
        assert run.info.run_name == member_id
        outcome = run.data.tags["rdstudy.outcome"]
        assert (run.info.status == "FINISHED") == (outcome == "ok")
        values = {
            name if name.startswith("final/") else f"{name}@{metric.step}": metric.value
            for name in run.data.metrics
            for metric in client.get_metric_history(run.info.run_id, name)
        }
        assert values == expected[member_id]
        assert {metric.step for metric in client.get_metric_history(run.info.run_id, "final/test/rate")} <= {9_973}


@pytest.mark.slow
@pytest.mark.trackers
def test_a_run_of_mlflow_that_was_cut_short_is_written_again(store, server, monkeypatch):  # noqa: ARG001
    from mlflow import MlflowClient

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", cut)
        patch.setattr("rdstudy.commands.export.chosen_models", _renamed("cut"))
        assert main(["export", "results", "--to", "mlflow", "--out", server]) == 130
    monkeypatch.setattr("rdstudy.commands.export.chosen_models", _renamed("cut"))
    assert main(["export", "results", "--to", "mlflow", "--out", server]) == 0
    client = MlflowClient(tracking_uri=server)
    runs = client.search_runs([client.get_experiment_by_name("cut").experiment_id])
    assert len(runs) == 7
    assert not [run for run in runs if run.info.status == "RUNNING"]


def _renamed(name: str):
    """The models of a store, as if their study had this name."""
    import dataclasses

    from rdstudy.commands.chosen import chosen_models

    return lambda *arguments: [dataclasses.replace(model, study=name) for model in chosen_models(*arguments)]


@pytest.mark.slow
@pytest.mark.trackers
def test_an_address_where_no_server_is_is_one_line(store, monkeypatch, capsys):  # noqa: ARG001
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert main(["export", "results", "--to", "mlflow", "--out", "http://127.0.0.1:9"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: MLflow cannot be written: ")


@pytest.mark.slow
@pytest.mark.trackers
@pytest.mark.parametrize("mode", ["", "nonsense"])
def test_a_mode_that_weights_and_biases_does_not_know_is_one_line(store, mode):  # noqa: ARG001
    words = [sys.executable, "-m", "rdstudy", "export", "results", "--to", "wandb", "--out", "wb"]
    environment = {**os.environ, "WANDB_MODE": mode, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Weights & Biases refuses its settings, such as WANDB_MODE: ")


def records(path: Path) -> Iterator[bytes]:
    """The records of a file of an offline run: after 7 bytes, a log of LevelDB, in blocks of 32 KiB.

    See https://github.com/google/leveldb/blob/main/doc/log_format.md.
    """
    content, at, record = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while at + 7 <= len(content):
        _, length, kind = struct.unpack_from("<IHB", content, at)
        if kind:
            record += content[at + 7 : at + 7 + length]
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""
        at += 7 + length
        left = -at % 2**15
        at += left if left < 7 else 0  # a header does not fit there


@pytest.mark.slow
@pytest.mark.trackers
def test_weights_and_biases_keeps_offline_runs_with_their_numbers(store, ids, capsys):
    import json

    from wandb.proto import wandb_internal_pb2

    for said in ("2 runs written to wb, 0 were there\n", "0 runs written to wb, 2 were there\n"):
        assert main(["export", "results", ids[0], ids[6], "--to", "wandb", "--out", "wb"]) == 0
        assert capsys.readouterr().out.endswith(said)
    expected = stored(store)
    files = list(Path("wb").rglob("*.wandb"))
    assert len(files) == 2
    for path in files:
        values: dict[str, float] = {}
        config: dict[str, str] = {}
        for record in records(path):
            message = wandb_internal_pb2.Record.FromString(record)
            config |= {item.key: item.value_json for item in message.run.config.update}
            items = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in message.history.item
            }
            step = items.get("_step")
            values |= {f"{name}@{step}": value for name, value in items.items() if not name.startswith("_")}
            final = {item.key: json.loads(item.value_json) for item in message.summary.update}
            values |= {name: value for name, value in final.items() if name.startswith("final/")}
        member_id = json.loads(config["member_id"])
        assert values == pytest.approx(expected[member_id])
