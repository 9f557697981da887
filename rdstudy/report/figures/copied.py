"""Memorization: reconstructions against training images, and against as many images never trained on."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from rdstudy.report import measures, seeds, text, theme
from rdstudy.report.curves import curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.sizes import size_pairs

NEARER = "nearer to training images than to as many unseen ones"
BLUR_COUNTS = "nearer to some training image than to its own"
_SHARES = {NEARER: "memorization", BLUR_COUNTS: "copied_fraction"}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Both shares as curves over β; bars, `low` to `high`, are the sd over seeds and a model's error, in quadrature."""
    rows = experiment.measured
    table = measures.curves(rows[rows["subset"] == "test"], _SHARES)
    deviation, error = (table[name].astype(float).fillna(0.0) for name in ("sd", "error"))
    half = np.hypot(deviation, error)
    return table.assign(low=table["value"] - half, high=table["value"] + half)


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What the shares are, what chance is, and what the bars hold."""
    return text.joined(*_sentences(experiment.planned, experiment.measured), seeds.note(table))


def _sentences(planned: pd.DataFrame, rows: pd.DataFrame) -> Iterator[str]:
    tested = rows[rows["memorization"].notna()] if "memorization" in rows else rows.iloc[:0]
    if len(tested):
        images = text.span(tested["memorization_images"])
        yield (
            f"Of the reconstructions of {images} test images, the share that is nearer (ℓ2) to a training image than "
            f"to every one of as many images never trained on ({text.span(tested['memorization_controls'])} on either "
            "side). Chance is 1/2: there nothing is memorized, however blurred; 1 is a model that returns training "
            "images (three-sample test: Meehan, Chaudhuri, Dasgupta 2020). Reconstructions nearest to one image are "
            f"one answer: {text.span(tested['memorization_answers'])} effective answers stand behind a model's share, "
            "which is drawn towards 1/2 where they are few."
        )
        if len(tested) < int((rows["copied_fraction"].notna() & (rows["subset"] == "test")).sum()):
            yield (
                "Models without it have no images to compare with: those of a checkerboard come from another "
                "distribution."
            )
    yield (
        "In grey, the share that is nearer to some training image than to its own: a blurred reconstruction is near to "
        "many images, so that it rises where nothing is copied."
    )
    yield (
        "Bars: standard deviation over models and the standard error of one, over its answers, in quadrature; the "
        "tooltip has both."
    )
    if not size_pairs(planned):
        yield "With one size of the split, no image is left out for a leave-one-out score."


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Shares against β, in percent from 0 to 100, and a line at chance."""
    tested = table[table["series"] == NEARER]  # the share that blur raises has no such line
    chance = tested[["cell"]].drop_duplicates().assign(series="chance: 50 %", value=0.5)
    title = "share of test reconstructions"
    return curves_chart(table, title=title, rules=chance, domain=(0.0, 1.0))


ORDER = 150

FIGURE = FigureKind(
    name="copied",
    title="Memorization",
    needs="the measure memorization",
    table=table,
    chart=chart,
    note=note,
    rank="main",
)
