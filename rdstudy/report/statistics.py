"""Rows of members -> tidy tables over seeds: means, standard deviations, learning curves, the best β.

Rates, distortions and ELBOs are in nats per image. Only members with outcome `ok` enter a mean. A standard deviation
is the sample standard deviation over seeds (n - 1), null where one member stands behind a point.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile

MEASURES = ("rate", "distortion", "excess", "elbo")
"""`excess` is the distortion above its floor."""

_CROWDED = 0.09  # share of an edge of a panel that the name of a contour needs

_POINT = ["cell", "panel", "dataset", "beta", "subset"]


def ok_rows(planned: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """The rows behind every mean: one per trained member and subset.

    Args:
        planned: one row per member, with `cell` and `panel` (`cells.with_cells`).
        members: stored rows (`schema.MEMBERS`).

    Returns:
        Columns `member_id, cell, panel, dataset, beta, seed, subset, images, rate, distortion, floor, excess, elbo`.
    """
    identity = planned[["member_id", "cell", "panel", "dataset", "beta", "seed"]]
    values = ["member_id", "subset", "images", "rate", "distortion", "distortion_floor", "elbo"]
    rows = members.loc[members["outcome"] == "ok", values].rename(columns={"distortion_floor": "floor"})
    rows["excess"] = rows["distortion"] - rows["floor"]
    return identity.merge(rows, on="member_id", how="inner")


def rate_distortion(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds: one row per cell × β × subset.

    Args:
        rows: of `ok_rows`.

    Returns:
        `cell, panel, dataset, beta, subset, runs, images, floor`, and `<measure>, <measure>_sd` for each of `MEASURES`,
        by cell, β and subset. `runs` is the number of members behind a point.
    """
    groups = rows.groupby(_POINT, sort=True)
    table = groups.agg(runs=("member_id", "nunique"), images=("images", "max"), floor=("floor", "mean"))
    for name in MEASURES:
        table[name] = groups[name].mean()
        table[f"{name}_sd"] = groups[name].std(ddof=1)
    return table.reset_index()


def generalization_gap(rows: pd.DataFrame) -> pd.DataFrame:
    """What a member does worse on test images than on its training images, each above its own floor.

    Args:
        rows: of `ok_rows`.

    Returns:
        `cell, beta, gap, gap_sd, elbo_gap, elbo_gap_sd, gap_runs`: test minus train distortion, train minus test ELBO,
        mean and standard deviation over the members that have both subsets; null where none has.
    """
    above = rows.assign(elbo_above=rows["elbo"] + rows["floor"])
    wide = above.pivot_table(index=["cell", "beta", "seed"], columns="subset", values=["excess", "elbo_above"])
    columns = pd.MultiIndex.from_product([["excess", "elbo_above"], ["train", "test"]])
    wide = wide.reindex(columns=columns).astype(float)
    gaps = pd.DataFrame(
        {
            "gap": wide["excess", "test"] - wide["excess", "train"],
            "elbo_gap": wide["elbo_above", "train"] - wide["elbo_above", "test"],
        }
    )
    groups = gaps.groupby(["cell", "beta"], sort=True)
    table = groups.mean().join(groups.std(ddof=1).add_suffix("_sd")).assign(gap_runs=groups["gap"].count())
    return table.reset_index()


ENDS = ("smallest", "largest")
"""The β at the ends of those trained, with which the best one is compared."""


