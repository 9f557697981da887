"""Rate-distortion curves of many split sizes in one panel (paper, Figure 4)."""

import functools

import altair as alt
import pandas as pd

from rdstudy.report import plane, sizes, theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.statistics import PlotDomain, plot_domain


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """What the lines, the star and the contours are."""
    return (
        f"{sizes.sizes_note(table)} Points are joined in the order of β; the star is β = 1. Thin dashed lines join "
        "equal ELBO, −(D + R)."
    )


def chart(experiment: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """Test curves, one panel per group and one line per size of the split, with contours of the ELBO."""
    points, single = sizes.named_sizes(plane.with_bars(table)), sizes.seeds_of(experiment, table)
    domain, sets = plot_domain(table, single), theme.Datasets()
    groups = list(points.groupby("group", sort=True))
    grid, contours, panels = theme.Grid.of(len(groups)), plane.add_contours(sets, domain), []
    for place, (group, part) in enumerate(groups):
        look = {"width": grid.width, "titled": grid.first(place), "has_seeds": len(single) > 0}
        template = _panel(sizes.shades_of(experiment, table), domain, **look)
        names = {"points": sets.add(part, sizes.COLUMNS)}
        names["seeds"] = sets.add(single[single["group"] == group], sizes.SEEDS)
        names["stars"] = sets.add(part[part["beta"] == 1.0], sizes.COLUMNS)
        panels.append(theme.fill(template, names | contours, title=part["panel"].iloc[0]))
    return theme.finish(theme.lay_out(panels, grid), sets)


@functools.cache
def _panel(shades: sizes.Shades, domain: PlotDomain, *, width: int, titled: bool, has_seeds: bool) -> theme.Panel:
    x, y = plane.rate_axis(domain), plane.distortion_axis(domain, titled=titled)
    base = theme.chart_of("points").encode(y=y, color=sizes.size_colour(shades))
    across = theme.bars(base, x, "rate_", width=1.2, opacity=0.6)
    tooltip = [*sizes.SIZE_TOOLTIP, *plane.point_tooltip()]
    stars = theme.stars(x, y, tooltip, size=80, outline=alt.Undefined)
    curves = sizes.size_layers(x, y, shades, has_seeds=has_seeds)
    layers = [*plane.contour_lines(x, y), across, *curves, stars]
    return theme.template(*layers, width=width, height=sizes.panel_height(width))


ORDER = 10

FIGURE = FigureKind(
    name="sizes-rate-distortion",
    title="Rate-distortion curves by size of the split",
    needs="cells that differ in the size of their split, of three sizes or more",
    table=sizes.sized_points,
    chart=chart,
    note=note,
)
