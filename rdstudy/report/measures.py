"""Stored measures -> tidy tables of curves over β: one row a point, mean and standard deviation over seeds.

A curve is a `series` of a `subset` in a `cell`. `planned` is one row per member, with `cell` and `panel`
(`cells.with_cells`); `measures` and `members` are stored rows (`schema.MEASURES`, `schema.MEMBERS`). All values are in
nats per image unless a column says otherwise. Null values stay out; nothing is made up for them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rdstudy.report.statistics import AXES

CURVES = ["cell", "panel", *AXES, "series", "subset", "beta", "value", "sd", "models", "believed", "error", "seeds"]
"""The columns of every table here.

`error` is the mean Monte Carlo standard error of a single model; `seeds` has the values that a mean is made of, as
triples (seed, value, believed).
"""

STOPPING = ("last step", "early stopping")
"""The series of early stopping, in the order of their colours."""
_STOPPED = ["member_id", "distortion", "rate", "distortion_floor", "stop_distortion", "stop_rate", "stop_step"]
_PLANNED = ["member_id", "cell", "panel", *AXES, "beta", "seed"]


def with_planned(planned: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Rows of measures with the cell, panel, β and seed of their members."""
    return planned[_PLANNED].merge(measures, on="member_id", how="inner")


def curves(rows: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Curves of some columns, by the name of their series.

    Args:
        rows: one per member and subset, with `cell, panel, dataset, likelihood, beta, seed, subset`; `<column>_se`
            where there is one.
        columns: series -> column.
    """
    parts = [_curve(rows, series, column) for series, column in columns.items() if column in rows]
    return pd.concat(parts, ignore_index=True)[CURVES] if parts else pd.DataFrame(columns=CURVES)


def _curve(rows: pd.DataFrame, series: str, column: str) -> pd.DataFrame:
    error = f"{column}_se"
    points = rows[[*_PLANNED, "subset"]].assign(
        point=rows[column].astype(float),
        point_error=rows[error].astype(float) if error in rows else np.nan,
        point_believed=rows.get("believed", True),
    )
    groups = points[points["point"].notna()].groupby(["cell", "panel", *AXES, "subset", "beta"], sort=True)
    columns = {
        "value": groups["point"].mean(),
        "sd": groups["point"].std(),
        "models": groups["member_id"].nunique(),
        "believed": groups["point_believed"].all(),
        "error": groups["point_error"].mean(),
    }
    return _with_seeds(pd.DataFrame(columns), groups, "point").reset_index().assign(series=series)


def _with_seeds(table: pd.DataFrame, groups: Any, column: str) -> pd.DataFrame:
    """A table of groups with `seeds`, the values of a column that each is made of."""
    rows, places, sure = groups.obj, groups.indices, f"{column}_believed"
    believed = rows[sure].to_numpy() if sure in rows else np.ones(len(rows), bool)
    seeds, values = rows["seed"].to_numpy(), rows[column].to_numpy()
    own = [by_seed(seeds[at], values[at], believed[at]) for at in (places[point] for point in table.index)]
    return table.assign(seeds=pd.Series(own, table.index, dtype=object))


Seeds = tuple[tuple[int, float, bool], ...]
"""Of a point: seed, value, and whether it is to be believed."""


def by_seed(seeds: ArrayLike, values: ArrayLike, believed: ArrayLike | None = None) -> Seeds:
    """What `seeds` of `CURVES` holds; all are believed where nothing says otherwise."""
    numbers = np.asarray(values, float).tolist()
    sure = [True] * len(numbers) if believed is None else np.asarray(believed, bool).tolist()
    return tuple(zip(np.asarray(seeds, int).tolist(), numbers, sure, strict=True))


def stopped_members(planned: pd.DataFrame, members: pd.DataFrame, *, subset: str = "test") -> pd.DataFrame:
    """Last and early-stopped values of a subset, one row a member and series.

    Returns:
        `member_id, cell, panel, dataset, likelihood, beta, seed, series, distortion, rate, floor, stop_step`.
    """
    rows = members[(members["outcome"] == "ok") & (members["subset"] == subset) & members["stop_distortion"].notna()]
    rows = planned[_PLANNED].merge(rows[_STOPPED], on="member_id").rename(columns={"distortion_floor": "floor"})
    last = rows.assign(series=STOPPING[0])
    early = rows.assign(series=STOPPING[1], distortion=rows["stop_distortion"], rate=rows["stop_rate"])
    kept = [*_PLANNED, "series", "distortion", "rate", "floor", "stop_step"]
    return pd.concat([last, early], ignore_index=True)[kept]


def stopped(planned: pd.DataFrame, members: pd.DataFrame, *, subset: str = "test") -> pd.DataFrame:
    """Last against early-stopped values of a subset: `distortion, rate` and their sd, by cell, series and β.

    Series are in the order of `STOPPING`.
    """
    key = ["cell", "panel", *AXES, "series", "beta"]
    rows = stopped_members(planned, members, subset=subset)
    if not len(rows):
        return pd.DataFrame(columns=key)
    groups = rows.groupby(key, sort=True)
    means = groups[["distortion", "rate", "floor", "stop_step"]].mean()
    deviations = groups[["distortion", "rate"]].std().add_suffix("_sd")
    table = pd.DataFrame({**means, **deviations, "models": groups["member_id"].nunique()})
    table = _with_seeds(table, groups, "distortion").reset_index()
    order = table["series"].map(STOPPING.index)
    return table.assign(order=order).sort_values(["cell", "order", "beta"]).drop(columns="order").reset_index(drop=True)


def certificates(rows: pd.DataFrame) -> pd.DataFrame:
    """Bounds on log p(x) of simulated images, one row a member that was annealed."""
    columns = ["panel", "beta", "seed", "annealing_images"]
    columns += [f"annealed_{name}{end}" for name in ("lower", "importance", "upper") for end in ("", "_se")]
    return rows.loc[rows["annealed_lower"].notna(), columns].sort_values(["panel", "beta", "seed"])


def null_reasons(measures: pd.DataFrame) -> pd.DataFrame:
    """Why measures have no value: `reason, members`, the most frequent first."""
    unmeasured = measures[measures["null_reasons"].notna()]
    if not len(unmeasured):
        return pd.DataFrame(columns=["reason", "members"])
    reasons = unmeasured.assign(reason=unmeasured["null_reasons"].str.split(" | ", regex=False)).explode("reason")
    reasons["reason"] = reasons["subset"] + ": " + reasons["reason"]
    counted = reasons.groupby("reason")["member_id"].nunique().sort_values(ascending=False, kind="stable")
    return counted.rename("members").reset_index()
