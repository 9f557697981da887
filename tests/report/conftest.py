"""Simulated stores, written through the real Store: sizes, numbers and defects are chosen by each test."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import pandas as pd
import pytest

from rdstudy.report.contents import page_of
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.page import Figure, Page, render
from rdstudy.report.read import StudyTables, read_study
from rdstudy.results.declaration import Declaration, DeclaredExperiment
from rdstudy.results.rows import new_run_id
from rdstudy.results.store import Store
from rdstudy.study import Evaluation, Experiment, Member, Recipe, Study
from rdstudy.study.factors import FACTORS

Made = TypeVar("Made")

FLOOR = 180.0
DENSITY_FLOOR = -4_711.0
"""Of Gaussian pixels."""
DECLARED = datetime(2026, 1, 1, 3, 4, 5, tzinfo=UTC)  # before the first result
COMMAND = "python -m rdstudy.run studies/simulated.py"
BETAS = (0.001, 0.01, 0.1, 1.0, 3.0)

# Distortion above its floor and rate at BETAS, as pilot runs of a small study gave them: a minimum in β
# at depth 1 alone.
TEST_EXCESS = {1: (99.0, 94.0, 85.0, 76.0, 84.0), 3: (92.0, 95.0, 97.0, 99.0, 105.0)}
TRAIN_EXCESS = {1: (23.0, 23.0, 27.0, 40.0, 57.0), 3: (40.0, 45.0, 60.0, 78.0, 88.0)}
RATE = {1: (394.0, 194.0, 57.0, 21.0, 14.0), 3: (150.0, 82.0, 33.0, 11.0, 9.0)}


@dataclass(frozen=True)
class Simulation:
    """What a simulated store holds.

    Attributes:
        outcomes: outcome of member number i, those beyond the end are `ok`; None for a member not trained.
        versions: code version of member number i, cycled.
        hostile: a text put into every field that a user writes.
        levels: of further factors.
        figures: that the page shows, all by default; a page of few is sooner made.
    """

    depths: Sequence[int] = (1, 3)
    betas: Sequence[float] = BETAS
    seeds: int = 3
    splits: Sequence[str] = ("cv(16384)",)
    architectures: Sequence[str] = ("mlp",)
    datasets: Sequence[str] = ("tetrominoes",)
    points: int = 7
    outcomes: Sequence[str | None] = field(default=())
    versions: Sequence[str] = ("0.1.0+abc1234",)
    hostile: str = ""
    damaged: bool = False
    measured: bool = False
    levels: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    name: str = "simulated"
    figures: Sequence[str] = ()

    def study(self) -> Study:
        grid = {
            "dataset": self.datasets,
            "split": self.splits,
            "architecture": self.architectures,
            "depth": self.depths,
            "beta": self.betas,
            "seed": range(self.seeds),
            **self.levels,
        }
        text = self.hostile or "Does the generalization gap have a minimum in β?"
        title = self.hostile or "Depth"
        experiment = Experiment("depth", grid, title=title, description=text, figures=self.figures)
        recipe, evaluation = Recipe(steps=9_973), Evaluation(trajectory_points=self.points)
        title = self.hostile or "A quick look at rate and distortion"
        return Study(self.name, [experiment], title=title, description=text, recipe=recipe, evaluation=evaluation)

    def write(self, folder: Path) -> Store:
        store, study = Store.create(str(folder)), self.study()
        members = study.experiments[0].members(study)
        store.declarations.declare(declaration(study), at=DECLARED)
        tables: dict[str, list[dict[str, Any]]] = {"members": [], "trajectories": [], "measures": []}
        run_id = new_run_id()
        for number, member in enumerate(members):
            outcome = self.outcomes[number] if number < len(self.outcomes) else "ok"
            if outcome is not None:
                self._add(tables, member, run_id, outcome, self.versions[number % len(self.versions)])
        if tables["members"]:
            store.rows.write_run(run_id, tables)
        for dataset in self.datasets:
            store.rows.write_examples(dataset, examples(dataset))
        if self.damaged:
            (folder / "members").mkdir(exist_ok=True)
            (folder / "members" / f"{new_run_id()}.parquet").write_bytes(b"PAR1 torn")
        return store

    def _add(self, tables: dict[str, list[dict[str, Any]]], member: Member, run_id: str, outcome: str, version: str):
        for subset in ("train", "test"):
            row = member_row(member, subset, run_id, version)
            if outcome != "ok":
                reason = self.hostile or f"loss is not finite at step {100 + member.seed}\nTraceback: two lines"
                blank = dict.fromkeys(("distortion", "rate", "elbo"))
                tables["members"].append({**row, **blank, "outcome": outcome, "reason": reason})
                continue
            if self.measured:
                row |= {"stop_step": 101 + member.seed, "stop_distortion": row["distortion"] - 3.0, "stop_rate": 5.0}
                tables["measures"].append(measures_row(row, self.study().measures.measures_id))
            tables["members"].append(row)
            tables["trajectories"] += curve(row, self.points)


HOSTILE = "</script><b>&\"'{{ 7*7 }}"
WHOLE, MEASURED, NOTHING = Simulation(), Simulation(measured=True), Simulation(outcomes=[None] * 30)
HALF = Simulation(outcomes=["ok"] * 11 + ["failed", "nonfinite"] + [None] * 17, damaged=True, versions=["a", "b"])
HOSTILE_TEXTS = Simulation(hostile=HOSTILE, outcomes=["failed"])
THREE_SIZES = Simulation(measured=True, depths=[1], betas=[0.1, 1.0], splits=("cv(8192)", "cv(16384)", "cv(32768)"))
"""Studies of which many tests look at one page: all is trained, measured too, nothing is, a half, names are code, and
splits of three sizes."""


def declaration(study: Study) -> Declaration:
    """What `rdstudy.run` keeps of a study; `default` splits are resolved there, and are not used here."""
    experiments, members = [], {}
    for experiment in study.experiments:
        own = {member.member_id: member.to_dict() for member in experiment.members(study)}
        members.update(own)
        words = (experiment.name, experiment.title, experiment.description)
        experiments.append(DeclaredExperiment(*words, tuple(own), tuple(experiment.figures)))
    identity = {"names": list(study.measures.names), "measures_id": study.measures.measures_id}
    return Declaration(
        name=study.name,
        title=study.title,
        description=study.description,
        seed=study.seed,
        command=COMMAND,
        recipe=dataclasses.asdict(study.recipe),
        evaluation=dataclasses.asdict(study.evaluation),
        resources=dataclasses.asdict(study.resources),
        measures={**dataclasses.asdict(study.measures), **identity},
        experiments=tuple(experiments),
        members=members,
    )


def member_row(member: Member, subset: str, run_id: str, version: str) -> dict[str, Any]:
    rng = np.random.default_rng(
        [member.seed, member.depth, round(1e4 * member.beta), subset == "test", len(member.split)]
    )
    at, known = math.log10(max(member.beta, 3e-4)), [math.log10(beta) for beta in BETAS]
    excess = (TEST_EXCESS if subset == "test" else TRAIN_EXCESS)[1 if member.depth == 1 else 3]
    floor = FLOOR if member.likelihood == "bernoulli" else DENSITY_FLOOR
    distortion = floor + (subset == "test") * 1.7 + float(np.interp(at, known, excess)) + rng.normal(0, 0.9)
    rate = float(np.interp(at, known, RATE[1 if member.depth == 1 else 3])) * (1 + rng.normal(0, 0.02))
    settings = {name: member.level(name) for name in (*FACTORS, "study_seed")}
    sizes = {"images": 16_384, "subset_images": 16_384 if subset == "train" else 147_456, "parameters": 3_700_000}
    made = {"code_version": version, "python_version": "3.12.1", "torch_version": "2.13.0", "numpy_version": "2.3.0"}
    where = {"device": "cpu", "host": "a", "finished_at": datetime(2026, 1, 2, tzinfo=UTC), "numerics_version": 1}
    values = {"distortion": distortion, "rate": rate, "elbo": -(distortion + rate), "distortion_floor": floor}
    if subset == "test":
        values["distortion_floor"] += 1.7
    identity = {
        "member_id": member.member_id,
        "run_id": run_id,
        "subset": subset,
        "outcome": "ok",
        "wall_seconds": 61.0,
    }
    return {**identity, **settings, **sizes, **made, **where, **values}


def measures_row(row: dict[str, Any], measures_id: str) -> dict[str, Any]:
    """Measures that belong together: I + KL = R, and a gap whose parts add up."""
    identity = {name: row[name] for name in ("member_id", "run_id", "subset", "finished_at", "code_version", "device")}
    test, rate = row["subset"] == "test", row["rate"]
    information = min(rate, 9.0)
    counts = {"aggregate_images": 147_456 if test else 16_384, "latent_samples": 1000, "importance_images": 199}
    values = {
        "aggregate_rate": rate,
        "mutual_information": information,
        "marginal_kl": rate - information,
        "total_correlation": 0.25 * (rate - information),
        "dimension_kl": 0.75 * (rate - information),
        "log_marginal": -(row["distortion"] + rate) + 2.0 + test,
        "inference_gap": 2.0 + test,
        "optimal_distortion": row["distortion"] + 10 * test,
    }
    if test:
        values |= {"cross_rate": rate + 4.0, "copied_fraction": 0.25, "refit_gain": 0.5}
    errors = {f"{name}_se": 0.03 for name in values if name != "aggregate_rate"}
    doubted = row["beta"] < 0.05
    checks = {"khat": 1.2, "passed": 0.5, "annealed": 0.25} if doubted else {"khat": 0.3, "passed": 1.0, "annealed": 0}
    more = {
        "measures_id": measures_id,
        "importance_samples": 997,
        "log_marginal_floor": row["distortion_floor"],
        "log_marginal_ess": 3.0 if doubted else 300.0,
        **{f"log_marginal_{name}": float(value) for name, value in checks.items()},
        "active_units": 7,
        "null_reasons": "batch_rate_parts: 500 images in the aggregate; allowed: 512 | other: why" if test else None,
    }
    return {**identity, **counts, **values, **errors, **more, **of_images(values, row["distortion_floor"], test=test)}


def of_images(values: dict[str, Any], floor: float, *, test: bool) -> dict[str, Any]:
    """Numbers image by image whose means are those of the row; the images are the same in all members."""
    apart = np.random.default_rng(test).normal(0, 20.0, 199)
    log_marginal = values["log_marginal"] + floor + apart - apart.mean()
    elbo = log_marginal - values["inference_gap"]
    lists = {"log_marginal": log_marginal, "elbo": elbo, "refit_elbo": elbo + 0.5}
    return {f"image_{name}": numbers.tolist() for name, numbers in lists.items()}


def curve(row: dict[str, Any], points: int) -> list[dict[str, Any]]:
    """A learning curve that ends at the final values."""
    identity = {name: row[name] for name in ("member_id", "run_id", "subset")}
    rows = []
    for step in np.unique(np.geomspace(1, row["steps"], points).round().astype(int)):
        left = 1 - math.log(step) / math.log(row["steps"])
        distortion = row["distortion"] + 1800 * left**2.5
        rate = row["rate"] * (1 - left) ** 1.3 + 0.01
        values = {
            "distortion": distortion,
            "rate": rate,
            "elbo": -distortion,
            "distortion_floor": row["distortion_floor"],
        }
        rows.append({**identity, "step": int(step), "images": 2000, **values})
    return rows


def examples(dataset: str, images: int = 11) -> list[dict[str, Any]]:
    rng = np.random.default_rng(5)
    rows = []
    for image in range(images):
        pixels = np.zeros((3, 17, 13), np.uint8)
        pixels[:, image % 11 : image % 11 + 5, 3:7] = rng.integers(60, 255, (3, 1, 1))
        shape = {"channels": 3, "height": 17, "width": 13}
        factors = {"factor_names": ["rotation", "hue"], "factors": [0.25, float(rng.random())]}
        rows.append({"dataset": dataset, "image": image, "pixels": pixels.tobytes(), **shape, **factors})
    return rows


def tables_of(study: StudyTables, **changes: Any) -> ExperimentTables:
    """The tables of the one experiment of a simulated study, with some of the study's tables replaced."""
    return ExperimentTables.of(dataclasses.replace(study, **changes), study.experiments[0])


