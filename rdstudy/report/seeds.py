"""Each seed behind a mean, as a faint dot of the colour and mark of its curve: what bars cannot say.

A value that is not to be believed is hollow here too.

Left out where panels are many, and where one model stands behind every point: the mean is that model.
"""

from collections.abc import Sequence

import altair as alt
import pandas as pd

from rdstudy.report import figure, theme

_SIZE, _OPACITY = 20, 0.3


def are_drawn(points: pd.DataFrame) -> bool:
    """Whether the seeds behind points are drawn, of which each has its `cell` and how many `models` stand behind it."""
    return len(points) > 0 and int(points["models"].max()) > 1 and not figure.are_many(points["cell"].nunique())


def note(points: pd.DataFrame) -> str:
    """What the faint dots are, or that there are none; empty where a point is a model."""
    if are_drawn(points):
        return "Faint: single seeds."
    return "Single seeds are not drawn." if len(points) and int(points["models"].max()) > 1 else ""


def layer(base: alt.Chart, x: alt.X, y: alt.Y, numbers: Sequence[tuple[str, str]]) -> alt.Chart:
    """The dots of the role `seeds`, of the colour and shape that `base` has.

    Args:
        base: the chart of the role.
        x: the horizontal axis.
        y: the vertical axis.
        numbers: column and name of what the tooltip shows beside seed and β.
    """
    shown = [("seed", "seed"), ("beta", "β"), *numbers]
    tooltip = [alt.Tooltip(f"{name}:Q", title=title, format=".4~g") for name, title in shown]
    dots: alt.Chart = base.mark_point(clip=True, size=_SIZE, filled=True, opacity=_OPACITY, strokeWidth=1)
    return theme.named(dots.encode(x=x, y=y, tooltip=tooltip), theme.SEEDS)


def of_curves(table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The seeds of a table of curves, one row a point and seed.

    Args:
        table: with `seeds`: of each point, triples (seed, value, believed).
        columns: of the table that the rows keep.

    Returns:
        These columns, and `seed, value, believed`.
    """
    kept = table[[*columns, "seeds"]].to_dict("records")
    rows = [
        {**{name: row[name] for name in columns}, "seed": seed, "value": value, "believed": believed}
        for row in kept
        for seed, value, believed in row["seeds"]
    ]
    return pd.DataFrame(rows, columns=[*columns, "seed", "value", "believed"])
