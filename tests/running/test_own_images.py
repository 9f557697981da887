"""Images of one's own are found by their name, on any machine that reaches the results folder that holds them."""

from pathlib import Path

import numpy as np
import pytest

from rdstudy.datasets import own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.own import own_files
from rdstudy.results.store import Store
from rdstudy.run import main
from tests.test_run import STUDY, table


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A study that names images which this node lacks, and the results folder `out` that holds them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "there"))
    name = own_dataset("faces", np.random.default_rng(3).integers(0, 256, (211, 1, 5, 7), np.uint8))
    Store.create("out").blobs.write_dataset(name, own_files(name))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "here"))
    Path("tiny.py").write_text(STUDY.replace('"tetrominoes"', f'"{name}"'))
    return name


def test_a_study_is_planned_and_trained_with_images_that_the_results_folder_holds(named, capsys):
    assert main(["tiny.py", "--out", "out", "--plan"]) == 0
    assert "4 distinct members, 0 done, 4 remaining" in capsys.readouterr().out
    assert set(own_files(named)) == set(Store.open("out").blobs.dataset_files(named))
    assert main(["tiny.py", "--out", "out", "--local", "--no-report"]) == 0
    assert {(row["dataset"], row["outcome"]) for row in table()} == {(named, "ok")}


def test_images_that_neither_this_node_nor_the_results_folder_has_are_one_line(named, capsys):
    for out in ("another", "out"):
        if out == "out":
            for file in Path("out", "datasets", named).iterdir():
                file.unlink()
        assert main(["tiny.py", "--out", out, "--local"]) == 2
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert f"data set is '{named}'; allowed: " in line
    assert not Path("another").exists()


@pytest.mark.usefixtures("named")
def test_a_results_folder_is_not_asked_for_what_is_here(monkeypatch):
    main(["tiny.py", "--out", "out", "--plan"])
    monkeypatch.setattr("rdstudy.running.own_images.Store", None)
    assert main(["tiny.py", "--out", "out", "--plan"]) == 0
