"""The recipes of CONTRIBUTING, followed word for word in a copy of the package: what they name is enough.

A fault is what `tests/chaos` is made of, a page what `tests/test_docs.py` reads.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("a data set", "a measure", "a figure", "a part", "a claim", "a fault", "a page")

READER = """
import numpy as np

def read_images(paths, out):
    out[:] = np.frombuffer(paths[0].read_bytes(), np.uint8).reshape(out.shape)
"""
DATA_SET = """
from rdstudy.datasets import plain

_PLAIN = Published(
    "plain", 1, 211, 1, {{}}, (RemoteFile("plain", "images.bin", ("http://x/images.bin",), "sha256:{digest}", {size}),),
    plain.read_images, None,
)
PUBLISHED = (*PUBLISHED, _PLAIN)
"""
FUNCTION = """
def brightness(images):
    return float(images.double().mean())
"""
MEASURE = """
from rdstudy.measures.brightness import brightness as mean_of

def brightness(trained, subset):
    trained.columns[subset]["brightness"] = mean_of(trained.reconstruct(trained.train_images[:7]))
"""
FIGURE = """
from rdstudy.report import measures
from rdstudy.report.curves import curves_chart
from rdstudy.report.figure import FigureKind

ORDER = 101

FIGURE = FigureKind(
    name="brightness",
    title="Brightness",
    needs="the measure brightness",
    table=lambda experiment: measures.curves(experiment.measured, {"brightness": "brightness"}),
    chart=lambda _, table: curves_chart(table, title="brightness"),
    note="Of seven reconstructions.",
)
"""
PRIOR = """
import math

import torch

from rdstudy.model.priors._prior import Prior


class Shifted(Prior):
    def __init__(self, shape, *, by: float = 1.0):
        super().__init__()
        self._latent_dim, self._by = shape.latent_dim, by

    def log_density(self, z, encode):
        return -0.5 * ((z - self._by).square() + math.log(2 * math.pi)).sum(dim=-1)

    def sample(self, count, generator, encode):
        return self._by + torch.randn(count, self._latent_dim, generator=generator, device=generator.device)
"""
STUDY = """
from rdstudy import Evaluation, Experiment, Measures, Recipe, Study
from rdstudy.study.claims import Claim, above

GRID = {"dataset": ["plain"], "split": ["cv(101)"], "prior": ["shifted(by=0.5)"], "beta": [1], "seed": [0, 1]}
STUDY = Study(
    "recipes",
    [Experiment("all", GRID)],
    recipe=Recipe(steps=5, batch_size=11),
    evaluation=Evaluation(trajectory_points=2, trajectory_images=31),
    measures=Measures(names=["brightness"], neighbour_images=13),
    claims=[Claim("rate", "There is a rate.", "", [above({"dataset": "plain"}, value="rate", subset="test", least=0)])],
)
"""
FOLLOWED = """
import rdstudy
from rdstudy.report.__main__ import main as report
from rdstudy.run import main

assert rdstudy.__file__.startswith({folder!r})
assert main(["study.py", "--local"]) == 0
assert rdstudy.load("results").measures["brightness"].between(0, 1).all()
assert len(rdstudy.figure_table("results", "brightness")) == 2
page = open("reports/recipes.html", encoding="utf-8").read()
print("There is a rate." in page, "Of seven reconstructions." in page)
"""


def test_every_recipe_is_named_here():
    named = re.findall(r"^\*\*Add (.*?)\*\*", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert tuple(name.strip(".").rstrip(":") for name in named) == RECIPES


@pytest.mark.slow
def test_recipes_that_are_followed_are_enough(tmp_path):
    package = tmp_path / "rdstudy"
    shutil.copytree(ROOT / "rdstudy", package, ignore=shutil.ignore_patterns("__pycache__"))
    images = np.random.default_rng(0).integers(0, 256, (211, 1, 32, 32), np.uint8).tobytes()
    published = package / "datasets" / "published.py"
    digest = hashlib.sha256(images).hexdigest()
    published.write_text(published.read_text() + DATA_SET.format(digest=digest, size=len(images)))
    schema = package / "results" / "schema.py"
    schema.write_text(with_column(schema.read_text()))
    for name, text in (
        ("datasets/plain.py", READER),
        ("measures/brightness.py", FUNCTION),
        ("measuring/measures/brightness.py", MEASURE),
        ("report/figures/brightness.py", FIGURE),
        ("model/priors/shifted.py", PRIOR),
    ):
        (package / name).write_text(f'"""As a recipe says."""\n{text}')
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "data" / "plain").mkdir(parents=True)
    (tmp_path / "data" / "plain" / "images.bin").write_bytes(images)
    done = subprocess.run(
        [sys.executable, "-c", FOLLOWED.format(folder=str(tmp_path))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "RDSTUDY_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True True"


def with_column(schema: str) -> str:
    """The columns of the schema, one more at the end of `MEASURES`."""
    before, measures = schema.split("MEASURES = pa.schema(\n    [\n", 1)
    columns, after = measures.split("\n    ]\n", 1)
    column = '        ("brightness", pa.float64()),  # mean pixel of reconstructions, in [0, 1]'
    return f"{before}MEASURES = pa.schema(\n    [\n{columns}\n{column}\n    ]\n{after}"
