"""`rdstudy fetch`: the data that a study needs is in the cache of this node, and nothing else is done."""

from pathlib import Path

import numpy as np
import pytest

from rdstudy.__main__ import main
from rdstudy.datasets import Dataset, DatasetInfo, registry
from rdstudy.study.checks import whole

STUDY = """
from rdstudy.study import Experiment, Study

GRID = {"split": ["cv(7)"], "beta": [1], "seed": [0]}
STUDY = Study(
    name="three",
    experiments=[
        Experiment("first", grid={**GRID, "dataset": ["a", "b"]}),
        Experiment("second", grid={**GRID, "dataset": ["b", "c"]}),
    ],
)
"""


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the data sets that were loaded, each of which is small."""
    monkeypatch.chdir(tmp_path)
    Path("three.py").write_text(STUDY)
    names: list[str] = []

    def info(name: str) -> DatasetInfo:
        def load() -> Dataset:
            if name == "c":
                whole("mirrors", 0, least=1)  # as the package says what a user can mend
            names.append(name)
            return Dataset(np.zeros((200, 1, 8, 8), np.uint8), None)

        return DatasetInfo(name, 200, (1, 8, 8), (), load)

    for name in "abc":
        monkeypatch.setitem(registry._DATASETS, name, info(name))
    return names


def test_each_data_set_is_loaded_once_and_nothing_else_is_made(loaded, capsys):
    assert main(["fetch", "three.py", "--only", "first"]) == 0
    assert loaded == ["a", "b"]
    assert capsys.readouterr().out.startswith("a: 200 images of 1 × 8 × 8 ...\na: here\n")
    assert [path.name for path in Path().iterdir() if path.name != "__pycache__"] == ["three.py"]


def test_data_that_cannot_be_had_is_one_line(loaded, capsys):
    assert main(["fetch", "three.py"]) == 2
    assert loaded == ["a", "b"]
    assert capsys.readouterr().err == "error: mirrors is 0; allowed: a whole number, 1 or more and below 2^63\n"


@pytest.mark.usefixtures("loaded")
def test_a_misspelt_experiment_is_answered_with_the_nearest(capsys):
    assert main(["fetch", "three.py", "--only", "frist"]) == 2
    assert capsys.readouterr().err == "error: --only is 'frist' (did you mean first?); allowed: first, second\n"
