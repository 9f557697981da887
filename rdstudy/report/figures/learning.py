"""Learning curves: distortion above its floor and rate against step, one panel per cell, one colour per β."""

import functools

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.findings.learning import NOTICEABLE
from rdstudy.report import plane, sentences, text, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import AXES

_MEASURES = (("excess", "D above its floor, nats"), ("rate", "rate R, nats"))

_DRAWN = ["step", "subset", "models", "excess", "excess_sd", "rate", "rate_sd", "beta", "beta_name"]
_CELL = ["cell", "panel", *AXES]

_MOST_ROWS = 40_000
"""On a page at most, which its experiments share: some 4 MB of it."""


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """The `learning_curves` of an experiment, of as many steps as a page can afford."""
    rows = _MOST_ROWS // (len(experiment.study.experiments) * len(experiment.points))
    return learning_curves(experiment.study.trajectories, experiment.rows, points=max(8, min(40, rows)))


def learning_curves(trajectories: pd.DataFrame, rows: pd.DataFrame, *, points: int) -> pd.DataFrame:
    """Rate and distortion against step: one row per cell × β × subset × step.

    Args:
        trajectories: one row per member, subset and step.
        rows: of `statistics.ok_rows`: which members count.
        points: steps of a curve that are kept at most, first and last among them.

    Returns:
        `cell, panel, dataset, likelihood, beta, subset, step, models, images, excess, excess_sd, rate, rate_sd`.
    """
    identity = rows[["member_id", "subset", *_CELL, "beta"]]
    table = trajectories[trajectories["step"] >= 1]  # the axis is logarithmic
    table = table[table["step"].isin(_thinned(np.unique(table["step"].to_numpy()), points))]
    table = table.merge(identity, on=["member_id", "subset"], how="inner")
    table["excess"] = table["distortion"] - table["distortion_floor"]
    groups = table.groupby([*_CELL, "beta", "subset", "step"], sort=True)
    curves = groups.agg(models=("member_id", "nunique"), images=("images", "max"))
    for name in ("excess", "rate"):
        curves[name] = groups[name].mean()
        curves[f"{name}_sd"] = groups[name].std(ddof=1)
    return curves.reset_index()


def _thinned(steps: np.ndarray, points: int) -> np.ndarray:
    """At most `points` of the steps, evenly in their order, which is even in log(step)."""
    if len(steps) <= points:
        return steps
    kept: np.ndarray = steps[np.unique(np.linspace(0, len(steps) - 1, points).round().astype(int))]
    return kept


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What the curves are means of, and which models still learned."""
    curves = (
        f"Means over models on a fixed sample of {int(table['images'].max()):,} images of each subset. Distortion is "
        "shown above its floor, the least that any decoder reaches on those images under the likelihood. All axes "
        "logarithmic."
    )
    still = sentences.still_learning_note(experiment.falls) or _nothing_learned(experiment.falls)
    return text.joined(curves, plane.likelihoods_note(table), still)


def _nothing_learned(falls: pd.DataFrame) -> str:
    """What is said where no model is known to have learned on; empty where nothing is known of it."""
    if not len(falls) or falls["learning"].any():
        return ""
    return (
        f"As far as seeds tell, nowhere did train D fall by more than {100 * NOTICEABLE:g} % of itself in the last "
        "quarter of training."
    )


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Distortion above its floor and rate against step: test solid, train dashed, β from dark to light."""
    grid = theme.Grid.of(table["cell"].nunique())
    betas = sorted(table["beta"].unique().tolist())
    colours = theme.shades_of(betas, experiment.study.planned["beta"].tolist())
    shades = tuple(zip((f"{beta:g}" for beta in betas), colours, strict=True))
    curves, sets = _drawable(table), theme.Datasets()
    alike = dict(list(curves.groupby("likelihood")))  # which share axes
    cells = [
        (cell, part["panel"].iloc[0], alike[part["likelihood"].iloc[0]], {"curves": sets.add(part, _DRAWN)})
        for cell, part in curves.groupby("cell", sort=True)
    ]
    rows = []
    for measure, title in _MEASURES:
        panels = []
        for place, (cell, name, sharing, rows_of_cell) in enumerate(cells):
            named = title if grid.first(place) else None
            template = _panel(shades, measure, domain=_domain(sharing[measure]), title=named, width=grid.width)
            panels.append(theme.fill(template, rows_of_cell, title=name, cell=cell))
        rows.append(theme.lay_out(panels, grid))
    return theme.finish({"vconcat": rows}, sets)


def _drawable(curves: pd.DataFrame) -> pd.DataFrame:
    """Curves with β by name; what a logarithmic axis cannot show is null."""
    table = curves.assign(beta_name=[f"{beta:g}" for beta in curves["beta"]])
    for measure, _ in _MEASURES:
        table[measure] = table[measure].where(table[measure] > 0)
    return table


def _domain(values: pd.Series) -> tuple[float, float]:
    """Of a logarithmic axis: four decades at most, so that a rate that begins at 1e-6 does not squeeze the rest."""
    if not values.notna().any():
        return 0.1, 10.0
    most = 1.1 * float(values.max())
    return max(0.9 * float(values.min()), 1e-4 * most), most


@functools.cache
def _panel(
    shades: tuple[tuple[str, str], ...], measure: str, *, domain: tuple[float, float], title: str | None, width: int
) -> theme.Panel:
    log, (betas, colours) = alt.Scale(type="log", nice=False), map(list, zip(*shades, strict=True))
    legend = alt.Legend(title="β", orient="top", direction="horizontal")
    base = theme.chart_of("curves").encode(
        x=alt.X("step:Q", scale=log, axis=alt.Axis(title="step", grid=False, tickCount=5)),
        y=alt.Y(
            f"{measure}:Q",
            scale=alt.Scale(type="log", domain=list(domain), nice=False),
            axis=alt.Axis(title=title, tickCount=5),
        ),
        color=alt.Color("beta_name:O", sort=betas, scale=alt.Scale(domain=betas, range=colours), legend=legend),
    )
    dash = theme.subset_dash(alt.Legend(title=None, orient="top"))
    lines = base.mark_line(clip=True, strokeWidth=1.6).encode(strokeDash=dash)
    # a line has no tooltip of its own points: these are seen by the pointer alone
    dots = base.mark_circle(clip=True, size=24, opacity=0).encode(
        tooltip=[
            alt.Tooltip("subset:N"),
            alt.Tooltip("beta:Q", title="β", format=".4~g"),
            alt.Tooltip("step:Q", format=","),
            alt.Tooltip(f"{measure}:Q", title="mean", format=".4~g"),
            alt.Tooltip(f"{measure}_sd:Q", title="sd", format=".3~g"),
            alt.Tooltip("models:Q"),
        ]
    )
    return theme.template(lines, theme.named(dots, theme.DOTS), width=width, height=210)


ORDER = 50

FIGURE = FigureKind(
    name="learning",
    title="Learning curves",
    needs="trajectories of models that are trained",
    table=table,
    chart=chart,
    note=note,
)
