"""Test and train distortion against β, with the generalization gap below (paper, Figure 3)."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.report import gaps, labels, plane, seeds, sentences, statistics, text, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import AXES, PlotDomain

_LOWEST, _FONT = "lowest test", 12
_RADII = (14, 20, 28, 40, 56)  # from the ring, in CSS pixels


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """Rate and distortion, with the gap of each cell and β: `statistics.rate_distortion`, `generalization_gap`."""
    return experiment.points.merge(experiment.gaps, on=["cell", "beta"], how="left")


def note(experiment: ExperimentTables, table: pd.DataFrame) -> str:
    """What the bars, the ring and the dashed line are, and which models still learned."""
    marks = "The ring marks the lowest mean test distortion. Dashed: the distortion floor."
    still = sentences.still_learning_note(experiment.falls)
    likelihoods = plane.likelihoods_note(table)
    models = sentences.models_phrase(table)
    return text.joined(models, seeds.note(table), marks, gaps.NOTE, likelihoods, still)


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """One panel per cell, with the lowest mean test distortion marked; below, the gap, as many nats to a pixel."""
    points, beta = plane.with_bars(table), theme.beta_axis(table["beta"])
    single = plane.seeds_of(experiment.rows, table)
    grid, domains = theme.Grid.of(points["cell"].nunique()), plane.domains(table, single)
    below = _Gaps.of(experiment, table, beta, domains, width=grid.width)
    panels, sets = [], theme.Datasets()
    for place, (cell, part) in enumerate(points.groupby("cell", sort=True)):
        titled = grid.first(place)
        template = _panel(beta, domains[cell], width=grid.width, titled=titled, has_seeds=len(single) > 0)
        names = {"points": sets.add(part, plane.COLUMNS), "floors": sets.add(plane.floors(part))}
        names["seeds"] = sets.add(single[single["cell"] == cell], plane.SEEDS)
        best = experiment.best[(experiment.best["cell"] == cell) & (experiment.best["place"] != "only")]
        names["best"] = sets.add(_ring(best, part, beta, domains[cell], width=grid.width))
        panel = theme.fill(template, names, title=part["panel"].iloc[0], cell=cell)
        panels.append(below.added_to(panel, cell, sets, titled=titled))
    return theme.finish(theme.lay_out(panels, grid), sets)


@dataclass(frozen=True)
class _Gaps:
    """The panels of gaps: bars and single models of all cells, and the axis of each cell that has a gap."""

    beta: theme.BetaAxis
    bars: pd.DataFrame
    members: pd.DataFrame
    axes: Mapping[Any, gaps.GapAxis]
    width: int

    @classmethod
    def of(
        cls,
        experiment: ExperimentTables,
        table: pd.DataFrame,
        beta: theme.BetaAxis,
        domains: Mapping[Any, PlotDomain],
        *,
        width: int,
    ) -> "_Gaps":
        bars = gaps.with_bars(table.drop_duplicates(["cell", "beta"]), beta)
        members = gaps.seeds_of(statistics.member_gaps(experiment.rows), bars, beta)
        axes: dict[Any, gaps.GapAxis] = {}
        for _, part in bars.groupby(list(AXES)):
            cells = part["cell"].unique()
            ends = gaps.ends(part, members[members["cell"].isin(cells)])
            axis = gaps.GapAxis.of(ends, domain=domains[cells[0]], height=_height(width))
            axes |= dict.fromkeys(table.loc[(table[list(AXES)] == part[list(AXES)].iloc[0]).all(axis=1), "cell"], axis)
        return cls(beta, bars, members, axes, width)

    def added_to(self, panel: theme.Panel, cell: object, sets: theme.Datasets, *, titled: bool) -> theme.Panel:
        """The panel of a cell with its gaps below it, where cells that share its axes have any."""
        if cell not in self.axes:
            return panel
        below = _gap_panel(self.beta, self.axes[cell], width=self.width, titled=titled, has_seeds=len(self.members) > 0)
        names = {"gaps": sets.add(self.bars[self.bars["cell"] == cell], gaps.COLUMNS)}
        names["seeds"] = sets.add(self.members[self.members["cell"] == cell], gaps.SEEDS)
        return gaps.below(panel, theme.fill(below, names))


@functools.cache
def _gap_panel(beta: theme.BetaAxis, axis: gaps.GapAxis, *, width: int, titled: bool, has_seeds: bool) -> theme.Panel:
    color = alt.value(theme.INK)
    return gaps.panel(beta, axis, color=color, width=width, titled=titled, has_seeds=has_seeds)


def _height(width: int) -> int:
    return min(290, round(0.75 * width))


def _ring(
    best: pd.DataFrame, part: pd.DataFrame, beta: theme.BetaAxis, domain: PlotDomain, *, width: int
) -> pd.DataFrame:
    """The lowest test point, with its words where they hide nothing; without words where there is no room."""
    height = _height(width)
    panel = labels.Panel(width, height, _drawn(part, beta, domain, width=width))
    ring = best.assign(beta_at=beta.place(best["beta"]))
    x, y = beta.pixels(ring["beta_at"], width=width), plane.heights(ring["distortion"], domain, height=height)
    at = np.column_stack([x, y])
    words = [
        panel.place(_LOWEST, labels.around(at, own, _LOWEST, font=_FONT, radii=_RADII), font=_FONT)
        for own in range(len(at))
    ]
    text_x, text_y = ([place[axis] if place else np.nan for place in words] for axis in (0, 1))
    return ring.assign(text=[_LOWEST if place else "" for place in words], text_x=text_x, text_y=text_y)


def _drawn(part: pd.DataFrame, beta: theme.BetaAxis, domain: PlotDomain, *, width: int) -> labels.Positions:
    """What curves, bars and floors of a panel cover."""
    part = part.sort_values("beta")

    def at(rows: pd.DataFrame, column: str = "distortion") -> labels.Positions:
        y = plane.heights(rows[column], domain, height=_height(width))
        return np.column_stack([beta.pixels(rows["beta_at"], width=width), y])

    floors = plane.heights(plane.floors(part)["floor"], domain, height=_height(width))
    left, right = (np.column_stack([np.full(len(floors), x), floors]) for x in (0.0, width))
    curves = [labels.along(at(rows)) for _, rows in part.groupby("subset")]
    bars = labels.between(at(part, "distortion_low"), at(part, "distortion_high"))
    return np.concatenate([*curves, bars, labels.between(left, right)])


@functools.cache
def _panel(beta: theme.BetaAxis, domain: PlotDomain, *, width: int, titled: bool, has_seeds: bool) -> theme.Panel:
    x, y = beta.x(), plane.distortion_axis(domain, titled=titled)
    base = theme.chart_of("points").encode(x=x, color=theme.subset_colour())
    bars = base.mark_rule(clip=True, strokeWidth=1.4, opacity=0.65).encode(
        y=alt.Y("distortion_low:Q", scale=y["scale"], axis=y["axis"]), y2="distortion_high:Q"
    )
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    single = [plane.seed_dots(plane.of_subsets("seeds"), x, y)] if has_seeds else []
    dots = plane.of_subsets("points").mark_point(clip=True, size=46, filled=True, opacity=1)
    dots = dots.encode(x=x, y=y, tooltip=plane.point_tooltip()).properties(name=theme.DOTS)
    ring = theme.chart_of("best")
    circle = ring.mark_point(clip=True, size=260, stroke=theme.INK, strokeWidth=1.6, filled=False).encode(x=x, y=y)
    words = labels.text(ring, font=_FONT, color=theme.INK, weight=600)
    layers = alt.layer(plane.floor_lines(), lines, bars, *single, dots, circle, words)
    return theme.template(layers, width=width, height=_height(width))


ORDER = 30
"""Its place on a page among the other figures."""

FIGURE = FigureKind(
    name="distortion",
    title="Distortion against β",
    needs="models that are trained",
    table=table,
    chart=chart,
    note=note,
)
