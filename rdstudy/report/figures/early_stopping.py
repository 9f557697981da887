"""Early stopping: rate-distortion curves of the last weights and of those with the best validation objective."""

import functools

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.report import plane, seeds, text, theme
from rdstudy.report.curves import series_colour
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.measures import STOPPING, stopped, stopped_members
from rdstudy.report.statistics import PlotDomain

_SHOWN = ("beta", "series", "rate", "rate_sd", "distortion", "distortion_sd", "stop_step", "models")
_SEEDS = ("beta", "series", "seed", "rate", "distortion")


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Rate and distortion of test images under both weights: `measures.stopped`."""
    return stopped(experiment.planned, experiment.study.members)


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What early stopping takes, of how many steps, and what the star is."""
    trajectories = experiment.study.trajectories
    steps = trajectories.loc[trajectories["member_id"].isin(set(experiment.planned["member_id"])), "step"]
    weights = (
        "Early stopping takes the weights with the least D + βR on a validation subset, which is carved out of the "
        "test subset; both are measured on the same test images."
    )
    return text.joined(
        weights,
        _looks(np.unique(steps.to_numpy(np.int64))),
        "The star is β = 1.",
        seeds.note(table),
        plane.likelihoods_note(table),
    )


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


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """One panel per cell: a curve a series, a star at β = 1; cells of one data set and likelihood share their axes."""
    members = stopped_members(experiment.planned, experiment.study.members)
    single = members if seeds.are_drawn(table) else members.iloc[:0]
    grid, domains = theme.Grid.of(table["cell"].nunique()), plane.domains(table, single)
    panels, sets = [], theme.Datasets()
    for place, (cell, part) in enumerate(table.groupby("cell", sort=True)):
        look = {"width": grid.width, "titled": grid.first(place), "has_seeds": len(single) > 0}
        names = {"points": sets.add(part, _SHOWN), "stars": sets.add(part[part["beta"] == 1.0], _SHOWN)}
        names["seeds"] = sets.add(single[single["cell"] == cell], _SEEDS)
        panels.append(theme.fill(_panel(domains[cell], **look), names, title=part["panel"].iloc[0], cell=cell))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _panel(domain: PlotDomain, *, width: int, titled: bool, has_seeds: bool) -> theme.Panel:
    x, y = plane.rate_axis(domain), plane.distortion_axis(domain, titled=titled)
    numbers = [("beta", "β"), ("distortion", "D, mean"), ("distortion_sd", "D, sd"), ("rate", "R, mean")]
    numbers += [("rate_sd", "R, sd"), ("stop_step", "best step, mean"), ("models", "models")]
    shown = [alt.Tooltip(f"{name}:Q", title=title, format=".5~g") for name, title in numbers]
    tooltip = [alt.Tooltip("series:N"), *shown]
    base = theme.chart_of("points").encode(x=x, y=y, color=series_colour(STOPPING))
    lines = base.mark_line(clip=True, strokeWidth=2).encode(order=alt.Order("beta:Q"))
    dots = theme.named(base.mark_circle(clip=True, size=46, opacity=1).encode(tooltip=tooltip), theme.DOTS)
    color = theme.chart_of("seeds").encode(color=series_colour(STOPPING))
    single = [plane.seed_dots(color, x, y)] if has_seeds else []
    layers = [lines, *single, dots, theme.stars(x, y, tooltip)]
    return theme.template(*layers, width=width, height=min(300, round(0.8 * width)))


ORDER = 130

FIGURE = FigureKind(
    name="early-stopping",
    title="Early stopping: rate-distortion curves",
    needs="a validation subset (evaluation.validation_images)",
    table=table,
    chart=chart,
    note=note,
    rank="main",
)
