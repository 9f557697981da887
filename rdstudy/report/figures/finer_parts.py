"""Finer parts of the marginal KL: total correlation and dimension-wise KL against β."""

import pandas as pd

from rdstudy.report import measures, text
from rdstudy.report.curves import axes_note, bars_note, curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind

_PARTS = {"total correlation": "total_correlation", "dimension-wise KL": "dimension_kl"}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Total correlation and dimension-wise KL as curves over β (`measures.curves`)."""
    return measures.curves(experiment.measured, _PARTS)


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What adds up to what, what the bars are, and where there is no dimension-wise KL."""
    words = "Marginal KL = total correlation + dimension-wise KL."
    return text.joined(words, bars_note(table), axes_note(table), _unfactorized(experiment))


def _unfactorized(experiment: ExperimentTables) -> str:
    """Which cells have a total correlation and no dimension-wise KL, and why; empty where none."""
    rows = experiment.measured
    lacking = rows[rows["total_correlation"].notna() & rows["dimension_kl"].isna()].sort_values("cell", kind="stable")
    if lacking.empty:
        return ""
    cells = text.listed(list(dict.fromkeys(lacking["panel"])))
    return (
        f"Dimension-wise KL, Σ_j KL(q(z_j) ‖ p(z_j)), needs a factorized prior, p(z) = Π_j p(z_j): it is not defined "
        f"for {cells}."
    )


ORDER = 80

FIGURE = FigureKind(
    name="finer-parts",
    title="Finer parts of the marginal KL",
    needs="the measure rate_parts",
    table=table,
    chart=lambda _, table: curves_chart(table, title="nats per image"),
    note=note,
    rank="finer",
)
