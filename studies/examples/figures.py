"""A figure of one's own: its table, the chart that draws it, and the words below its title."""

import altair as alt
import pandas as pd

from rdstudy.report import theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind


def _table(experiment: ExperimentTables) -> pd.DataFrame:
    return experiment.points[["panel", "beta", "subset", "rate"]]


def _chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:  # noqa: ARG001
    chart = alt.Chart(table).mark_bar(clip=True).encode(x="beta:N", y="rate:Q", color="subset:N", column="panel:N")
    return theme.Spec(chart.to_dict())


def rates() -> FigureKind:
    """Mean rates as bars."""
    return FigureKind(
        name="rates",
        title="Rates",
        needs="trained models",
        table=_table,
        chart=_chart,
        note="Means over seeds, nats per image.",
    )
