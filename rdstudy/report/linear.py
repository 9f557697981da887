"""Linear VAEs on Gaussian pixels: what was measured against closed forms (probabilistic PCA; Tipping and Bishop 1999).

The exact values are those of the learned weights, on the mean and the covariance of a subset's own images. All values
are in nats per image.
"""

import pandas as pd

from rdstudy.report import measure_charts, measures
from rdstudy.report.page import Figure
from rdstudy.results.schema import EXACT

_TEXT = {
    "distortion": "distortion D",
    "rate": "rate R",
    "mutual_information": "mutual information I",
    "marginal_kl": "marginal KL",
    "total_correlation": "total correlation",
    "dimension_kl": "dimension-wise KL",
    "log_marginal": "log p(x)",
}


def deviations(planned: pd.DataFrame, stored: pd.DataFrame, members: pd.DataFrame) -> pd.DataFrame:
    """Measured minus exact: one row per member, subset and measure.

    Args:
        planned: one row per member, with `cell` and `panel`.
        stored: rows of measures (`schema.MEASURES`).
        members: stored rows (`schema.MEMBERS`), for distortion and rate.

    Returns:
        `member_id, panel, beta, seed, subset, measure, measured, exact, deviation, error`; `error` is the Monte Carlo
        standard error of the measured value, null where it is not known.
    """
    rows = measures.with_planned(planned, stored)
    rows = rows[rows["exact_rate"].notna()]
    values = members.loc[members["outcome"] == "ok", ["member_id", "subset", "distortion", "rate"]]
    rows = rows.merge(values, on=["member_id", "subset"], how="left")
    identity = ["member_id", "cell", "panel", "dataset", "beta", "seed", "subset"]
    parts = [
        rows[identity].assign(
            measure=name,
            measured=rows[name].astype(float),
            exact=rows[f"exact_{name}"].astype(float),
            error=rows[f"{name}_se"].astype(float) if f"{name}_se" in rows else float("nan"),
        )
        for name in EXACT
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(deviation=table["measured"] - table["exact"])


def figures(name: str, planned: pd.DataFrame, stored: pd.DataFrame, members: pd.DataFrame) -> list[Figure]:
    """The figures of an experiment; none where no member has closed forms."""
    table = deviations(planned, stored, members)
    if not len(table):
        return []
    panels = table.assign(
        cell=table["measure"].map(list(EXACT).index),
        panel=table["measure"].map(_TEXT),
        difference=table["deviation"],
        difference_se=table["error"],
    )
    curves = measures.curves(panels, {"measured − exact": "difference"})
    zero = pd.DataFrame({"cell": range(len(EXACT)), "series": "", "value": 0.0})
    worst = _worst(table)
    note = (
        "Closed forms for the learned weights, on the mean and covariance of each subset's images. Bars: sample "
        "standard deviation over runs; the tooltip has the Monte Carlo standard error of one run. log p(x) and the "
        "measures of z are taken on samples of images. The exact I and KL are those of infinitely many Gaussian "
        "images: where the exact I comes near log N, the measured I, of N images, must stay below it. Where β makes "
        f"q(z|x) narrower than the true posterior, importance weighting stays below log p(x). {worst}"
    )
    chart = measure_charts.curves_chart(curves, title="measured − exact, nats", rules=zero)
    return [Figure(f"{name}-exact", "Measured against exact", note, chart), *_optimum(name, planned, stored, members)]


def _worst(table: pd.DataFrame) -> str:
    known = table[table["error"] > 0]
    within = (known["deviation"].abs() <= 3 * known["error"]).mean()
    return f"Of {len(known):,} values with a known error, {within:.1%} are within three of them."


def _optimum(name: str, planned: pd.DataFrame, stored: pd.DataFrame, members: pd.DataFrame) -> list[Figure]:
    rows = measures.with_planned(planned, stored)
    rows = rows[(rows["subset"] == "train") & rows["best_rate"].notna()]
    values = members.loc[members["outcome"] == "ok", ["member_id", "subset", "distortion", "rate"]]
    rows = rows.merge(values, on=["member_id", "subset"])
    objective = (
        rows["distortion"] + rows["beta"] * rows["rate"] - rows["best_distortion"] - rows["beta"] * rows["best_rate"]
    )
    excess = measures.curves(rows.assign(objective=objective), {"D + βR above the optimum": "objective"})
    distance = measures.curves(
        rows.assign(d=rows["distortion"] - rows["best_distortion"], r=rows["rate"] - rows["best_rate"]),
        {"D − D of the optimum": "d", "R − R of the optimum": "r"},
    )
    note = "Training images. The optimum is probabilistic PCA with noise βσ²: how far training came, not an error."
    chart = measure_charts.curves_chart(pd.concat([excess, distance], ignore_index=True), title="nats")
    return [Figure(f"{name}-optimum", "How near training came to the best linear VAE", note, chart)]