def best_beta(rows: pd.DataFrame) -> pd.DataFrame:
    """The β with the lowest mean test distortion of each cell, and what the smallest and the largest β cost.

    Members of one cell with equal seeds share initial weights, batches and noise, so β are compared seed by seed. The
    best β is chosen by the numbers that it is compared with: intervals are Student's over seeds, corrected for as many
    comparisons as there were other β to choose (Bonferroni).

    Args:
        rows: of `ok_rows`.

    Returns:
        One row per cell: `cell, panel, beta, distortion, distortion_sd, floor, runs, betas`; `place`: where the best β
        lies among those trained (`inside`, `smallest`, `largest`, `only`); for each of `ENDS`, `<end>`: its β, and
        `<end>_rise, <end>_low, <end>_high, <end>_pairs`: distortion there minus that at the best, mean and interval
        over the seeds that have both, no interval for one seed.
    """
    test = rows[rows["subset"] == "test"]
    kept = ["cell", "panel", "beta", "distortion", "distortion_sd", "floor", "runs"]
    found = []
    for cell, points in rate_distortion(test).groupby("cell", sort=True):
        best = points.sort_values("distortion", kind="stable").iloc[0]
        betas = {"smallest": points["beta"].min(), "largest": points["beta"].max()}
        seeds = test[test["cell"] == cell].pivot_table(index="seed", columns="beta", values="distortion")
        record: dict[Any, Any] = best[kept].to_dict()
        record |= {"betas": len(points), "place": _place(best["beta"], *betas.values())}
        for end, beta in betas.items():
            record |= {end: beta} | _rise(seeds[beta] - seeds[best["beta"]], end, choices=max(1, len(points) - 1))
        found.append(record)
    compared = [f"{end}{name}" for end in ENDS for name in ("", "_rise", "_low", "_high", "_pairs")]
    return pd.DataFrame(found, columns=[*kept, "betas", "place", *compared])


def _rise(differences: pd.Series, end: str, *, choices: int) -> dict[str, float]:
    known = differences.dropna()
    mean, pairs, half = known.mean(), len(known), math.nan
    if pairs > 1:
        quantile = student_quantile(1 - (1 - LEVEL) / 2 / choices, pairs - 1)
        half = quantile * float(known.std(ddof=1)) / math.sqrt(pairs)
    named = {"rise": mean, "low": mean - half, "high": mean + half, "pairs": pairs}
    return {f"{end}_{name}": value for name, value in named.items()}


def _place(beta: float, least: float, most: float) -> str:
    if least == most:
        return "only"
    return "smallest" if beta == least else "largest" if beta == most else "inside"


def learning_curves(trajectories: pd.DataFrame, rows: pd.DataFrame, *, points: int) -> pd.DataFrame:
    """Rate and distortion against step: one row per cell × β × subset × step.

    Args:
        trajectories: one row per member, subset and step.
        rows: of `ok_rows`: which members count.
        points: steps of a curve that are kept at most, first and last among them.

    Returns:
        `cell, panel, dataset, beta, subset, step, runs, images, excess, excess_sd, rate, rate_sd`.
    """
    identity = rows[["member_id", "subset", "cell", "panel", "dataset", "beta"]]
    table = trajectories[trajectories["step"] >= 1]  # the axis is logarithmic
    table = table[table["step"].isin(_thinned(np.unique(table["step"].to_numpy()), points))]
    table = table.merge(identity, on=["member_id", "subset"], how="inner")
    table["excess"] = table["distortion"] - table["distortion_floor"]
    groups = table.groupby([*_POINT, "step"], sort=True)
    curves = groups.agg(runs=("member_id", "nunique"), images=("images", "max"))
    for name in ("excess", "rate"):
        curves[name] = groups[name].mean()
        curves[f"{name}_sd"] = groups[name].std(ddof=1)
    return curves.reset_index()


def _thinned(steps: np.ndarray, points: int) -> np.ndarray:
    """At most `points` of the steps, evenly in their order, which is even in log(step)."""
    if len(steps) <= points:
        return steps
    kept: np.ndarray = steps[np.unique(np.linspace(0, len(steps) - 1, points).round().astype(int))]
    return kept


