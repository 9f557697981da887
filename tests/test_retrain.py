"""A row is trained again from its id: the same bits, or what differs."""

from pathlib import Path
from typing import Any

import pytest

from rdstudy import retrain
from rdstudy.results.store import Store
from rdstudy.retrain import Difference, compare
from tests.test_run import MEASURES, STUDY, run


@pytest.fixture
def results(tmp_path, monkeypatch) -> Store:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "tiny.py"
    path.write_text(STUDY.replace("Measures(names=[])", MEASURES))
    assert run(path, "--no-report") == 0
    return Store.open("out")


def test_the_same_numbers_are_said_to_be_the_same_and_nothing_is_written(results, tmp_path, capsys):
    before = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    member = sorted(results.outcomes())[0]
    assert retrain.main(["out", member[:12]]) == 0
    said = capsys.readouterr().out
    assert f"model {member}: tetrominoes, cv(97), mlp of depth" in said
    assert said.splitlines()[-1].startswith("the same numbers, to the bit")
    for table in ("members", "trajectories", "measures", "probes", "reconstructions"):
        assert f"{table}: " in said
    assert sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file()) == before


def test_another_number_is_named_with_its_size(results, capsys):
    member = sorted(results.outcomes())[0]
    rows = [row for row in results.read("members").to_pylist() if row["member_id"] == member]
    Path("out", "members", f"{rows[0]['run_id']}.parquet").unlink()
    results.write_run(
        rows[0]["run_id"], {"members": [{**row, "distortion": row["distortion"] * 1.001} for row in rows]}
    )
    assert retrain.main(["out", member]) == 1
    said = capsys.readouterr().out
    assert f"members.distortion: {len(rows)} rows, at most: relative difference 0.001" in said
    assert said.count("relative difference") == 1


def test_rows_that_are_missing_are_other_numbers(results, capsys):
    member = sorted(results.outcomes())[0]
    (run_id,) = {row["run_id"] for row in results.read("members").to_pylist() if row["member_id"] == member}
    path = Path("out", "trajectories", f"{run_id}.parquet")
    rows = results.read("trajectories").to_pylist()
    kept = [row for row in rows if row["run_id"] == run_id][1:]
    path.unlink()
    results._write_table(f"trajectories/{run_id}.parquet", "trajectories", kept)
    assert retrain.main(["out", member]) == 1
    assert f"  trajectories: {len(kept)} rows stored, and now {len(kept) + 1}" in capsys.readouterr().out.splitlines()


def test_images_that_are_not_there_are_one_line(results, capsys, monkeypatch):
    def missing(*_: object) -> None:
        raise ValueError("images.gz of mnist is missing; put it at here/mnist/images.gz")

    monkeypatch.setattr("rdstudy.worker._load_subsets", missing)
    member = sorted(results.outcomes())[0]
    assert retrain.main(["out", member]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: model {member} cannot be trained again here: ")
    assert error.endswith("images.gz of mnist is missing; put it at here/mnist/images.gz")


def test_of_two_studies_the_one_that_measured_the_model_says_what_is_compared(results, capsys):
    results.declare("zeta", {**results.declaration("tiny"), "measures": {"names": [], "measures_id": "none"}})
    member = sorted(results.outcomes())[0]
    assert retrain.main(["out", member]) == 0
    assert "measures: " in capsys.readouterr().out


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
