"""How every chart looks: colours, marks, axes. Knows no table of results."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

# Okabe and Ito (2008): told apart by colour-blind readers.
TEST, TRAIN, UNUSED, INK, FAINT = "#D55E00", "#0072B2", "#D5D8DC", "#1B1F24", "#8A929B"
PALETTE = (TEST, TRAIN, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SUBSETS = ("test", "train")

PAGE_PIXELS = 1120
"""Width that charts may take, in CSS pixels."""


Panel = dict[str, Any]  # a part of a Vega-Lite specification
Layers = alt.LayerChart | alt.FacetChart  # what alt.layer says that it returns


@dataclass(frozen=True)
class Spec:
    """A Vega-Lite specification, ready to be embedded or drawn."""

    vega_lite: dict[str, Any]


def star_path() -> str:
    """A five-pointed star as an SVG path, inside the unit circle."""
    corners = []
    for corner in range(10):
        radius, angle = (1.0 if corner % 2 == 0 else 0.45), math.pi * corner / 5
        corners.append(f"{radius * math.sin(angle):.3f},{-radius * math.cos(angle):.3f}")
    return "M" + "L".join(corners) + "Z"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows for a chart: floats to five significant digits, null for what is missing or not finite."""
    columns = {name: [_plain(value) for value in table[name].tolist()] for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return value


class Datasets:
    """The rows of one chart, kept beside its panels: Altair copies and checks data with every step.

    Its limit of 5,000 rows is not for tables made small here.
    """

    def __init__(self) -> None:
        self.values: dict[str, list[dict[str, Any]]] = {}

    def add(self, table: pd.DataFrame, columns: Sequence[str] | None = None) -> str:
        """Keep these columns of a table, all of them by default; returns the name under which a panel finds them."""
        name = f"rows{len(self.values)}"
        self.values[name] = records(table if columns is None else table[list(columns)])
        return name


def chart_of(role: str) -> alt.Chart:
    """A chart whose rows are still to come: `fill` gives the data of each role."""
    return alt.Chart(alt.NamedData(name=role))


def subset_colour() -> alt.Color:
    """Test and train, in the same two colours everywhere."""
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolStrokeWidth=0, symbolOpacity=1)
    return alt.Color("subset:N", scale=alt.Scale(domain=list(SUBSETS), range=[TEST, TRAIN]), legend=legend)


@dataclass(frozen=True)
class BetaAxis:
    """A logarithmic axis for β, on which β = 0 has a place of its own: a decade left of the others.

    Attributes:
        zero: where β = 0 is drawn.
        domain: lowest and highest value shown.
        values: where ticks are.
    """

    zero: float
    domain: tuple[float, float]
    values: tuple[float, ...]

    def place(self, betas: pd.Series) -> pd.Series:
        """β as the axis shows it."""
        return betas.where(betas > 0, self.zero)

    def in_left_half(self, places: pd.Series) -> bool:
        """Whether all these places on the axis lie in its left half."""
        return bool((places < math.sqrt(self.domain[0] * self.domain[1])).all())

    def x(self) -> alt.X:
        """The encoding of `beta_at`, the column that `place` makes."""
        axis = alt.Axis(
            title="β",
            values=list(self.values),
            labelExpr=f"datum.value <= {self.zero!r} * 1.001 ? '0' : format(datum.value, '~r')",
            labelOverlap="greedy",
            grid=False,
        )
        return alt.X("beta_at:Q", scale=alt.Scale(type="log", domain=list(self.domain), nice=False), axis=axis)


def beta_axis(betas: Iterable[float]) -> BetaAxis:
    """An axis for these β: ticks at each where they are few, at powers of ten where they are many."""
    distinct = sorted(set(betas))
    positive = [beta for beta in distinct if beta > 0] or [1.0]
    zero = 10.0 ** (math.floor(math.log10(positive[0])) - 1)
    shown = [zero if beta == 0 else beta for beta in distinct]
    low, high = shown[0], shown[-1]
    margin = max((high / low) ** 0.05, 1.2)
    values = shown
    if len(shown) > 7:
        powers = range(math.ceil(math.log10(positive[0]) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        values = [zero] * (0 in distinct) + [10.0**power for power in powers]
    return BetaAxis(zero, (low / margin, high * margin), tuple(values))


@dataclass(frozen=True)
class Grid:
    """How panels are laid out: how many in a row, and the width of one in CSS pixels."""

    columns: int
    width: int

    @classmethod
    def of(cls, panels: int) -> "Grid":
        """Panels wide enough to read: at most four in a row, an even number where there are many."""
        columns = panels if panels <= 4 else (3 if panels % 3 == 0 and panels % 4 else 4)
        columns = max(columns, 1)
        return cls(columns, min(520, (PAGE_PIXELS - 76 - 46 * columns) // columns))

    def first(self, panel: int) -> bool:
        """Whether a panel begins a row: it carries the title of the vertical axis."""
        return panel % self.columns == 0


def template(chart: alt.LayerChart | alt.FacetChart | alt.Chart, *, width: int, height: int) -> Panel:
    """A panel without rows as plain data: Altair takes minutes for a page on which it draws each panel anew."""
    spec: Panel = chart.properties(width=width, height=height).to_dict(validate=False)
    return {key: value for key, value in spec.items() if key not in ("$schema", "config")}


def fill(template: Panel, names: Mapping[str, str], *, title: str = "", subtitle: str = "") -> Panel:
    """A panel with its title, if any, and rows: `names` says where `Datasets` keeps those of each role."""
    layers = [_with_rows(layer, names) for layer in template.get("layer", [])]
    text = {"text": title, "anchor": "start", "fontSize": 13, "fontWeight": 600, "color": INK, "offset": 8}
    filled = _with_rows(template, names)
    if title:
        filled = {**filled, "title": {**text, "subtitle": subtitle} if subtitle else text}
    return {**filled, "layer": layers} if layers else filled


def _with_rows(spec: Panel, names: Mapping[str, str]) -> Panel:
    return {**spec, "data": {"name": names[spec["data"]["name"]]}} if "data" in spec else spec


def lay_out(panels: Sequence[Panel], grid: Grid) -> Panel:
    """Panels side by side, in rows."""
    return {"concat": list(panels), "columns": grid.columns, "spacing": 18}


def finish(chart: Panel, datasets: Datasets) -> Spec:
    """The whole Vega-Lite specification of a chart: with its rows, and the look that all charts share."""
    return Spec({"$schema": alt.SCHEMA_URL, "config": _look(), "datasets": datasets.values, **chart})


def _look() -> dict[str, Any]:
    quiet = {"domainColor": "#C4CAD0", "tickColor": "#C4CAD0", "gridColor": "#EEF0F2"}
    axis = {"labelColor": "#4A525B", "titleColor": INK, "titleFontWeight": "normal"}
    legend = {"labelFontSize": 12, "titleFontWeight": "normal", "titleFontSize": 12, "labelColor": INK}
    return {
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif",
        "background": "white",
        "view": {"stroke": "#E3E6EA"},
        "axis": {**quiet, **axis, "titleFontSize": 12, "labelFontSize": 11},
        "legend": legend,
    }
