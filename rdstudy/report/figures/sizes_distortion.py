"""Test distortion of many split sizes in one panel, with the generalization gap below (paper, Figure 4)."""

import functools

import pandas as pd

from rdstudy.report import gaps, plane, sizes, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import PlotDomain, plot_domain


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Test curves, one panel per group and one line per size of the split, with gaps below where they are known."""
    beta, sets = theme.beta_axis(table["beta"]), theme.Datasets()
    single = sizes.seeds_of(experiment, table)
    domain = plot_domain(table, single)
    points, shades = sizes.named_sizes(plane.with_bars(table)), sizes.shades_of(experiment, table)
    grid = theme.Grid.of(points["group"].nunique())
    gap_seeds = _gap_seeds(experiment, table, beta)
    axis = None
    if table["gap"].notna().any():
        ends, height = gaps.ends(gaps.with_bars(table, beta), gap_seeds), sizes.panel_height(grid.width)
        domain = gaps.widened(domain, ends, height=height)
        axis = gaps.axis_of(ends, domain=domain, height=height)
    panels = []
    for place, (group, part) in enumerate(points.groupby("group", sort=True)):
        look = {"width": grid.width, "titled": grid.first(place)}
        template = _panel(shades, beta, domain, has_seeds=len(single) > 0, **look)
        names = {
            "points": sets.add(part, sizes.COLUMNS),
            "seeds": sets.add(single[single["group"] == group], sizes.SEEDS),
        }
        panel = theme.fill(template, names, title=part["panel"].iloc[0])
        if axis is not None:
            rows = sets.add(gaps.with_bars(part, beta), (*gaps.COLUMNS, "size"))
            below = gaps.panel(beta, axis, has_seeds=len(gap_seeds) > 0, shades=shades, **look)
            own = sets.add(gap_seeds[gap_seeds["group"] == group], (*gaps.SEEDS, "size"))
            panel = gaps.below(panel, theme.fill(below, {"gaps": rows, "seeds": own}))
        panels.append(panel)
    return theme.finish(theme.lay_out(panels, grid), sets)


def _gap_seeds(experiment: ExperimentTables, table: pd.DataFrame, beta: theme.BetaAxis) -> pd.DataFrame:
    """The gaps of single models that are drawn, with their size as text and group."""
    members = experiment.member_gaps
    members = members.merge(table[["cell", "size", "group"]].drop_duplicates("cell"), on="cell")
    return sizes.named_sizes(gaps.seeds_of(members, gaps.with_bars(table, beta), beta))


@functools.cache
def _panel(
    shades: sizes.Shades, beta: theme.BetaAxis, domain: PlotDomain, *, width: int, titled: bool, has_seeds: bool
) -> theme.Panel:
    y = plane.distortion_axis(domain, titled=titled)
    layers = sizes.size_layers(beta.x(), y, shades, has_seeds=has_seeds)
    return theme.template(*layers, width=width, height=sizes.panel_height(width))


ORDER = 20

FIGURE = FigureKind(
    name="sizes-distortion",
    title="Test distortion against β by size of the split",
    needs="cells that differ in the size of their split, of three sizes or more",
    table=sizes.sized_points,
    chart=chart,
    note=lambda _, table: f"{sizes.sizes_note(table)} {gaps.NOTE}",
)
