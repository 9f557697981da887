"""Measures of the user's own against β, a panel a measure and cell."""

import pandas as pd

from rdstudy.report import measures, theme
from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import AXES


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Curves over β (`measures.curves`), a measure in its unit where others have a cell."""
    rows = measures.with_planned(experiment.planned, experiment.study.own_measures)
    if rows.empty:
        return measures.curves(rows, {})
    panels = rows["name"] + " in " + rows["unit"] + ", " + rows["panel"]
    places = list(zip(rows["name"], rows["cell"], strict=True))
    order = {place: at for at, place in enumerate(sorted(set(places)))}
    cells = [order[place] for place in places]
    names, own = ({order[place]: place[part] for place in places} for part in (0, 1))
    curves = measures.curves(rows.assign(panel=panels, cell=cells), {"": "value"})
    return curves.assign(measure=curves["cell"].map(names), cell_of_models=curves["cell"].map(own))


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """A panel a measure and cell; those of one measure and data set have the same axis."""
    return curves_chart(table, title="in the unit of the panel", axes=["measure", *AXES])


ORDER = 65

FIGURE = FigureKind(
    name="own-measures",
    title="Measures of this study",
    needs="a measure of one's own, part(...)",
    table=table,
    chart=chart,
    note=with_bars_note(
        "Means over images, by functions of the study's own files. Each measure has a vertical axis of its own."
    ),
)
