"""What panels of distortion, against β or the rate, share: axes, floors, contours of the ELBO, tooltips. In nats.

Every mark is clipped to its panel: error bars and contours reach beyond it. A panel is drawn once for all cells that
share its axes, and filled with the rows of each.
"""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.report import labels, seeds, theme
from rdstudy.report.statistics import AXES, PlotDomain, elbo_contours, plot_domain

_SHOWN = ("beta", "beta_at", "subset", "models", "floor", "excess")
COLUMNS = (*_SHOWN, *(f"{name}{end}" for name in ("rate", "distortion") for end in ("", "_low", "_high", "_sd")))
"""Of a point, as charts draw it and tooltips name it."""

SEEDS = ("beta", "beta_at", "subset", "seed", "rate", "distortion")
"""Of a single model, as charts draw it."""

_CONTOUR_FONT = 10  # CSS pixels


def with_bars(points: pd.DataFrame) -> pd.DataFrame:
    """Add the ends of the error bars, mean ± standard deviation, and where β lies on its axis."""
    table = points.assign(beta_at=theme.beta_axis(points["beta"]).place(points["beta"]))
    for name in ("rate", "distortion"):
        half = table[f"{name}_sd"].fillna(0.0)
        table[f"{name}_low"] = table[name] - half
        table[f"{name}_high"] = table[name] + half
    table["rate_low"] = table["rate_low"].clip(lower=0.0)  # no rate is below 0; a distortion of Gaussian pixels may be
    return table


