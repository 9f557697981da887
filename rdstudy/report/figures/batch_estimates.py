"""How far the paper's estimate of mutual information, from batches of 512 images (4.5), is from the exact value."""

import numpy as np
import pandas as pd

from rdstudy.report import measures, theme
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """How much too high the estimate is, model by model, as a curve over β; that of KL is too low by as much."""
    rows = experiment.measured
    excess = rows["mutual_information_b512"].astype(float) - rows["mutual_information"].astype(float)
    error = np.hypot(rows["mutual_information_b512_se"].astype(float), rows["mutual_information_se"].astype(float))
    return measures.curves(rows.assign(excess=excess, excess_se=error), {"estimate − exact": "excess"})


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """The difference against β, and a line at 0."""
    zero = table[["cell"]].drop_duplicates().assign(series="", value=0.0)
    return curves_chart(table, title="nats per image", rules=zero)


ORDER = 70

FIGURE = FigureKind(
    name="batch-estimates",
    title="The estimate from batches of 512 less the exact value",
    needs="the measures rate_parts and batch_rate_parts",
    table=table,
    chart=chart,
    note=with_bars_note(
        "Mutual information as the paper estimates it, from batches of 512 images, less the exact one. It is too high "
        "on average, and the estimate of the marginal KL too low by as much."
    ),
    rank="finer",
)
