"""A row is trained again from its id: the same bits, or what differs."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import rdstudy
from rdstudy import retrain
from rdstudy.model.weights import from_bytes
from rdstudy.results.store import Store
from rdstudy.retrain import Difference, compare
from tests.test_run import run


@pytest.fixture
def results(measured_study, tmp_path, monkeypatch) -> Store:
    shutil.copytree(measured_study, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Store.open("out")


def test_the_same_numbers_are_said_to_be_the_same_and_nothing_is_written(results, tmp_path, capsys):
    before = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    member = sorted(results.snapshot().outcomes())[0]
    assert retrain.main(["out", member[:12]]) == 0
    said = capsys.readouterr().out
    assert f"model {member}: tetrominoes, cv(97), mlp of depth" in said
    assert said.splitlines()[-1].startswith("the same numbers, to the bit")
    for table in ("members", "trajectories", "measures", "probes", "reconstructions"):
        assert f"{table}: " in said
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == before


def test_another_number_is_named_with_its_size(results, capsys):
    member = sorted(results.snapshot().outcomes())[0]
    rows = [row for row in results.snapshot().table("members").to_pylist() if row["member_id"] == member]
    Path("out", "members", f"{rows[0]['run_id']}.parquet").unlink()
    results.rows.write_run(
        rows[0]["run_id"], {"members": [{**row, "distortion": row["distortion"] * 1.001} for row in rows]}
    )
    assert retrain.main(["out", member]) == 1
    said = capsys.readouterr().out
    assert f"members.distortion: {len(rows)} rows, at most: relative difference 0.001" in said
    assert said.count("relative difference") == 1


def test_rows_that_are_missing_are_other_numbers(results, capsys):
    member = sorted(results.snapshot().outcomes())[0]
    (run_id,) = {row["run_id"] for row in results.snapshot().table("members").to_pylist() if row["member_id"] == member}
    path = Path("out", "trajectories", f"{run_id}.parquet")
    rows = results.snapshot().table("trajectories").to_pylist()
    kept = [row for row in rows if row["run_id"] == run_id][1:]
    path.unlink()
    results.rows._write(f"trajectories/{run_id}.parquet", "trajectories", kept)
    assert retrain.main(["out", member]) == 1
    assert f"  trajectories: {len(kept)} rows stored, and now {len(kept) + 1}" in capsys.readouterr().out.splitlines()


def test_images_that_are_not_there_are_one_line(results, capsys, monkeypatch):
    def missing(*_: object) -> None:
        raise ValueError("images.gz of mnist is missing; put it at here/mnist/images.gz")

    monkeypatch.setattr("rdstudy.running.worker._load_subsets", missing)
    member = sorted(results.snapshot().outcomes())[0]
    assert retrain.main(["out", member]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: model {member} cannot be trained again here: ")
    assert error.endswith("images.gz of mnist is missing; put it at here/mnist/images.gz")


def test_of_two_studies_the_one_that_measured_the_model_says_what_is_compared(results, capsys):
    other = {"names": [], "measures_id": "none"}
    results.declarations.declare(replace(results.declarations.read("tiny"), name="zeta", measures=other))
    member = sorted(results.snapshot().outcomes())[0]
    assert retrain.main(["out", member]) == 0
    assert "measures: " in capsys.readouterr().out


def weights(out: str = "out") -> list[Path]:
    return sorted(Path(out, "weights").glob("*"))


def test_weights_are_kept_if_they_are_asked_for_and_models_and_measures_find_them(results, capsys):
    member = sorted(results.snapshot().outcomes())[0]
    assert retrain.main(["out", member, "--save"]) == 0
    (path,) = weights()
    assert capsys.readouterr().out.splitlines()[-1] == f"its weights are kept: {Path.cwd()}/{path}"
    kept = from_bytes(path.read_bytes(), path="x")
    (run_id,) = {row["run_id"] for row in results.snapshot().table("members").to_pylist() if row["member_id"] == member}
    assert (kept.header.member_id, kept.header.run_id) == (member, run_id)
    assert member not in results.snapshot().without_weights()
    assert rdstudy.load("out").model(member[:12]).sample(2, seed=0).shape == (2, 3, 32, 32)
    assert results.snapshot().unmeasured("other settings")[member] == run_id
    text = Path("tiny.py").read_text()
    Path("tiny.py").write_text(text.replace("Resources()", "Resources(keep_weights=True)"))
    assert run(Path("tiny.py"), "--no-report", "--set", "measures.probe_images=7") == 0
    assert "to be measured, without training: 1 members" in capsys.readouterr().out


def test_what_is_kept_is_what_a_run_would_have_kept(results):
    member = sorted(results.snapshot().outcomes())[0]
    assert retrain.main(["out", member, "--save"]) == 0
    kept = ("--set", "resources.keep_weights=True", "--out", "kept")
    assert run(Path("tiny.py"), "--no-report", "--member", member, *kept) == 0
    (again,), (once,) = weights(), weights("kept")
    again_kept, once_kept = (from_bytes(path.read_bytes(), path="x") for path in (again, once))
    assert again_kept.tensors.keys() == once_kept.tensors.keys()
    assert all(torch.equal(again_kept.tensors[name], value) for name, value in once_kept.tensors.items())
    assert retrain.main(["kept", member]) == 0  # and pictures that a run stored are compared


def test_weights_of_other_numbers_are_not_kept_and_that_is_said(results, capsys):
    member = sorted(results.snapshot().outcomes())[0]
    rows = [row for row in results.snapshot().table("members").to_pylist() if row["member_id"] == member]
    Path("out", "members", f"{rows[0]['run_id']}.parquet").unlink()
    results.rows.write_run(rows[0]["run_id"], {"members": [{**row, "rate": row["rate"] * 1.001} for row in rows]})
    assert retrain.main(["out", member, "--save"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert f"  members.rate: {len(rows)} rows, at most: relative difference 0.001" in said
    assert said[-1] == "its weights were not kept: they are not those of the stored numbers"
    assert weights() == []


def test_a_model_without_weights_is_one_line(results, capsys):
    member = sorted(results.snapshot().outcomes())[0]
    rows = [row for row in results.snapshot().table("members").to_pylist() if row["member_id"] == member]
    Path("out", "members", f"{rows[0]['run_id']}.parquet").unlink()
    nonfinite = [{**row, "outcome": "nonfinite", "reason": "not finite at step 3"} for row in rows]
    results.rows.write_run(rows[0]["run_id"], {"members": nonfinite})
    assert retrain.main(["out", member, "--save"]) == 2
    assert "is nonfinite and has no weights; allowed: one that is ok" in capsys.readouterr().err


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize(("given", "expected"), [("zz", "no model in out"), ("", "4 models in out")])
def test_an_id_that_names_no_model_or_many_is_one_line(capsys, given, expected):
    assert retrain.main(["out", given]) == 2
    assert f"error: {expected} with an id that begins with" in capsys.readouterr().err


def test_rows_are_compared_value_by_value():
    nan = float("nan")
    first: list[dict[str, Any]] = [
        {"a": 1.0, "b": None, "c": nan, "d": "x", "host": "one"},
        {"a": 2.0, "b": 1.0, "c": 0.0, "d": "x", "host": "one"},
    ]
    other: list[dict[str, Any]] = [
        {"a": 1.0, "b": None, "c": nan, "d": "x", "host": "two"},
        {"a": 2.5, "b": None, "c": 0.0, "d": "y", "host": "two"},
    ]
    assert compare(first, first, table="t") == []
    assert compare(first, other, table="t") == [
        Difference("t.a", 1, 0.2),
        Difference("t.b", 1, float("inf")),
        Difference("t.d", 1, float("inf")),
    ]
    (rows,) = compare(first, other[:1], table="t")
    assert str(rows) == "t: 2 rows stored, and now 1"
