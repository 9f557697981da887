"""Simulated studies with known answers: curves drawn around a truth, and whole tables in which the paper is right."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.findings.evidence import Evidence
from rdstudy.findings.results import VERDICTS, Verdict, whole
from rdstudy.findings.values import Curve, Values
from rdstudy.study.claims import Arm

BETAS = (0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0, 3.0, 5.0)
DECADES = np.log10(BETAS)  # from -3 to 0.7

Truth = Callable[[Arm, str, str], NDArray[np.float64]]
"""Arm, value, subset -> the true mean at each of `BETAS`."""


Noise = Callable[[np.random.Generator, int], NDArray[np.float64]]
"""Generator, seeds -> what is added to the truth, `[seed, β]`, for an sd of 1; NaN where a model is lost."""


def even(rng: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """As much at every β; a seed's β share a shift twice as wide, which paired contrasts must not see."""
    return rng.standard_normal((seeds, len(BETAS))) + 2 * rng.standard_normal((seeds, 1))


def ten_times(place: int) -> Noise:
    """Ten times as much at one β."""
    widths = np.where(np.arange(len(BETAS)) == place % len(BETAS), 10.0, 1.0)
    return lambda rng, seeds: rng.standard_normal((seeds, len(BETAS))) * widths


def heavy(rng: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """Student's t with 5 degrees of freedom: a model far off now and then."""
    return np.asarray(rng.standard_t(5, (seeds, len(BETAS)))) / math.sqrt(5 / 3)


def tilted(rng: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """A seed's curve as a whole is steeper or flatter than another's: neighbouring β err alike."""
    slopes = rng.standard_normal((seeds, 1))
    return 0.5 * rng.standard_normal((seeds, len(BETAS))) + slopes * ((DECADES + 3) / 2)


def lossy(rng: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """One model of thirty is lost."""
    noise = even(rng, seeds)
    noise[rng.random(noise.shape) < 1 / 30] = np.nan
    return noise


NASTY: dict[str, Noise] = {
    "even": even,
    "ten times at one β": ten_times(5),
    "ten times at the smallest β": ten_times(0),
    "ten times at the largest β": ten_times(-1),
    "heavy tails": heavy,
    "tilted seeds": tilted,
    "lost models": lossy,
}


@dataclass
class Drawn(Values):
    """Values that are drawn around a truth, so that thousands of studies can be judged in seconds."""

    truth: Truth = field(kw_only=True)
    rng: np.random.Generator = field(kw_only=True)
    seeds: int = field(default=5, kw_only=True)
    sd: float = field(default=1.0, kw_only=True)
    noise: Noise = field(default=even, kw_only=True)
    doubted: tuple[float, ...] = field(default=(), kw_only=True)  # β at which log p(x) is not to be believed
    _curves: dict[Any, Curve] = field(default_factory=dict, kw_only=True)

    def curve(self, arm: Arm, value: str, subset: str) -> Curve:
        key = (tuple(sorted(arm.items())), value, subset)
        if key not in self._curves:
            table = self.truth(arm, value, subset) + self.sd * self.noise(self.rng, self.seeds)
            doubted = self.doubted if "log_marginal" in value else ()
            self._curves[key] = Curve(pd.DataFrame(table, columns=_COLUMNS), doubted=doubted, arm=str(arm))
        return self._curves[key]


_COLUMNS = pd.Index(BETAS)


def drawn(
    truth: Truth,
    seed: Sequence[int],
    *,
    seeds: int = 5,
    sd: float = 1.0,
    noise: Noise = even,
    neighbours: pd.DataFrame | None = None,
    doubted: Sequence[float] = (),
) -> Drawn:
    empty = pd.DataFrame()
    how = {"seeds": seeds, "sd": sd, "noise": noise, "doubted": tuple(doubted)}
    rng = np.random.default_rng(seed)
    return Drawn(empty, empty, empty if neighbours is None else neighbours, truth=truth, rng=rng, **how)  # type: ignore[arg-type]


def distances(centres: dict[str, float], rng: np.random.Generator, images: int = 400) -> pd.DataFrame:
    """Rows of neighbours whose distances have a standard deviation of 1 around a centre, split by split."""
    parts = [
        pd.DataFrame({"split": split, "image": np.arange(images), "distance": rng.normal(centre, 1.0, images)})
        for split, centre in centres.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(dataset="tetrominoes", study_seed=0)


# --- tables in which the paper is right -------------------------------------------------------------------------------

FLOOR = 180.0
_SPARSE = 16_384


def scarcity(split: str) -> float:
    """How far test images are from training images: 0 on dense data, 1 on the paper's sparse split."""
    if split == "checkerboard":
        return 0.95
    if split.startswith("cd"):
        return 0.8
    return float(np.log2(81_920 / int(split[3:-1])) / np.log2(81_920 / _SPARSE))


def paper_rows(planned: pd.DataFrame, rng: np.random.Generator, sd: float = 0.05) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of members and of measures for which all claims of the paper hold, with a little noise."""
    p = planned.assign(u=np.log10(planned["beta"]))
    deep, cnn, u = p["depth"] > 1, p["architecture"] == "cnn", p["u"]
    s = np.where(p["dataset"] == "tetrominoes", [scarcity(split) for split in p["split"]], 1.0)
    train = np.where(deep, 12 + 10 * (u + 3), 20 + 12 * (u + 3))
    gap = s * np.where(deep, 4 + 4 * np.abs(u + 1), 2 + 3 * (0.7 - u) ** 2)
    odd_one = (p["dataset"] == "3dshapes") & deep
    gap = gap + np.where(odd_one, 12 * (0.7 - u) ** 2, 0.0) + np.where(s == 0, 0.05, 0.0)
    gap = np.where(cnn, np.where(deep, 3.0, 3.0 + 16 * np.maximum(-2.5 - u, 0)), gap)
    gap = gap + p["objective"].map({"beta": 0.0, "no_mutual_information": 0.5, "no_marginal_kl": -5.0})
    rate = 10 * np.exp(-(u + 1)) * np.where(deep, 1.0, 1.3)
    images = np.array([int(split[3:-1]) if "(" in split else 81_920 for split in p["split"]])
    information = np.log(images) * (1 - 0.001 * (u + 3) - 0.2 * np.maximum(u, 0))
    copied = np.where(deep, 0.02 + 0.6 / (1 + np.exp(-6 * (u + 0.5))), 0.02)
    tables = []
    for subset in ("train", "test"):
        excess = train + (gap if subset == "test" else 0.0)
        values = {
            "distortion": FLOOR + excess,
            "rate": rate,
            "stop_distortion": FLOOR + 25 + 11 * (u + 3),
            "mutual_information": information,
            "marginal_kl": 3 * np.exp(-2 * u),
            "copied_fraction": copied if subset == "test" else np.nan,
            "memorization": 0.5 + 0.5 * copied if subset == "test" else np.nan,
            "log_marginal": -(FLOOR + excess + rate) + 2,
        }
        rows = pd.DataFrame({"member_id": p["member_id"], "subset": subset, "outcome": "ok", "distortion_floor": FLOOR})
        noise = {"copied_fraction": 0.1 * sd, "mutual_information": 0.1 * sd, "memorization": 0.1 * sd}
        drawn = {k: v + noise.get(k, sd) * rng.standard_normal(len(p)) for k, v in values.items()}
        counts: dict[str, Any] = {
            "aggregate_images": images,
            "images": 16_384,
            "log_marginal_floor": FLOOR,
            "log_marginal_passed": 1.0,
            "importance_images": 200,
            "memorization_se": 0.01,
            "memorization_images": 500,
        }
        tables.append(rows.assign(**drawn, **counts))
    table = pd.concat(tables, ignore_index=True)
    return table, table.drop(columns=["distortion", "rate", "stop_distortion", "outcome", "distortion_floor", "images"])


def paper_distances(rng: np.random.Generator) -> pd.DataFrame:
    return distances({"cv(81920)": 4.0, "cv(16384)": 6.0, "checkerboard": 5.9}, rng)


def verdict_of(held: Sequence[Evidence]) -> Verdict:
    """The verdict on a claim with these contrasts, of which all must hold."""
    return VERDICTS[whole(held).result]
