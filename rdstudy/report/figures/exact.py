"""Linear VAEs on Gaussian pixels: what was measured against closed forms (probabilistic PCA; Tipping and Bishop 1999).

The exact values are those of the learned weights, on the mean and the covariance of a subset's own images. All values
are in nats per image.
"""

from collections.abc import Mapping

import pandas as pd

from rdstudy.findings.belief import believed
from rdstudy.report import measures, seeds, text, theme
from rdstudy.report.curves import curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import AXES
from rdstudy.results.schema import EXACT

_TEXT: Mapping[str, str] = {
    "distortion": "distortion D",
    "rate": "rate R",
    "mutual_information": "mutual information I",
    "marginal_kl": "marginal KL",
    "total_correlation": "total correlation",
    "dimension_kl": "dimension-wise KL",
    "log_marginal": "log p(x)",
}


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Measured minus exact: one row per member, subset and measure; none where no member has closed forms.

    Returns:
        `member_id, panel, beta, seed, subset, measure, measured, exact, deviation, error, believed`; `error` is the
        Monte Carlo standard error of the measured value, null where it is not known; not `believed` where log p(x) is
        not.
    """
    rows = experiment.measured[experiment.measured["exact_rate"].notna()]
    rows = rows.merge(experiment.values, on=["member_id", "subset"], how="left")
    identity = ["member_id", "cell", "panel", *AXES, "beta", "seed", "subset"]
    is_sure = believed(rows)
    parts = [
        rows[identity].assign(
            measure=name,
            measured=rows[name].astype(float),
            exact=rows[f"exact_{name}"].astype(float),
            error=rows[f"{name}_se"].astype(float) if f"{name}_se" in rows else float("nan"),
            believed=is_sure if name == "log_marginal" else True,
        )
        for name in EXACT
    ]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(deviation=table["measured"] - table["exact"])


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """What the exact values are, what the bars hold, and how many deviations are within three errors."""
    known = table[(table["error"] > 0) & table["believed"].astype(bool)]
    within = (known["deviation"].abs() <= 3 * known["error"]).mean()
    words = (
        "Closed forms for the learned weights, on the mean and covariance of each subset's images. Bars: sample "
        "standard deviation over models; the tooltip has the Monte Carlo standard error of one model. log p(x) and the "
        "measures of z are taken on samples of images. The exact I and KL are those of infinitely many Gaussian "
        "images: where the exact I comes near log N, the measured I, of N images, must stay below it. Where β makes "
        "q(z|x) narrower than the true posterior, importance weighting stays below log p(x). "
        f"Of {len(known):,} values with a known error, {within:.1%} are within three of them. Hollow, and not among "
        "these: the log p(x) is not to be believed. Each measure has a vertical axis of its own."
    )
    return text.joined(words, seeds.note(_curves(table)))


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Deviations against β, one panel per measure, and a line at 0."""
    zero = pd.DataFrame({"cell": range(len(EXACT)), "series": "", "value": 0.0})
    return curves_chart(_curves(table), title="measured − exact, nats", rules=zero, axes=["cell"])


def _curves(table: pd.DataFrame) -> pd.DataFrame:
    """Deviations as curves, a measure where others have a cell."""
    panels = table.assign(
        cell=table["measure"].map(list(EXACT).index),
        panel=table["measure"].map(_TEXT),
        difference=table["deviation"],
        difference_se=table["error"],
        **dict.fromkeys(AXES, ""),  # deviations are compared, whatever they are deviations of
    )
    return measures.curves(panels, {"measured − exact": "difference"})


ORDER = 180

FIGURE = FigureKind(
    name="exact",
    title="Measured against exact",
    needs="the measure closed_form, of linear VAEs with a Gaussian likelihood",
    table=table,
    chart=chart,
    note=note,
)
