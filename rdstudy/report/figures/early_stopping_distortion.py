"""Early stopping: test and training distortion, and so their gap, of the last weights and of the best ones."""

import numpy as np
import pandas as pd

from rdstudy.report.curves import curves_chart, with_bars_note
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.measures import CURVES, stopped


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Distortions above their floor of last and early-stopped weights, of test and train, as curves over β."""
    members = experiment.study.members
    above = members.assign(
        distortion=members["distortion"] - members["distortion_floor"],
        stop_distortion=members["stop_distortion"] - members["distortion_floor"],
    )
    parts = [stopped(experiment.planned, above, subset=subset).assign(subset=subset) for subset in ("test", "train")]
    known = [part for part in parts if len(part)]
    if not known:
        return pd.DataFrame(columns=CURVES)
    named = pd.concat(known, ignore_index=True).rename(columns={"distortion": "value", "distortion_sd": "sd"})
    return named.assign(believed=True, error=np.nan)[CURVES]


ORDER = 140

FIGURE = FigureKind(
    name="early-stopping-distortion",
    title="Early stopping: distortion and its gap",
    needs="a validation subset (evaluation.validation_images)",
    table=table,
    chart=lambda _, table: curves_chart(table, title="D above its floor, nats per image"),
    note=with_bars_note(
        "D of test and of training images above the floor of each, in the same colours: what lies between a solid and "
        "a dashed line of one colour is the generalization gap. Where one curve is seen, both coincide."
    ),
    rank="finer",
)
