"""Stored measures -> tidy tables of curves over β: one row a point, mean and standard deviation over seeds.

A curve is a `series` of a `subset` in a `cell`. All values are in nats per image unless a column says otherwise. Null
values stay out; nothing is made up for them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

CURVES = ["cell", "panel", "dataset", "series", "subset", "beta", "value", "sd", "runs", "believed", "error"]
"""The columns of every table here. `error` is the mean Monte Carlo standard error of a single run."""

PARTS = {"mutual information I": "mutual_information", "marginal KL": "marginal_kl"}
FINER = {"total correlation": "total_correlation", "dimension-wise KL": "dimension_kl"}
STOPPING = ("last step", "early stopping")
"""The series of early stopping, in the order of their colours."""
CROSS = {"rate": "aggregate_rate", "cross rate": "cross_rate"}


def with_planned(planned: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Rows of measures with the cell, panel, β and seed of their members.

    Args:
        planned: one row per member, with `cell` and `panel` (`cells.with_cells`).
        measures: stored rows (`schema.MEASURES`).
    """
    identity = planned[["member_id", "cell", "panel", "dataset", "beta", "seed"]]
    return identity.merge(measures, on="member_id", how="inner")


def curves(rows: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Curves of some columns, by the name of their series.

    Args:
        rows: one per member and subset, with `cell, panel, dataset, beta, subset`; `<column>_se` where there is one.
        columns: series -> column.
    """
    found = [_curve(rows, series, column) for series, column in columns.items() if column in rows]
    return pd.concat(found, ignore_index=True)[CURVES] if found else pd.DataFrame(columns=CURVES)


def _curve(rows: pd.DataFrame, series: str, column: str) -> pd.DataFrame:
    rows = rows[rows[column].notna()].assign(series=series)
    error = f"{column}_se"
    rows = rows.assign(
        point=rows[column].astype(float),
        point_error=rows[error].astype(float) if error in rows else np.nan,
        point_believed=rows.get("believed", True),
    )
    groups = rows.groupby(["cell", "panel", "dataset", "series", "subset", "beta"], sort=True)
    table = groups.agg(
        value=("point", "mean"),
        sd=("point", "std"),
        runs=("member_id", "nunique"),
        believed=("point_believed", "all"),
        error=("point_error", "mean"),
    )
    return table.reset_index()


def log_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Logs of N of the aggregate posteriors, the most that mutual information can be: `cell, series, value`.

    Subsets of equal N share a row.
    """
    counted = rows[rows["aggregate_images"].notna()]
    sizes = counted.groupby(["cell", "subset"], sort=True)["aggregate_images"].max().reset_index()
    shared = sizes.groupby(["cell", "aggregate_images"], sort=True)["subset"].agg(tuple).reset_index()
    named = ["log N" if len(subsets) > 1 else f"log N, {subsets[0]}" for subsets in shared["subset"]]
    return shared[["cell"]].assign(series=named, value=np.log(shared["aggregate_images"].astype(float)))


def batch_excess(rows: pd.DataFrame) -> pd.DataFrame:
    """How much too high the estimate of mutual information from batches of 512 is; KL is too low by as much."""
    excess = rows["mutual_information_b512"].astype(float) - rows["mutual_information"].astype(float)
    error = np.hypot(rows["mutual_information_b512_se"].astype(float), rows["mutual_information_se"].astype(float))
    return curves(rows.assign(excess=excess, excess_se=error), {"estimate − exact": "excess"})


def stopped(planned: pd.DataFrame, members: pd.DataFrame, *, subset: str = "test") -> pd.DataFrame:
    """Last against early-stopped values of a subset: `distortion, rate` and their sd, by cell, series and β.

    Series are in the order of `STOPPING`, so that one colour is one series in all figures.

    Args:
        planned: one row per member, with `cell` and `panel`.
        members: stored rows (`schema.MEMBERS`).
        subset: train or test.
    """
    rows = members[(members["outcome"] == "ok") & (members["subset"] == subset) & members["stop_distortion"].notna()]
    rows = planned[["member_id", "cell", "panel", "dataset", "beta", "seed"]].merge(rows[_STOPPED], on="member_id")
    if not len(rows):
        return pd.DataFrame(columns=["cell", "panel", "dataset", "series", "beta"])
    last = rows.assign(series=STOPPING[0])
    early = rows.assign(series=STOPPING[1], distortion=rows["stop_distortion"], rate=rows["stop_rate"])
    groups = pd.concat([last, early]).groupby(["cell", "panel", "dataset", "series", "beta"], sort=True)
    table = groups.agg(
        distortion=("distortion", "mean"),
        distortion_sd=("distortion", "std"),
        rate=("rate", "mean"),
        rate_sd=("rate", "std"),
        stop_step=("stop_step", "mean"),
        runs=("member_id", "nunique"),
    )
    table = table.reset_index()
    order = table["series"].map(STOPPING.index)
    return table.assign(order=order).sort_values(["cell", "order", "beta"]).drop(columns="order").reset_index(drop=True)


_STOPPED = ["member_id", "distortion", "rate", "stop_distortion", "stop_rate", "stop_step"]


def stopped_curves(planned: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Distortions above their floor of last and early-stopped weights, of test and train, as curves over β.

    Args:
        planned: one row per member, with `cell` and `panel`.
        members: stored rows (`schema.MEMBERS`).
    """
    above = members.assign(
        distortion=members["distortion"] - members["distortion_floor"],
        stop_distortion=members["stop_distortion"] - members["distortion_floor"],
    )
    found = [stopped(planned, above, subset=subset).assign(subset=subset) for subset in ("test", "train")]
    named = pd.concat([table for table in found if len(table)], ignore_index=True)
    named = named.rename(columns={"distortion": "value", "distortion_sd": "sd"})
    return named.assign(believed=True, error=np.nan)[CURVES]


def decoder_limits(rows: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """The distortion of a member beside that of the infinite-capacity decoder of its training images."""
    values = members.loc[members["outcome"] == "ok", ["member_id", "subset", "distortion"]]
    joined = rows.merge(values, on=["member_id", "subset"], how="left")
    joined = joined[joined["optimal_distortion"].notna()]
    return curves(joined, {"this decoder": "distortion", "infinite-capacity decoder": "optimal_distortion"})


def certificates(rows: pd.DataFrame) -> pd.DataFrame:
    """Bounds on log p(x) of simulated images, one row a member that was annealed."""
    columns = ["panel", "beta", "seed", "annealing_images"]
    columns += [f"annealed_{name}{end}" for name in ("lower", "importance", "upper") for end in ("", "_se")]
    return rows.loc[rows["annealed_lower"].notna(), columns].sort_values(["panel", "beta", "seed"])


def null_reasons(measures: pd.DataFrame) -> pd.DataFrame:
    """Why measures have no value: `reason, members`, the most frequent first."""
    told = measures[measures["null_reasons"].notna()]
    if not len(told):
        return pd.DataFrame(columns=["reason", "members"])
    reasons = told.assign(reason=told["null_reasons"].str.split(" | ", regex=False)).explode("reason")
    reasons["reason"] = reasons["subset"] + ": " + reasons["reason"]
    counted = reasons.groupby("reason")["member_id"].nunique().sort_values(ascending=False, kind="stable")
    return counted.rename("members").reset_index()