def results(rows: pd.DataFrame) -> pd.DataFrame:
    """The table of results: one row per cell × β.

    Args:
        rows: of `ok_rows`.

    Returns:
        `cell, panel, beta, runs, gap, gap_sd` and, for train and test, `<measure>_<subset>`, `<measure>_sd_<subset>`
        and `floor_<subset>`; null where a subset has no rows.
    """
    points = rate_distortion(rows)
    both = points[points["subset"].isin(["train", "test"])]
    values = ["floor", *MEASURES, *(f"{name}_sd" for name in MEASURES)]
    wide = both.pivot_table(index=["cell", "panel", "beta"], columns="subset", values=values)
    wide = wide.reindex(columns=pd.MultiIndex.from_product([values, ["train", "test"]]))
    wide.columns = pd.Index([f"{value}_{subset}" for value in values for subset in ("train", "test")])
    runs = points.groupby(["cell", "panel", "beta"])["runs"].max()
    return wide.join(runs).reset_index().merge(generalization_gap(rows), on=["cell", "beta"], how="left")


@dataclass(frozen=True)
class PlotDomain:
    """The part of the rate-distortion plane that a panel shows, in nats per image."""

    rate_min: float
    rate_max: float
    distortion_min: float
    distortion_max: float

    @property
    def rate_scale(self) -> Literal["log", "sqrt"]:
        """The axis of the rate: `log`, or `sqrt` where models with a rate near 0 have to be seen."""
        return "log" if self.rate_min > 0 else "sqrt"

    def along(self, rate: float) -> float:
        """Where a rate lies on its axis: 0 at the left end, 1 at the right."""
        if self.rate_scale == "sqrt":
            return math.sqrt(rate / self.rate_max)
        return math.log(rate / self.rate_min) / math.log(self.rate_max / self.rate_min)


def plot_domain(points: pd.DataFrame) -> PlotDomain:
    """A domain that holds every point with its error bar, and the floor unless it would squeeze them.

    Args:
        points: of `rate_distortion`, at least one row.
    """
    half = points["distortion_sd"].fillna(0.0)
    low = float((points["distortion"] - half).min())
    high = float((points["distortion"] + half).max())
    floor = float(points["floor"].min())
    if math.isfinite(floor) and low - floor < 0.3 * max(high - low, 1.0):
        low = min(low, floor)
    pad = 0.06 * max(high - low, 1.0)
    least, most = float(points["rate"].min()), float((points["rate"] + points["rate_sd"].fillna(0.0)).max())
    # a collapsed posterior has a rate of some 1e-3: a logarithmic axis would be all decades of nothing
    rate_min = 0.75 * least if least >= 0.5 else 0.0
    return PlotDomain(rate_min, max((1.3 if rate_min else 1.1) * most, 1.0), low - pad, high + pad)


def elbo_contours(domain: PlotDomain, *, lines: int = 10, points: int = 41) -> pd.DataFrame:
    """Lines of equal ELBO, -(D + R), through a domain: `elbo, rate, distortion, label`.

    They are straight in rate and distortion; many points make them right on any axis. `label` is true at the end with
    the smallest rate. Lines that would crowd there are left out.

    Args:
        domain: the part of the plane to cover.
        lines: about how many.
        points: how many on each.
    """
    low, high, least, most = domain.distortion_min, domain.distortion_max, domain.rate_min, domain.rate_max
    step = _round_step((high - low + 0.5 * (most - least)) / lines)
    found, previous = [], -1.0
    for total in np.arange(math.ceil((low + least) / step) * step, high + most, step):
        first, last = max(least, total - high), min(most, total - low)
        # how far along the left edge, then along the top, as a share of each
        place = domain.along(first) + (total - first - low) / (high - low)
        if first < last and place - previous > _CROWDED:
            spaced = np.geomspace(first, last, points) if first > 0 else np.linspace(0.0, last**0.5, points) ** 2
            line = pd.DataFrame({"elbo": 0.0 - total, "rate": spaced, "distortion": total - spaced})
            found.append(line.assign(label=line.index == 0))
            previous = place
    empty = pd.DataFrame({"elbo": [], "rate": [], "distortion": [], "label": np.array([], bool)})
    return pd.concat(found) if found else empty


def _round_step(step: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten above `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999)
