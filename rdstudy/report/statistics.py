"""Rows of members -> tidy tables over seeds: means, standard deviations, learning curves, the best β.

Rates, distortions and ELBOs are in nats per image. Only members with outcome `ok` enter a mean: `rows` are those of
`ok_rows`. A standard deviation is the sample standard deviation over seeds (n - 1), null where one member stands behind
a point.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.findings.evidence import LEVEL
from rdstudy.findings.student import student_quantile
from rdstudy.report.groups import Groups

MEASURES = ("rate", "distortion", "excess", "elbo")
"""`excess` is the distortion above its floor."""

AXES = ("dataset", "likelihood")
"""Cells that agree in these share an axis of distortions: those of two likelihoods are logs of different things."""

_LINES, _DOTS = 10, 41  # of equal ELBO, and positions on each
_CROWDED = 0.12  # share of an edge of a panel that the name of a contour needs

_POINT = ["cell", "panel", *AXES, "beta", "subset"]


def ok_rows(planned: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """The rows behind every mean: one per trained member and subset.

    Args:
        planned: one row per member, with `cell` and `panel` (`cells.with_cells`).
        members: stored rows (`schema.MEMBERS`).

    Returns:
        Columns `member_id, cell, panel, dataset, likelihood, beta, seed, subset, images, rate, distortion, floor,
        excess, elbo`.
    """
    identity = planned[["member_id", "cell", "panel", *AXES, "beta", "seed"]]
    values = ["member_id", "subset", "images", "rate", "distortion", "distortion_floor", "elbo"]
    rows = members[values][members["outcome"] == "ok"].rename(columns={"distortion_floor": "floor"})
    rows["excess"] = rows["distortion"] - rows["floor"]
    return identity.merge(rows, on="member_id", how="inner")


def rate_distortion(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds: one row per cell × β × subset.

    Returns:
        `cell, panel, dataset, likelihood, beta, subset, models, images, floor`, and `<measure>, <measure>_sd` for each
        of `MEASURES`, by cell, β and subset. `models` is the number of members behind a point.
    """
    groups = rows.groupby(_POINT, sort=True)
    means, deviations = groups[["floor", *MEASURES]].mean(), groups[[*MEASURES]].std(ddof=1).add_suffix("_sd")
    counts = {"models": groups["member_id"].nunique(), "images": groups["images"].max()}
    table = pd.DataFrame({**counts, **means, **deviations})
    measures = [column for name in MEASURES for column in (name, f"{name}_sd")]
    return table[["models", "images", "floor", *measures]].reset_index()


def member_gaps(rows: pd.DataFrame) -> pd.DataFrame:
    """What each member does worse on test images than on its training images, each above its own floor.

    Returns:
        `cell, beta, seed, gap, elbo_gap`: test minus train distortion, train minus test ELBO; null for a member that
        lacks a subset.
    """
    above = rows.assign(elbo_above=rows["elbo"] + rows["floor"]).set_index(["cell", "beta", "seed"])
    train, test = (above.loc[above["subset"] == subset, ["excess", "elbo_above"]] for subset in ("train", "test"))
    gaps = (test - train).astype(float).sort_index()
    gaps["elbo_above"] *= -1
    return gaps.rename(columns={"excess": "gap", "elbo_above": "elbo_gap"}).reset_index()


