"""What test images cost under the training aggregate as the prior, beside their rate under the model's prior."""

import pandas as pd

from rdstudy.report import measures
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Rate and cross rate of test images as curves over β (`measures.curves`); none where no cross rate is stored."""
    test = experiment.measured[experiment.measured["subset"] == "test"]
    curves = measures.curves(test, {"rate": "aggregate_rate", "cross rate": "cross_rate"})
    return curves if (curves["series"] == "cross rate").any() else curves.iloc[:0]


ORDER = 90

FIGURE = FigureKind(
    name="cross-rate",
    title="Test images under the training aggregate",
    needs="the measure cross_rate",
    table=table,
    chart=lambda _, table: curves_chart(table, title="nats per image", symlog=True),
    note=with_bars_note(
        "Cross rate: E KL(q(z|x) ‖ q_train(z)) of test images, what they cost when the prior is the aggregate "
        "posterior of the training images, beside their rate under the model's prior. Logarithmic, linear near 0."
    ),
    rank="finer",
)