def seeds_of(members: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """The rows of single models that are drawn behind points, with where β lies on its axis; none where none is.

    Args:
        members: of `statistics.ok_rows`, or with the columns that the points have.
        points: means over these.
    """
    drawn = members if seeds.are_drawn(points) else members.iloc[:0]
    return drawn.assign(beta_at=theme.beta_axis(points["beta"]).place(drawn["beta"]))


def of_subsets(role: str) -> alt.Chart:
    """Marks of a role in the colour and shape of their subset."""
    chart: alt.Chart = theme.chart_of(role).encode(
        color=theme.subset_colour(), shape=theme.subset_shape(theme.subset_legend())
    )
    return chart


def seed_dots(base: alt.Chart, x: alt.X, y: alt.Y) -> alt.Chart:
    """Single models, from the rows of the role `seeds`: `base` has their colour and mark."""
    return seeds.layer(base, x, y, [("distortion", "D"), ("rate", "R")])


def pixels(
    rows: pd.DataFrame,
    domain: PlotDomain,
    *,
    width: int,
    height: int,
    columns: tuple[str, str] = ("rate", "distortion"),
) -> labels.Positions:
    """Where rows with a rate and a distortion, in these columns, are in a rate-distortion panel, in CSS pixels."""
    x = width * domain.along(rows[columns[0]].to_numpy(dtype=float))
    return np.column_stack([x, heights(rows[columns[1]], domain, height=height)])


def heights(distortion: pd.Series, domain: PlotDomain, *, height: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """How far below the upper edge of a panel distortions are, in CSS pixels."""
    below = domain.distortion_max - distortion.to_numpy(np.float64)
    return np.asarray(height * below / (domain.distortion_max - domain.distortion_min))


def add_contours(sets: theme.Datasets, domain: PlotDomain) -> dict[str, str]:
    """The rows of `contour_lines`, by role."""
    table, columns = elbo_contours(domain), ["elbo", "rate", "distortion"]
    return {"contours": sets.add(table, columns), "contour names": sets.add(table[table["label"]], columns)}


def contour_lines(x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Lines of equal ELBO with their values, for the lowest layers of a rate-distortion panel."""
    lines = theme.chart_of("contours").encode(x=x, y=y, detail=alt.Detail("elbo:N"))
    lines = lines.mark_line(clip=True, strokeDash=[3, 4], strokeWidth=1, color="#C3C9CF")
    names = theme.chart_of("contour names").encode(x=x, y=y, text=alt.Text("elbo:Q", format="~r"))
    return [lines, names.mark_text(clip=True, align="left", dx=5, dy=9, fontSize=_CONTOUR_FONT, color=theme.FAINT)]


def contour_names(ends: pd.DataFrame, domain: PlotDomain, panel: labels.Panel) -> pd.DataFrame:
    """The rows of `contour_ends`, those whose names would hide something of this panel left out."""
    at = pixels(ends, domain, width=round(panel.width), height=round(panel.height))
    kept = []
    for (x, y), elbo in zip(at, ends["elbo"].tolist(), strict=True):
        across, up = labels.size_of(f"{elbo:g}", font=_CONTOUR_FONT)
        kept.append(panel.is_free((x + 5, y + 9 - up / 2, x + 5 + across, y + 9 + up / 2)))
    return ends[np.array(kept, dtype=bool)]


def contour_ends(domain: PlotDomain) -> pd.DataFrame:
    """Where the values of the contours of a domain stand."""
    table = elbo_contours(domain)
    return table.loc[table["label"], ["elbo", "rate", "distortion"]]


FLOORS = ("subset", "floor")
"""Of a floor, as charts draw it."""


def floors(points: pd.DataFrame) -> pd.DataFrame:
    """The distortion floor of each cell and subset: `cell` and `FLOORS`."""
    return points.groupby(["cell", "subset"], sort=True)["floor"].mean().reset_index()


def floors_across(floors: pd.DataFrame, domain: PlotDomain, *, width: int, height: int) -> labels.Positions:
    """What the lines of a panel's floors cover."""
    down = heights(floors["floor"], domain, height=height)
    left, right = (np.column_stack([np.full(len(down), x), down]) for x in (0.0, width))
    return labels.between(left, right)


def floor_lines() -> alt.Chart:
    """Dashed lines at the rows of the role `floors`."""
    tooltip = [alt.Tooltip("subset:N"), alt.Tooltip("floor:Q", title="floor D", format=".4~g")]
    lines = theme.chart_of("floors").mark_rule(clip=True, strokeDash=[7, 4], strokeWidth=1.2)
    chart: alt.Chart = lines.encode(y=alt.Y("floor:Q"), color=theme.subset_colour(), tooltip=tooltip)
    return chart


def domains(points: pd.DataFrame, members: pd.DataFrame | None = None) -> dict[Any, PlotDomain]:
    """One domain for all cells of a data set and likelihood (`AXES`), so that their panels can be compared.

    Args:
        points: of `statistics.rate_distortion`.
        members: single models that are drawn too: `cell, rate, distortion`.
    """
    shared: dict[Any, PlotDomain] = {}
    for _, part in points.groupby(list(AXES)):
        cells = part["cell"].unique()
        single = members[members["cell"].isin(cells)] if members is not None else None
        shared |= dict.fromkeys(cells, plot_domain(part, single))
    return shared


def likelihoods_note(points: pd.DataFrame) -> str:
    """What is to be said where panels have several data sets or likelihoods; empty where they have one."""
    if points["likelihood"].nunique() < 2:
        return "Each data set has an axis of its own." if points["dataset"].nunique() > 1 else ""
    return (
        "Each likelihood has an axis of its own: distortions under two of them are not comparable. That of a density "
        "may be below 0."
    )


def rate_axis(domain: PlotDomain) -> alt.X:
    """The horizontal axis of rate-distortion curves."""
    scale = alt.Scale(type=domain.rate_scale, domain=[domain.rate_min, domain.rate_max], nice=False)
    return alt.X(
        "rate:Q", scale=scale, axis=alt.Axis(title="rate R, nats per image", tickCount=7, labelSeparation=7, grid=False)
    )


def distortion_axis(domain: PlotDomain, *, titled: bool) -> alt.Y:
    """The vertical axis of distortions; only the first panel of a row carries its title."""
    scale = alt.Scale(domain=[domain.distortion_min, domain.distortion_max], zero=False, nice=False)
    name = "D above its floor" if domain.above_floor else "distortion D"
    title = f"{name}, nats per image" if titled else None
    return alt.Y("distortion:Q", scale=scale, axis=alt.Axis(title=title, tickCount=6))


def point_tooltip() -> list[alt.Tooltip]:
    """What the pointer finds at a point."""
    fields = [("beta", "β"), ("distortion", "D, mean"), ("distortion_sd", "D, sd"), ("excess", "D above floor")]
    fields += [("floor", "floor"), ("rate", "R, mean"), ("rate_sd", "R, sd"), ("models", "models")]
    numbers = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in fields]
    return [alt.Tooltip("subset:N"), *numbers]