def generalization_gap(members: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation of gaps of `member_gaps` over seeds.

    Returns:
        `cell, beta, gap, gap_sd, elbo_gap, elbo_gap_sd, gap_models`: over the members that have both subsets; null
        where none has.
    """
    groups = members.groupby(["cell", "beta"], sort=True)
    measures = ["gap", "elbo_gap"]
    table = groups[measures].mean().join(groups[measures].std(ddof=1).add_suffix("_sd"))
    return table.assign(gap_models=groups["gap"].count()).reset_index()


ENDS = ("smallest", "largest")
"""The β at the ends of those trained, with which the best one is compared."""


def best_beta(rows: pd.DataFrame, *, points: pd.DataFrame) -> pd.DataFrame:
    """The β with the lowest mean test distortion of each cell, and what the smallest and the largest β cost.

    Members of one cell with equal seeds share initial weights, batches and noise, so β are compared seed by seed. The
    best β is chosen by the numbers that it is compared with: intervals are Student's over seeds, corrected for as many
    comparisons as there were other β to choose (Bonferroni).

    Args:
        rows: of `ok_rows`.
        points: of `rate_distortion`, means over these rows.

    Returns:
        One row per cell: `cell, panel, beta, distortion, distortion_sd, floor, models, betas`; `place`: where the best
        β lies among those trained (`inside`, `smallest`, `largest`, `only`); for each of `ENDS`, `<end>`: its β, and
        `<end>_rise, <end>_low, <end>_high, <end>_pairs`: distortion there minus that at the best, mean and interval
        over the seeds that have both, no interval for one seed.
    """
    test = rows[rows["subset"] == "test"]
    kept = ["cell", "panel", "beta", "distortion", "distortion_sd", "floor", "models"]
    by_seed = test.pivot(index=["cell", "seed"], columns="beta", values="distortion")
    of_cells = Groups(by_seed.reset_index("cell"))
    cells = []
    for cell, part in Groups(points[points["subset"] == "test"]):
        best = part.iloc[np.argsort(part["distortion"].to_numpy(float), kind="stable")[0]]
        betas = {"smallest": part["beta"].min(), "largest": part["beta"].max()}
        seeds = of_cells.rows(cell)
        record: dict[Any, Any] = best[kept].to_dict()
        record |= {"betas": len(part), "place": _place(best["beta"], *betas.values())}
        for end, beta in betas.items():
            record |= {end: beta} | _rise(seeds[beta] - seeds[best["beta"]], end, choices=max(1, len(part) - 1))
        cells.append(record)
    compared = [f"{end}{name}" for end in ENDS for name in ("", "_rise", "_low", "_high", "_pairs")]
    return pd.DataFrame(cells, columns=[*kept, "betas", "place", *compared])


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


def results(points: pd.DataFrame, gaps: pd.DataFrame) -> pd.DataFrame:
    """The table of results: one row per cell × β.

    Args:
        points: of `rate_distortion`, of train and test alone.
        gaps: of `generalization_gap`.

    Returns:
        `cell, panel, beta, models, gap, gap_sd` and, for train and test, `<measure>_<subset>`, `<measure>_sd_<subset>`
        and `floor_<subset>`; null where a subset has no rows.
    """
    values = ["floor", *MEASURES, *(f"{name}_sd" for name in MEASURES)]
    wide = points.pivot(index=["cell", "panel", "beta"], columns="subset", values=values)
    wide = wide.reindex(columns=pd.MultiIndex.from_product([values, ["train", "test"]]))
    wide.columns = pd.Index([f"{value}_{subset}" for value in values for subset in ("train", "test")])
    models = points.groupby(["cell", "panel", "beta"])["models"].max()
    return wide.join(models).reset_index().merge(gaps, on=["cell", "beta"], how="left")


@dataclass(frozen=True)
class PlotDomain:
    """The part of the rate-distortion plane that a panel shows, in nats per image.

    Attributes:
        rate_min: left end.
        rate_max: right end.
        distortion_min: lower end.
        distortion_max: upper end.
        above_floor: whether distortions are above their floor.
    """

    rate_min: float
    rate_max: float
    distortion_min: float
    distortion_max: float
    above_floor: bool = False

    @property
    def rate_scale(self) -> Literal["log", "sqrt"]:
        """The axis of the rate: `log`, or `sqrt` where models with a rate near 0 have to be seen."""
        return "log" if self.rate_min > 0 else "sqrt"

    def along(self, rates: NDArray[np.float64] | float) -> NDArray[np.float64]:
        """Where rates lie on their axis: 0 at the left end, 1 at the right."""
        shares = np.asarray(rates) / self.rate_max
        if self.rate_scale == "sqrt":
            return np.sqrt(np.maximum(shares, 0.0))
        return np.asarray(1 + np.log(np.maximum(shares, 1e-12)) / math.log(self.rate_max / self.rate_min))


def plot_domain(points: pd.DataFrame, members: pd.DataFrame | None = None) -> PlotDomain:
    """A domain that holds every point with its error bar, and the floor unless it would squeeze them.

    A rate under another prior (`best_rate`) widens it to twice the largest rate at most: it can be far more than that.

    Args:
        points: of `rate_distortion`, at least one row; perhaps with a `best_rate` and its `best_rate_high`.
        members: rows with a `rate` and a `distortion` that it is to hold too.
    """
    single = members if members is not None else pd.DataFrame({"rate": [], "distortion": []}, dtype=float)
    half = points["distortion_sd"].fillna(0.0)
    low = float(pd.concat([points["distortion"] - half, single["distortion"]]).min())
    high = float(pd.concat([points["distortion"] + half, single["distortion"]]).max())
    floor = float(points["floor"].min())
    if math.isfinite(floor) and low - floor < 0.3 * max(high - low, 1.0):
        low = min(low, floor)
    pad = 0.06 * max(high - low, 1.0)
    ends = points.assign(rate_high=points["rate"] + points["rate_sd"].fillna(0.0))
    least = float(pd.concat([ends.reindex(columns=["rate", "best_rate"]), single[["rate"]]]).min().min())
    most = float(pd.concat([ends["rate_high"], single["rate"]]).max())
    if "best_rate_high" in ends and ends["best_rate_high"].notna().any():
        most = max(most, min(2 * most, float(ends["best_rate_high"].max())))
    # a collapsed posterior has a rate of some 1e-3: a logarithmic axis would be all decades of nothing
    rate_min = 0.75 * least if least >= 0.5 else 0.0
    above_floor = bool((points["floor"] == 0.0).all())
    return PlotDomain(rate_min, max((1.3 if rate_min else 1.1) * most, 1.0), low - pad, high + pad, above_floor)


def elbo_contours(domain: PlotDomain) -> pd.DataFrame:
    """About `_LINES` lines of equal ELBO, -(D + R), through a domain: `elbo, rate, distortion, label`.

    They are straight in rate and distortion; many points make them right on any axis. `label` is true at the end with
    the smallest rate. Lines that would crowd there are left out.
    """
    low, high, least, most = domain.distortion_min, domain.distortion_max, domain.rate_min, domain.rate_max
    step = _round_step((high - low + 0.5 * (most - least)) / _LINES)
    kept, previous = [], -1.0
    for total in np.arange(math.ceil((low + least) / step) * step, high + most, step):
        first, last = max(least, total - high), min(most, total - low)
        # how far along the left edge, then along the top, as a share of each
        place = float(domain.along(first)) + (total - first - low) / (high - low)
        if first < last and place - previous > _CROWDED:
            spaced = np.geomspace(first, last, _DOTS) if first > 0 else np.linspace(0.0, last**0.5, _DOTS) ** 2
            line = pd.DataFrame({"elbo": 0.0 - total, "rate": spaced, "distortion": total - spaced})
            kept.append(line.assign(label=line.index == 0))
            previous = place
    empty = pd.DataFrame({"elbo": [], "rate": [], "distortion": [], "label": np.array([], bool)})
    return pd.concat(kept) if kept else empty


def _round_step(step: float) -> float:
    """The nearest 1, 2 or 5 times a power of ten above `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= step * 0.999)
