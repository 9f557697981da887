"""The examples: each is a page long, and runs to a page."""

import shutil
from pathlib import Path

import pytest

from rdstudy.results.store import Store
from rdstudy.run import main

FOLDER = Path(__file__).resolve().parents[2] / "studies" / "examples"
STUDIES = sorted(path.stem for path in FOLDER.glob("*.py") if "STUDY = " in path.read_text())
SMALL = {
    "recipe.steps": 5,
    "recipe.batch_size": 11,
    "evaluation.trajectory_points": 2,
    "evaluation.trajectory_images": 31,
    "evaluation.final_images": 53,
    "measures.aggregate_images": 101,
    "measures.neighbour_images": 53,
}
MOST_LINES = 30


@pytest.mark.parametrize("name", STUDIES)
def test_an_example_runs_to_a_page(name, tmp_path, monkeypatch):
    """With one seed: more of them go through the same code."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(FOLDER, "examples")
    path = Path("examples", f"{name}.py")
    path.write_text(path.read_text().replace("range(2)", "range(1)"))
    options = [word for setting, value in SMALL.items() for word in ("--set", f"{setting}={value}")]
    assert main([str(path), "--local", "--out", "out", *options]) == 0
    outcomes = Store.open("out").snapshot().outcomes()
    assert len(outcomes) >= 2
    assert set(outcomes.values()) == {"ok"}
    assert Path("reports", f"example-{name}.html").exists()


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= MOST_LINES


def test_there_is_one_for_every_part_of_ones_own():
    assert {"images", "architecture", "prior", "likelihood", "objective"} <= set(STUDIES)
