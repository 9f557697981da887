"""Log marginal likelihood: −log p(x) above the floor of the same images, and below it what says whether to believe it.

A mean over images hides that some of them have few effective draws: these are shown beside k̂ and the share that passes.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt
import pandas as pd

from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.report import density, seeds, text, theme
from rdstudy.report.curves import axes_note, curves_chart
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind

_SHARE = "{:.0f} %"
_CHECK_PIXELS = 62  # height of a panel of checks
_RELIABLE_KHAT, _LEAST_EFFECTIVE = 0.7, 30.0  # as `rdstudy.measures` has them, which need torch


@dataclass(frozen=True)
class _Check:
    """A panel that says whether to believe: its column, title, scale, and the value at which belief ends, if any."""

    column: str
    title: str
    domain: tuple[float, float]
    values: tuple[float, ...]
    kind: Literal["linear", "log"] = "linear"
    format: str = "~r"
    limit: float | None = None


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """-log p(x) above the floor of the same images: the columns `density.INTERVAL` and `density.DOUBT`."""
    rows = density.with_belief(experiment.measured)
    values = {name: rows[name].to_numpy() for name in rows}
    by = [*density.POINT, "subset"]
    means: Any = rows.groupby(by)[[*density.DOUBT, "log_marginal_se"]].mean().to_dict("index")
    keys, places = zip(*density.places(rows, by), strict=True) if len(rows) else ((), ())

    def members(at: density.Numbers) -> density.PointMembers:
        table = density.image_table(values[density.LOG_MARGINAL][at])
        tables = None if table is None else [-table]
        return density.PointMembers(-values["above"][at], values["seed"][at], values["believed"][at], tables)

    points = []
    for key, point in zip(keys, density.mean_points(map(members, places)), strict=True):
        doubt = {name: means[key][name] for name in density.DOUBT}
        named = {"series": "−log p(x) above the floor", "error": means[key]["log_marginal_se"]}
        points.append({**dict(zip(by, key, strict=True)), **point, **doubt, **named})
    return pd.DataFrame(points, columns=[*density.INTERVAL, *density.DOUBT])


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """How log p(x) was estimated, what there is to say against it, and what the bars hold."""
    return text.joined(
        f"{_estimate(experiment.measured)} Hollow: less than {100 * LEAST_PASSED:g} % of images pass, not to be "
        "believed. Below, what says so, as means over models: the effective sample size of an image (ESS), the share "
        "of images that pass, and Pareto k̂ (95th percentile). An image passes with an ESS of "
        f"{_LEAST_EFFECTIVE:g} or more and k̂ up to {_RELIABLE_KHAT:g} (dashed). For β < 1 the objective is no "
        "bound on log p(x).",
        density.interval_note(table),
        seeds.note(table),
        axes_note(table),
    )


def _estimate(rows: pd.DataFrame) -> str:
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


def _range(values: pd.Series, form: str) -> str:
    """The least and the most of some values, one where they look the same."""
    known = values.dropna().astype(float) * (100 if form == _SHARE else 1)
    ends = [form.format(value) for value in (known.min(), known.max())] if len(known) else ["–"]
    return " to ".join(dict.fromkeys(ends))


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """-log p(x) against β, with a panel a check below."""
    checks = _checks(table)

    def below(
        part: pd.DataFrame, beta: theme.BetaAxis, sets: theme.Datasets, width: int, titled: bool
    ) -> Sequence[theme.Panel]:
        rows = part.assign(beta_at=beta.place(part["beta"]))
        names = {"checks": sets.add(rows, ["beta", "beta_at", "subset", "models", *density.DOUBT])}
        panels = [
            _check_panel(check, beta, width=width, titled=titled, is_last=check is checks[-1]) for check in checks
        ]
        return [theme.fill(panel, names) for panel in panels]

    return curves_chart(table, title="−log p(x) above the floor, nats", more=density.DOUBT, apart=True, below=below)


def _checks(table: pd.DataFrame) -> list[_Check]:
    """The checks that are known, each with an axis that all panels share."""
    known = {name: table[name].astype(float).dropna() for name in density.DOUBT}
    checks = []
    if len(draws := known["log_marginal_ess"]):
        ends = (min(1.0, float(draws.min())), max(100.0, 2.0 * float(draws.max())))
        powers = tuple(float(10**power) for power in range(7) if ends[0] <= 10**power <= ends[1])
        checks.append(_Check("log_marginal_ess", "ESS", ends, powers, "log", limit=_LEAST_EFFECTIVE))
    if len(known["log_marginal_passed"]):
        shares = (0.0, 0.5, LEAST_PASSED)
        checks.append(
            _Check("log_marginal_passed", "images pass", (-0.08, 1.08), shares, format="%", limit=LEAST_PASSED)
        )
    if len(khat := known["log_marginal_khat"]):
        ends = (min(0.0, float(khat.min())) - 0.1, max(1.0, float(khat.max())) + 0.1)
        checks.append(_Check("log_marginal_khat", "Pareto k̂", ends, (0.0, _RELIABLE_KHAT), limit=_RELIABLE_KHAT))
    return checks


@functools.cache
def _check_panel(check: _Check, beta: theme.BetaAxis, *, width: int, titled: bool, is_last: bool) -> theme.Panel:
    x = beta.x(labelled=is_last)
    scale = alt.Scale(type=check.kind, domain=list(check.domain), nice=False)
    title = check.title if titled else None
    axis = alt.Axis(title=title, values=list(check.values), format=check.format, titleFontSize=11, titlePadding=4)
    y = alt.Y(f"{check.column}:Q", scale=scale, axis=axis)
    rows = theme.chart_of("checks")
    base = rows.encode(x=x, color=theme.subset_colour(legend=False))
    lines = base.mark_line(clip=True, strokeWidth=1.5).encode(y=y, order=alt.Order("beta:Q"))
    dots = base.mark_point(clip=True, size=28, filled=True, opacity=1)
    tooltip = [alt.Tooltip("subset:N"), alt.Tooltip("beta:Q", title="β", format=".4~g")]
    tooltip.append(alt.Tooltip(f"{check.column}:Q", title=f"{check.title}, mean over models", format=".3~g"))
    dots = theme.named(dots.encode(y=y, shape=theme.subset_shape(None), tooltip=tooltip), theme.DOTS)
    layers = [lines, dots]
    if check.limit is not None:
        limit = rows.mark_rule(clip=True, strokeDash=[7, 4], strokeWidth=1.2, color=theme.FAINT)
        layers.insert(0, limit.encode(y=alt.YDatum(check.limit, scale=scale, axis=axis)))
    return theme.template(*layers, width=width, height=_CHECK_PIXELS)


ORDER = 110

FIGURE = FigureKind(
    name="log-marginal",
    title="Log marginal likelihood",
    needs="the measure log_marginal",
    table=table,
    chart=chart,
    note=note,
    rank="main",
)
