"""What the rate is made of, R = I + KL(q(z) ‖ p(z)): both parts against β, with the exact aggregate posterior."""

import numpy as np
import pandas as pd

from rdstudy.report import measures, text, theme
from rdstudy.report.curves import axes_note, bars_note, curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind

_PARTS = {"mutual information I": "mutual_information", "marginal KL": "marginal_kl"}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Mutual information and marginal KL as curves over β (`measures.curves`)."""
    return measures.curves(experiment.measured, _PARTS)


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """Over which images q(z) is taken, and what is so by construction."""
    counted = experiment.measured.dropna(subset=["aggregate_images"])
    counts = counted.groupby("subset", sort=True)["aggregate_images"].max()
    images = " and ".join(f"{int(count):,} {subset} images" for subset, count in counts.items()) or "all images"
    construction = (
        "Where no two codes of a batch overlap, taking the mutual information out of the objective changes nothing by "
        "construction: its estimate is then the log of the number of images, a constant."
    )
    parts = (
        f"R = I + KL(q(z) ‖ p(z)), with the exact aggregate posterior q(z) over {images}. Mutual information cannot "
        "exceed log N (dashed line)."
    )
    is_removed = "no_mutual_information" in set(experiment.planned["objective"])
    return text.joined(parts, construction if is_removed else "", bars_note(table), axes_note(table))


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Both parts against β, and log N."""
    return curves_chart(table, title="nats per image", rules=log_counts(experiment.measured))


def log_counts(rows: pd.DataFrame) -> pd.DataFrame:
    """Logs of N of the aggregate posteriors, the most that mutual information can be: `cell, series, value`.

    Subsets of equal N share a row. The rows are those of `measures.with_planned`.
    """
    counted = rows[rows["aggregate_images"].notna()]
    sizes = counted.groupby(["cell", "subset"], sort=True)["aggregate_images"].max().reset_index()
    shared = sizes.groupby(["cell", "aggregate_images"], sort=True)["subset"].agg(tuple).reset_index()
    values = np.log(shared["aggregate_images"].astype(float))
    whose = ["" if len(subsets) > 1 else f", {subsets[0]}" for subsets in shared["subset"]]
    named = [f"log N = {value:.1f}{subset}" for value, subset in zip(values, whose, strict=True)]
    return shared[["cell"]].assign(series=named, value=values)


ORDER = 60

FIGURE = FigureKind(
    name="rate-parts",
    title="What the rate is made of",
    needs="the measure rate_parts",
    table=table,
    chart=chart,
    note=note,
    rank="main",
)
