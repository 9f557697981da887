"""The measures of an experiment -> its figures, each with the words that a reader needs; none without values."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.evidence import LEVEL
from rdstudy.report import density, measure_charts, measures, memorization, statistics, text
from rdstudy.report.page import Figure
from rdstudy.report.tables import StudyTables

_DETAILED_CELLS = 40
_MAIN = ("rate-parts", "log-marginal", "gap-parts", "early-stopping", "copied")
"""What a page with more cells shows: all figures of hundreds of panels are too much to open."""

_BARS = "Bars: sample standard deviation over runs; the tooltip has the number of runs and a run's Monte Carlo error."


_BY_CONSTRUCTION = (
    " Where no two codes of a batch overlap, taking the mutual information out of the objective changes nothing by "
    "construction: its estimate is then the log of the number of images, a constant."
)


def measure_figures(study: StudyTables, name: str, planned: pd.DataFrame) -> list[Figure]:
    """All figures of an experiment's measures.

    Args:
        study: its tables.
        name: of the experiment.
        planned: its members, with `cell` and `panel`.
    """
    rows = measures.with_planned(planned, study.measures)
    removed = "no_mutual_information" in set(planned["objective"])
    figures = _rate_figures(name, rows, without_information=removed)
    figures += _density_figures(study, name, planned, rows) + _stopping_figures(study, name, planned)
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
    bars: str = _BARS,
    more: Mapping[str, str] | None = None,
    apart: bool = False,
) -> list[Figure]:
    if not len(table):
        return []
    chart = measure_charts.curves_chart(table, title=axis, rules=rules, symlog=symlog, more=more, apart=apart)
    return [Figure(key, title, f"{note} {bars}", chart)]


def _rate_figures(name: str, rows: pd.DataFrame, *, without_information: bool) -> list[Figure]:
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
            f"cannot exceed log N (dashed line).{_BY_CONSTRUCTION if without_information else ''}",
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


def _density_figures(study: StudyTables, name: str, planned: pd.DataFrame, rows: pd.DataFrame) -> list[Figure]:
    marginals, parts = density.log_marginals(rows), density.gap_parts(rows)
    if len(parts):
        parts = density.with_whole_gap(parts, _gaps(study, planned))
    return [
        *_figure(
            f"{name}-log-marginal",
            "Log marginal likelihood",
            f"{_density_note(rows)} Hollow: less than {100 * LEAST_PASSED:g} % of images pass, not to be believed. For "
            "β < 1 the objective is no bound on log p(x).",
            marginals,
            "−log p(x) above the floor, nats",
            bars=_interval_note(marginals),
            more=density.DOUBT,
        ),
        *_figure(
            f"{name}-gap-parts",
            "Where the generalization gap comes from",
            "ELBO of training images less that of test images, on those of the estimate of log p(x): the decoder's "
            "part is the difference of log p(x), the encoder's part that of the inference gap log p(x) − ELBO, all on "
            "the same images. Hollow: the log p(x) of either subset is not to be believed, nor a part made of it. "
            "A check on the encoder's part: how much of the test inference gap goes away when a posterior is fitted to "
            "each test image under the frozen decoder. Beside them the same gap over all images, where its interval "
            "is that of the seeds.",
            parts,
            "nats per image",
            bars=_interval_note(parts),
            apart=True,
        ),
    ]


def _gaps(study: StudyTables, planned: pd.DataFrame) -> pd.DataFrame:
    cells = planned[["cell", "panel", "dataset"]].drop_duplicates("cell")
    gaps = statistics.generalization_gap(statistics.ok_rows(planned, study.members)).merge(cells, on="cell")
    return gaps[gaps["elbo_gap"].notna()]


def _density_note(rows: pd.DataFrame) -> str:
    """How log p(x) was estimated, and what there is to say against it."""
    counted = rows.dropna(subset=["importance_images"])
    images = int(counted["importance_images"].max()) if len(counted) else 0
    samples = int(counted["importance_samples"].max()) if len(counted) else 0
    checks = [
        (f"{_range(rows['log_marginal_passed'], _SHARE)} of the images pass", "log_marginal_passed"),
        (f"Pareto k̂ (95th percentile) {_range(rows['log_marginal_khat'], '{:.2f}')}", "log_marginal_khat"),
        (f"mean effective sample size {_range(rows['log_marginal_ess'], '{:,.0f}')}", "log_marginal_ess"),
        (f"{_range(rows['log_marginal_annealed'], _SHARE)} are annealed lower bounds", "log_marginal_annealed"),
    ]
    known = [words for words, column in checks if rows[column].notna().any()]
    return (
        f"Importance-weighted with a proposal fitted to each image and Pareto-smoothed weights, {samples:,} samples, "
        f"more where they ask for more, on {images:,} images of each subset; a lower bound in expectation. Of a model: "
        f"{'; '.join(known)}."
    )


_SHARE = "{:.0f} %"


def _range(values: pd.Series, form: str) -> str:
    """The least and the most of some values, one where they look the same."""
    known = values.dropna().astype(float) * (100 if form == _SHARE else 1)
    ends = [form.format(value) for value in (known.min(), known.max())] if len(known) else ["–"]
    return " to ".join(dict.fromkeys(ends))


def _interval_note(table: pd.DataFrame) -> str:
    """What the bars of a table of `density` are."""
    if not len(table):
        return ""
    held = table["of_images"].astype(bool)
    spread = "sample standard deviation over runs, since numbers of single images are not stored"
    if not held.any():
        return f"Bars: {spread}; the choice of images, the same for all runs, is not in them."
    alone = table["runs"].max() == 1
    which = "images alone, as there is one run" if alone else "images, the same for all runs, as well as the seeds"
    note = f"Bars: {100 * LEVEL:g} % intervals that hold the choice of {which}"
    return f"{note}." if held.all() else f"{note}; at some points {spread}."


def _stopping_figures(study: StudyTables, name: str, planned: pd.DataFrame) -> list[Figure]:
    table = measures.stopped(planned, study.members)
    if not len(table):
        return []
    steps = study.trajectories.loc[study.trajectories["member_id"].isin(set(planned["member_id"])), "step"]
    note = (
        "Early stopping takes the weights with the least D + βR on a validation subset, which is carved out of the "
        f"test subset; both are measured on the same test images. {_looks(np.unique(steps.to_numpy(np.int64)))}"
    )
    chart = measure_charts.stopping_chart(table)
    return [
        Figure(f"{name}-early-stopping", "Early stopping: rate-distortion curves", f"{note} The star is β = 1.", chart),
        *_figure(
            f"{name}-early-stopping-distortion",
            "Early stopping: distortion and its gap",
            "D of test and of training images above the floor of each, in the same colours: what lies between a solid "
            "and a dashed line of one colour is the generalization gap. Where one curve is seen, both coincide.",
            measures.stopped_curves(planned, study.members),
            "D above its floor, nats per image",
        ),
    ]


def _looks(steps: np.ndarray) -> str:
    """At how many steps early stopping looks, and how far apart they are near the end."""
    if len(steps) < 2:
        return ""
    last = steps[-1]
    late = steps[max(0, int(np.searchsorted(steps, 0.75 * last, side="right")) - 1) :]
    even = next(
        (n for n in range(len(steps), 3, -1) if np.isin(np.rint(np.linspace(0, last, n + 1)[1:]), steps).all()), 0
    )
    spaced = f", {even} of them evenly spaced" if even else ""
    factor = float((late[1:] / late[:-1]).max())
    return (
        f"It looks at {len(steps)} steps{spaced}; over the last quarter each is at most {factor:.2f} × the one before."
    )


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
