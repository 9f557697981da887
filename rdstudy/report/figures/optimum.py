"""How near training came to the best linear VAE: probabilistic PCA with noise βσ² (Tipping and Bishop 1999)."""

import pandas as pd

from rdstudy.report import measures
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind

_SERIES = {"D + βR above the optimum": "objective", "D − D of the optimum": "d", "R − R of the optimum": "r"}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Objective, distortion and rate of training images less those of the optimum, as curves (`measures.curves`)."""
    rows = experiment.measured
    rows = rows[(rows["subset"] == "train") & rows["best_rate"].notna()]
    rows = rows.merge(experiment.values, on=["member_id", "subset"])
    rows = rows.assign(d=rows["distortion"] - rows["best_distortion"], r=rows["rate"] - rows["best_rate"])
    return measures.curves(rows.assign(objective=rows["d"] + rows["beta"] * rows["r"]), _SERIES)


ORDER = 190

FIGURE = FigureKind(
    name="optimum",
    title="How near training came to the best linear VAE",
    needs="the measure closed_form, of linear VAEs with a Gaussian likelihood",
    table=table,
    chart=lambda _, table: curves_chart(table, title="nats"),
    note=with_bars_note(
        "Training images. The optimum is probabilistic PCA with noise βσ²: how far training came, not an error."
    ),
)
