"""How every chart looks: colours, marks, axes. Knows no table of results."""

import itertools
import math
import textwrap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

# Okabe and Ito (2008): told apart by colour-blind readers.
TEST, TRAIN, UNUSED, INK, FAINT = "#D55E00", "#0072B2", "#D5D8DC", "#1B1F24", "#8A929B"
SUBSETS = ("test", "train")
SUBSET_COLOURS: Mapping[str, str] = MappingProxyType({"test": TEST, "train": TRAIN})
SUBSET_SHAPES: Mapping[str, str] = MappingProxyType({"test": "circle", "train": "square"})

COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "rate": "#555500",
        "cross rate": "#AAAA00",
        "mutual information I": "#009E73",
        "marginal KL": "#762A83",
        "total correlation": "#40004B",
        "dimension-wise KL": "#B57EDC",
        "gap of the ELBO, on these images": INK,
        "gap of the ELBO, over all images": "#A9B1B9",
        "decoder's part": "#1B7837",
        "encoder's part": "#C51B7D",
        "of the test inference gap, taken away by refitting": "#C9A227",
        "last step": "#E69F00",
        "early stopping": "#01665E",
        "nearer to training images than to as many unseen ones": "#663333",
        "nearer to some training image than to its own": FAINT,
        "this decoder": "#44AA99",
        "infinite-capacity decoder": "#882255",
        "D + βR above the optimum": INK,
        "D − D of the optimum": "#44AA99",
        "R − R of the optimum": "#555500",
    }
)
"""Series -> its colour, wherever it is drawn. None is that of test or train, which mean nothing else."""

SPARE_COLOURS = ("#117733", "#AA4499", "#999933", "#661100", "#666666", "#E7B800")  # after Tol (2021)
"""Of series that are not in `COLOURS`."""

_VIRIDIS = (
    "440154",
    "482475",
    "414487",
    "355F8D",
    "2A788E",
    "21918C",
    "22A884",
    "44BF70",
    "7AD151",
    "BDDF26",
    "FDE725",
)
_LIGHTEST = 0.8  # of viridis: what comes after it is hardly seen on white

_TITLE = {"anchor": "start", "fontSize": 13, "fontWeight": 600, "color": INK, "offset": 8}
_TITLE_PIXELS = 7.4  # of a letter of such a title, on average
PAGE_PIXELS = 1120
"""Width that charts may take, in CSS pixels."""


CELL = "cell"
"""Of a panel: the number of the cell whose rows it draws, which leads from a point to its models."""

_PARTS = ("concat", "vconcat")
DOTS, SEEDS = "dots", "seeds"
"""Names of the layers of a plot that hold all its points, with their tooltips, and those of single seeds: one of each a
plot at most."""

