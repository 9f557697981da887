"""How many latent dimensions a model uses, against β."""

import pandas as pd

from rdstudy.report import measures
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The number of active units as a curve over β (`measures.curves`)."""
    return measures.curves(experiment.measured, {"active units": "active_units"})


ORDER = 100

FIGURE = FigureKind(
    name="active-units",
    title="Active units",
    needs="the measure active_units",
    table=table,
    chart=lambda _, table: curves_chart(table, title="latent dimensions"),
    note=with_bars_note("Latent dimensions with Var(E[z|x]) above 0.01."),
    rank="finer",
)
