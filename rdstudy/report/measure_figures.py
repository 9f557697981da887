"""The measures of an experiment -> its figures, each with the words that a reader needs; none without values."""

import dataclasses

import pandas as pd

from rdstudy.findings.values import LEAST_ESS
from rdstudy.report import measure_charts, measures, memorization, text
from rdstudy.report.page import Figure
from rdstudy.report.tables import StudyTables

_DETAILED_CELLS = 40
_MAIN = ("rate-parts", "log-marginal", "gap-parts", "early-stopping", "copied")
"""What a page with more cells shows: all figures of hundreds of panels are too much to open."""

_BARS = "Bars: sample standard deviation over runs; the tooltip has the number of runs and a run's Monte Carlo error."


def measure_figures(study: StudyTables, name: str, planned: pd.DataFrame) -> list[Figure]:
    """All figures of an experiment's measures.

    Args:
        study: its tables.
        name: of the experiment.
        planned: its members, with `cell` and `panel`.
    """
    rows = measures.with_planned(planned, study.measures)
    figures = _rate_figures(name, rows) + _density_figures(name, rows) + _stopping_figures(study, name, planned)
    figures += _memory_figures(study, name, planned, rows)
    if planned["cell"].nunique() <= _DETAILED_CELLS:
        return figures
    return [_with_note(figure) for figure in figures if figure.key.removeprefix(f"{name}-") in _MAIN]


def _with_note(figure: Figure) -> Figure:
    """Say what is left out with so many panels."""
    note = f"{figure.note} With more than {_DETAILED_CELLS} panels, finer figures are left out: the tables have them."
    return dataclasses.replace(figure, note=note)


def _figure(
    key: str,
    title: str,
    note: str,
    table: pd.DataFrame,
    axis: str,
    *,
    rules: pd.DataFrame | None = None,
    symlog: bool = False,
) -> list[Figure]:
    if not len(table):
        return []
    chart = measure_charts.curves_chart(table, title=axis, rules=rules, symlog=symlog)
    return [Figure(key, title, f"{note} {_BARS}", chart)]


def _rate_figures(name: str, rows: pd.DataFrame) -> list[Figure]:
    n_phrase = _images_phrase(rows)
    parts = measures.curves(rows, measures.PARTS)
    excess = measures.batch_excess(rows)
    crossed = measures.curves(rows[rows["subset"] == "test"], measures.CROSS)
    units = measures.curves(rows, {"active units": "active_units"})
    return [
        *_figure(
            f"{name}-rate-parts",
            "What the rate is made of",
            f"R = I + KL(q(z) ‖ p(z)), with the exact aggregate posterior q(z) over {n_phrase}. Mutual information "
            "cannot exceed log N (dashed line).",
            parts,
            "nats per image",
            rules=measures.log_counts(rows),
        ),
        *_figure(
            f"{name}-batch-estimates",
            "The estimate from batches of 512 less the exact value",
            "Mutual information as the paper estimates it, from batches of 512 images, less the exact one. It is too "
            "high on average, and the estimate of the marginal KL too low by as much.",
            excess,
            "nats per image",
            rules=excess[["cell"]].drop_duplicates().assign(series="", value=0.0),
        ),
        *_figure(
            f"{name}-finer-parts",
            "Finer parts of the marginal KL",
            "Marginal KL = total correlation + dimension-wise KL.",
            measures.curves(rows, measures.FINER),
            "nats per image",
        ),
        *_figure(
            f"{name}-cross-rate",
            "Test images under the training aggregate",
            "Cross rate: E KL(q(z|x) ‖ q_train(z)) of test images, what they cost when the prior is the aggregate "
            "posterior of the training images, beside their rate under N(0, I). Logarithmic, linear near 0.",
            crossed if crossed["series"].isin(["cross rate"]).any() else crossed.iloc[:0],
            "nats per image",
            symlog=True,
        ),
        *_figure(
            f"{name}-active-units",
            "Active units",
            "Latent dimensions with Var(E[z|x]) above 0.01.",
            units,
            "latent dimensions",
        ),
    ]


def _images_phrase(rows: pd.DataFrame) -> str:
    counts = rows.dropna(subset=["aggregate_images"]).groupby("subset", sort=True)["aggregate_images"].max()
    return " and ".join(f"{int(count):,} {subset} images" for subset, count in counts.items()) or "all images"