Panel = dict[str, Any]  # a part of a Vega-Lite specification
Layers = alt.LayerChart | alt.FacetChart  # what alt.layer says that it returns


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

    Attributes:
        tables: name -> rows, and the columns of them that the chart needs.
    """

    def __init__(self) -> None:
        self.tables: dict[str, tuple[pd.DataFrame, tuple[str, ...]]] = {}

    def add(self, table: pd.DataFrame, columns: Sequence[str] | None = None) -> str:
        """Keep these columns of a table, all of them by default; returns the name under which a panel finds them."""
        name = f"rows{len(self.tables)}"
        self.tables[name] = table, tuple(table.columns if columns is None else columns)
        return name

    @property
    def values(self) -> dict[str, list[dict[str, Any]]]:
        """All rows, as Vega-Lite has them: name -> records."""
        return {name: records(table[list(columns)]) for name, (table, columns) in self.tables.items()}


@dataclass(frozen=True, eq=False)
class Spec:
    """A Vega-Lite specification, and its rows where they are kept beside it.

    Attributes:
        layout: a whole specification, but for the rows that `rows` holds. Charts of `finish` are one panel,
            `{"concat": panels}` or a `vconcat` of those, and a panel is one plot or a `vconcat` of plots.
        rows: the datasets of the layout; None where it has all it needs.
    """

    layout: dict[str, Any]
    rows: Datasets | None = None

    @property
    def vega_lite(self) -> dict[str, Any]:
        """The specification, ready to be drawn."""
        panels = _with_numbered_names(_without_cells(self.layout), itertools.count())
        return panels if self.rows is None else {**panels, "datasets": self.rows.values}

    @property
    def panels(self) -> int:
        """How many panels the chart has."""
        rows = self.layout.get("vconcat", [self.layout])
        return sum(len(row.get("concat", [row])) for row in rows)


def _without_cells(panels: dict[str, Any]) -> dict[str, Any]:
    """Panels without the numbers of their cells, which Vega-Lite does not know."""
    kept = {key: value for key, value in panels.items() if key != CELL}
    return {key: [_without_cells(part) for part in kept[key]] if key in _PARTS else kept[key] for key in kept}


def chart_of(role: str) -> alt.Chart:
    """A chart whose rows are still to come: `fill` gives the data of each role."""
    return alt.Chart(alt.NamedData(name=role))


def stars(x: alt.X, y: alt.Y, tooltip: Sequence[alt.Tooltip], *, size: int = 150, outline: Any = 1.3) -> alt.Chart:
    """The rows of the role `stars`, as white stars: models of β = 1."""
    white, ink = alt.value("white"), alt.value(INK)
    chart = chart_of("stars").encode(x=x, y=y, tooltip=tooltip, fill=white, stroke=ink)
    drawn: alt.Chart = chart.mark_point(
        clip=True, shape=star_path(), size=size, opacity=1, filled=True, strokeWidth=outline
    )
    return drawn


def colours_of(series: Sequence[str]) -> tuple[str, ...]:
    """The colours of the series of one figure, no two alike: those of `COLOURS`, spare ones for what is not there.

    A spare colour follows from the name, so that a series keeps it, unless another one of the figure has it.
    """
    colours = {name: COLOURS[name] for name in series if name in COLOURS}
    for name in series:
        if name not in colours:
            first = zlib.crc32(name.encode()) % len(SPARE_COLOURS)
            spare = SPARE_COLOURS[first:] + SPARE_COLOURS[:first]
            colours[name] = next((colour for colour in spare if colour not in colours.values()), spare[0])
    return tuple(colours[name] for name in series)


def sequential(steps: int) -> list[str]:
    """Colours for so many ordered levels, from dark to light (viridis)."""
    anchors = np.array([[int(colour[at : at + 2], 16) for at in (0, 2, 4)] for colour in _VIRIDIS])
    at = np.linspace(0.0, _LIGHTEST, steps) * (len(anchors) - 1)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in np.rint(channels).astype(int).T.tolist()]


def shades_of(levels: Sequence[float], among: Iterable[float]) -> tuple[str, ...]:
    """The colours of some ordered levels among all of a study: a level has one colour on the whole page."""
    ordered = sorted({*among, *levels})
    shades = dict(zip(ordered, sequential(len(ordered)), strict=True))
    return tuple(shades[level] for level in levels)


def series_scale(series: Sequence[str]) -> alt.Scale:
    """A colour a series (`colours_of`)."""
    return alt.Scale(domain=list(series), range=list(colours_of(series)))


def hollow_if_doubted(field: str, scale: alt.Scale) -> dict[str, Any]:
    """Encodings of points of these colours: filled where a row's `believed` is true, else white inside."""
    where_believed = {"test": "datum.believed", **_encoded(field, scale)}
    fill = alt.FillValue("white", condition=where_believed)
    return {"fill": fill, "stroke": alt.Stroke(field, scale=scale, legend=None)}


def _encoded(field: str, scale: alt.Scale) -> dict[str, Any]:
    name, _, kind = field.partition(":")
    return {"field": name, "type": {"N": "nominal", "O": "ordinal"}[kind], "scale": scale.to_dict(), "legend": None}


def subset_scale() -> alt.Scale:
    """The colours of test and train."""
    return alt.Scale(domain=list(SUBSETS), range=[SUBSET_COLOURS[name] for name in SUBSETS])


def subset_dash(legend: alt.Legend | None) -> alt.StrokeDash:
    """Test solid, train dashed, where colours mean something else."""
    return alt.StrokeDash("subset:N", scale=alt.Scale(domain=list(SUBSETS), range=[[1, 0], [5, 3]]), legend=legend)


def subset_shape(legend: alt.Legend | None) -> alt.Shape:
    """A test point is round, a training point square: they are told apart in grey print too."""
    shapes = [SUBSET_SHAPES[name] for name in SUBSETS]
    return alt.Shape("subset:N", scale=alt.Scale(domain=list(SUBSETS), range=shapes), legend=legend)


def subset_legend() -> alt.Legend:
    """Of test and train, by colour and mark."""
    return alt.Legend(title=None, orient="top", symbolStrokeWidth=0, symbolOpacity=1, symbolSize=80)


