"""Test and train distortion against β, with the generalization gap below (paper, Figure 3)."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report import gaps, labels, plane, seeds, sentences, text, theme
from rdstudy.report.axes import ValueAxis
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.groups import Groups
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
    points["curve"] = points.groupby("subset").ngroup()
    floors, singles = Groups(plane.floors(points)), Groups(single)
    best = Groups(experiment.best[experiment.best["place"] != "only"])
    for place, (cell, part) in enumerate(Groups(points)):
        titled = grid.first(place)
        template = _panel(beta, domains[cell], width=grid.width, titled=titled, has_seeds=len(single) > 0)
        names = {"points": sets.add(part, plane.COLUMNS), "floors": sets.add(floors.rows(cell), plane.FLOORS)}
        names["seeds"] = sets.add(singles.rows(cell), plane.SEEDS)
        drawn = _drawn(part, floors.rows(cell), beta, domains[cell], width=grid.width)
        room = labels.Panel(grid.width, _height(grid.width), drawn)
        names["best"] = sets.add(_ring(best.rows(cell), room, beta, domains[cell]))
        panel = theme.fill(template, names, title=part["panel"].iloc[0], cell=cell)
        panels.append(below.added_to(panel, cell, sets, titled=titled))
    return theme.finish(theme.lay_out(panels, grid), sets)


@dataclass(frozen=True)
class _Gaps:
    """The panels of gaps: bars and single models of all cells, and the axis of each cell that has a gap."""

    beta: theme.BetaAxis
    bars: Groups
    members: Groups
    has_seeds: bool
    axes: Mapping[Any, ValueAxis]
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
        members = gaps.seeds_of(experiment.member_gaps, bars, beta)
        axes: dict[Any, ValueAxis] = {}
        for _, part in bars.groupby(list(AXES)):
            cells = part["cell"].unique()
            ends = gaps.ends(part, members[members["cell"].isin(cells)])
            axis = gaps.axis_of(ends, domain=domains[cells[0]], height=_height(width))
            axes |= dict.fromkeys(table.loc[(table[list(AXES)] == part[list(AXES)].iloc[0]).all(axis=1), "cell"], axis)
        return cls(beta, Groups(bars), Groups(members), len(members) > 0, axes, width)

    def added_to(self, panel: theme.Panel, cell: object, sets: theme.Datasets, *, titled: bool) -> theme.Panel:
        """The panel of a cell with its gaps below it, where cells that share its axes have any."""
        if cell not in self.axes:
            return panel
        below = gaps.panel(self.beta, self.axes[cell], width=self.width, titled=titled, has_seeds=self.has_seeds)
        names = {"gaps": sets.add(self.bars.rows(cell), gaps.COLUMNS)}
        names["seeds"] = sets.add(self.members.rows(cell), gaps.SEEDS)
        return gaps.below(panel, theme.fill(below, names))


def _height(width: int) -> int:
    return min(290, round(0.75 * width))


def _ring(best: pd.DataFrame, panel: labels.Panel, beta: theme.BetaAxis, domain: PlotDomain) -> pd.DataFrame:
    """The lowest test point, with its words where they hide nothing; without words where there is no room."""
    ring = best.assign(beta_at=beta.place(best["beta"]))
    x = beta.pixels(ring["beta_at"], width=round(panel.width))
    at = np.column_stack([x, plane.heights(ring["distortion"], domain, height=round(panel.height))])
    words = [
        panel.place(_LOWEST, labels.around(at, own, _LOWEST, font=_FONT, radii=_RADII), font=_FONT)
        for own in range(len(at))
    ]
    text_x, text_y = ([place[axis] if place else np.nan for place in words] for axis in (0, 1))
    return ring.assign(text=[_LOWEST if place else "" for place in words], text_x=text_x, text_y=text_y)


def _drawn(
    part: pd.DataFrame, floors: pd.DataFrame, beta: theme.BetaAxis, domain: PlotDomain, *, width: int
) -> labels.Positions:
    """What curves, bars and floors of a panel cover."""
    order = np.argsort(part["beta"].to_numpy(float), kind="stable")
    x, height = beta.pixels(part["beta_at"], width=width), _height(width)
    points, lows, highs = (
        np.column_stack([x, plane.heights(part[f"distortion{end}"], domain, height=height)])[order]
        for end in ("", "_low", "_high")
    )
    curves = labels.along(points, part["curve"].to_numpy()[order])
    across = plane.floors_across(floors, domain, width=width, height=height)
    return np.concatenate([curves, labels.between(lows, highs), across])


@functools.cache
def _panel(beta: theme.BetaAxis, domain: PlotDomain, *, width: int, titled: bool, has_seeds: bool) -> theme.Panel:
    x, y = beta.x(), plane.distortion_axis(domain, titled=titled)
    base = theme.chart_of("points").encode(x=x, color=theme.subset_colour())
    bars = theme.bars(base, y, "distortion_", width=1.4, opacity=0.65)
    lines = base.mark_line(clip=True, strokeWidth=2).encode(y=y)
    single = [plane.seed_dots(plane.of_subsets("seeds"), x, y)] if has_seeds else []
    dots = plane.of_subsets("points").mark_point(clip=True, size=46, filled=True, opacity=1)
    dots = theme.named(dots.encode(x=x, y=y, tooltip=plane.point_tooltip()), theme.DOTS)
    ring = theme.chart_of("best")
    circle = ring.mark_point(clip=True, size=260, stroke=theme.INK, strokeWidth=1.6, filled=False).encode(x=x, y=y)
    words = labels.text(ring, font=_FONT, color=theme.INK, weight=600)
    layers = [plane.floor_lines(), lines, bars, *single, dots, circle, words]
    return theme.template(*layers, width=width, height=_height(width))


ORDER = 30

FIGURE = FigureKind(
    name="distortion",
    title="Distortion against β",
    needs="models that are trained",
    table=table,
    chart=chart,
    note=note,
)