def _density_figures(name: str, rows: pd.DataFrame) -> list[Figure]:
    counted = rows.dropna(subset=["importance_images"])
    images = int(counted["importance_images"].max()) if len(counted) else 0
    samples = int(counted["importance_samples"].max()) if len(counted) else 0
    return [
        *_figure(
            f"{name}-log-marginal",
            "Log marginal likelihood",
            f"Importance-weighted estimate with {samples:,} samples on {images:,} images of each subset, a lower bound "
            f"in expectation. Hollow: mean effective sample size below {LEAST_ESS:g}, not to be believed. For "
            "β < 1 the objective is no bound on log p(x), and as β goes to 0 the estimate means little.",
            measures.log_marginals(rows),
            "−log p(x) above the floor, nats",
        ),
        *_figure(
            f"{name}-gap-parts",
            "Where the generalization gap comes from",
            "ELBO of training images less that of test images, on those of the figure above: the decoder's part is the "
            "difference of log p(x), the encoder's part the difference of the inference gap log p(x) − ELBO. A check "
            "on the latter: how much of the test inference gap goes away when a posterior is fitted to each test image "
            "under the frozen decoder.",
            measures.gap_parts(rows),
            "nats per image",
        ),
    ]


def _stopping_figures(study: StudyTables, name: str, planned: pd.DataFrame) -> list[Figure]:
    table = measures.stopped(planned, study.members)
    if not len(table):
        return []
    note = (
        "Early stopping takes the weights with the least D + βR on a validation subset, which is carved out of the "
        "test subset; both are measured on the same test images."
    )
    chart = measure_charts.stopping_chart(table)
    return [
        Figure(f"{name}-early-stopping", "Early stopping: rate-distortion curves", f"{note} The star is β = 1.", chart),
        *_figure(
            f"{name}-early-stopping-distortion",
            "Early stopping: test distortion",
            "The same values against β. Where one curve is seen, both coincide.",
            measures.stopped_curves(table),
            "test distortion D, nats per image",
        ),
    ]


def _memory_figures(study: StudyTables, name: str, planned: pd.DataFrame, rows: pd.DataFrame) -> list[Figure]:
    return [
        *memorization.copied_figures(name, planned, rows),
        *memorization.leave_one_out_figures(name, planned, study.probes),
        *_figure(
            f"{name}-optimal-decoder",
            "Beside a decoder of infinite capacity",
            "Distortion of the learned decoder, and of the decoder that answers each code with the mean of the "
            "training images under q(x|z): the best there is on training images, and pure memory on test images.",
            measures.decoder_limits(rows, study.members),
            "distortion D, nats per image",
        ),
    ]


def unmeasured_table(stored: pd.DataFrame) -> text.Table:
    """Reasons for which measures have no value, and how many models each concerns.

    Args:
        stored: rows of measures (`schema.MEASURES`).
    """
    lines = [
        [text.Entry(row["reason"]), text.count(row["members"])]
        for row in measures.null_reasons(stored).to_dict("records")
    ]
    return text.table([("Reason", "subset, measure and why"), ("Models", "")], lines)


def certificates_table(planned: pd.DataFrame, stored: pd.DataFrame) -> text.Table:
    """Bounds on log p(x) of images simulated from a model, and the importance-weighted estimate between them.

    Args:
        planned: one row per member, with `cell` and `panel`.
        stored: rows of measures (`schema.MEASURES`).
    """
    found = measures.certificates(measures.with_planned(planned, stored))
    lines = [
        [
            text.Entry(row["panel"]),
            text.beta(row["beta"]),
            text.count(row["seed"]),
            text.count(row["annealing_images"]),
            *(
                text.mean_sd(row[f"annealed_{name}"], row[f"annealed_{name}_se"])
                for name in ("lower", "importance", "upper")
            ),
        ]
        for row in found.to_dict("records")
    ]
    names = ("Lower bound", "Importance weighting", "Upper bound")
    heads = [("Model", ""), ("β", ""), ("Seed", ""), ("Images", "simulated")]
    return text.table([*heads, *((name, "mean ± standard error, nats") for name in names)], lines)