def subset_colour(*, legend: bool = True) -> alt.Color:
    """Test and train, in the same two colours everywhere."""
    return alt.Color("subset:N", scale=subset_scale(), legend=subset_legend() if legend else None)


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

    def pixels(self, places: "pd.Series[float]", *, width: int) -> NDArray[np.float64]:
        """How far right of the left edge of a panel places on the axis are, in CSS pixels."""
        low, high = math.log(self.domain[0]), math.log(self.domain[1])
        return np.asarray(width * (np.log(places.to_numpy(np.float64)) - low) / (high - low))

    def x(self, *, labelled: bool = True) -> alt.X:
        """The encoding of `beta_at`, the column that `place` makes; without words where a panel below has them."""
        axis = alt.Axis(
            title="β" if labelled else None,
            labels=labelled,
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
    spec: Panel = chart.to_dict(validate=False)
    kept = {key: value for key, value in spec.items() if key not in ("$schema", "config")}
    return {**kept, "width": width, "height": height}  # `properties` would first copy all that the chart is made of


def fill(template: Panel, names: Mapping[str, str], *, title: str = "", subtitle: str = "", cell: Any = None) -> Panel:
    """A panel with its title, if any, and rows.

    Args:
        template: of `template`.
        names: under which `Datasets` keeps the rows of each role.
        title: above the panel.
        subtitle: below the title.
        cell: the number of the cell whose rows these are; None where they are of several.
    """
    layers = [_with_rows(layer, names) for layer in template.get("layer", [])]
    filled = _with_rows(template, names)
    if title:
        text = {"text": wrapped(title, width=template["width"]), **_TITLE}
        filled = {**filled, "title": {**text, "subtitle": subtitle} if subtitle else text}
    if cell is not None:
        filled = {**filled, CELL: int(cell)}
    return {**filled, "layer": layers} if layers else filled


def wrapped(title: str, *, width: int) -> str | list[str]:
    """A title in as many lines as a panel so many pixels wide needs: a wider one would push panels apart."""
    lines = textwrap.wrap(title, width=max(1, round(width / _TITLE_PIXELS)), break_long_words=False)
    return lines if len(lines) > 1 else title


def _with_rows(spec: Panel, names: Mapping[str, str]) -> Panel:
    return {**spec, "data": {"name": names[spec["data"]["name"]]}} if "data" in spec else spec


def lay_out(panels: Sequence[Panel], grid: Grid) -> Panel:
    """Panels side by side, in rows: titles of as many lines, so that the panels of a row are as high."""
    most = max((len(_title_lines(panel)) for panel in panels), default=0)
    return {"concat": [_with_title_lines(panel, most) for panel in panels], "columns": grid.columns, "spacing": 18}


def _title_lines(panel: Panel) -> list[str]:
    if "vconcat" in panel:  # its first part carries the title
        return _title_lines(panel["vconcat"][0])
    text = panel.get("title", {}).get("text", [])
    return [text] if isinstance(text, str) else text


def _with_title_lines(panel: Panel, lines: int) -> Panel:
    """The panel with so many lines of title, the first of them empty."""
    if "vconcat" in panel:
        first, *below = panel["vconcat"]
        return {**panel, "vconcat": [_with_title_lines(first, lines), *below]}
    own = _title_lines(panel)
    if not own or len(own) == lines:
        return panel
    return {**panel, "title": {**panel["title"], "text": [""] * (lines - len(own)) + own}}


def finish(chart: Panel, datasets: Datasets) -> Spec:
    """The whole Vega-Lite specification of a chart: with its rows, and the look that all charts share."""
    return Spec({"$schema": alt.SCHEMA_URL, "config": _look(), **chart}, datasets)


def _with_numbered_names(spec: Any, numbers: Iterator[int]) -> Any:
    """The layers of points with a number behind their names: those of one name would all draw the rows of the last."""
    if isinstance(spec, list):
        return [_with_numbered_names(part, numbers) for part in spec]
    if not isinstance(spec, dict):
        return spec
    parts = {
        key: _with_numbered_names(value, numbers) if key in ("concat", "vconcat", "layer") else value
        for key, value in spec.items()
    }
    return {**parts, "name": f"{spec['name']}{next(numbers)}"} if spec.get("name") in (DOTS, SEEDS) else parts


def titled(spec: Spec, title: str) -> dict[str, Any]:
    """A specification with its title above it: for a chart that stands by itself."""
    return {**spec.vega_lite, "title": {"text": title, "anchor": "start", "fontSize": 15, "offset": 14}}


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