class Simulated:
    """Simulated studies, their pages and the HTML of these, each made once in a process: tests ask for the same ones.

    The stores are only read; a test that damages or extends one writes its own, by `Simulation.write`. Tables are
    copies, which a test may change.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: dict[tuple[str, str], Any] = {}

    def store(self, simulation: Simulation) -> Store:
        return self._once("store", simulation, lambda: simulation.write(self._folder / f"{len(self._made)}"))

    def __call__(self, simulation: Simulation) -> StudyTables:
        study = self._once("study", simulation, lambda: read_study(self.store(simulation), simulation.name))
        fields = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
        tables: dict[str, Any] = {
            name: table.copy() for name, table in fields.items() if isinstance(table, pd.DataFrame)
        }
        return dataclasses.replace(study, **tables)

    def page(self, simulation: Simulation) -> Page:
        return self._once("page", simulation, lambda: page_of(self(simulation)))

    def html(self, simulation: Simulation) -> str:
        return self._once("html", simulation, lambda: render(self.page(simulation)))

    def figures(self, simulation: Simulation) -> dict[str, Figure]:
        """The charts of the page by their keys."""
        return {figure.key: figure for figure in self.page(simulation).figures}

    def _once(self, kind: str, simulation: Simulation, make: Callable[[], Made]) -> Made:
        key = (kind, repr(simulation))
        if key not in self._made:
            self._made[key] = make()
        return cast(Made, self._made[key])


@pytest.fixture(scope="session")
def simulate(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """`simulate(simulation)` is the study that it reads back."""
    return Simulated(tmp_path_factory.mktemp("simulated"))
