"""The learned decoder beside one of infinite capacity, which answers each code with a mean of training images."""

import pandas as pd

from rdstudy.report import measures
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind

_SERIES = {"this decoder": "distortion", "infinite-capacity decoder": "optimal_distortion"}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The distortion of both decoders as curves over β (`measures.curves`)."""
    rows = experiment.measured.merge(experiment.values, on=["member_id", "subset"], how="left")
    return measures.curves(rows[rows["optimal_distortion"].notna()], _SERIES)


ORDER = 170

FIGURE = FigureKind(
    name="optimal-decoder",
    title="Beside a decoder of infinite capacity",
    needs="the measure optimal_decoder",
    table=table,
    chart=lambda _, table: curves_chart(table, title="distortion D, nats per image"),
    note=with_bars_note(
        "Distortion of the learned decoder, and of the decoder that answers each code with the mean of the training "
        "images under q(x|z): the best there is on training images, and pure memory on test images."
    ),
    rank="finer",
)
