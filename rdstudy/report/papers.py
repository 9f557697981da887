"""Figures at the width of a column of a paper: panels laid out anew, and no letter smaller than 7 pt.

A chart comes as one Vega-Lite specification and leaves as one. Lengths are CSS pixels, 96 to an inch and 4/3 to
a point. Knows no table of results.
"""

import copy
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rdstudy.report.svg import BOLD, LETTER, POINT, size, svg_of, with_width, without_overlaps
from rdstudy.report.theme import Panel, title_lines, with_title_lines

INCH = 96.0
_MM = INCH / 25.4
SMALL, MEDIUM = 7.005 * POINT, 8 * POINT
"""Sizes of letters: of labels, and of titles. A little more than 7 pt, so that no rounding makes it less."""

_LEAST_PANEL = 1.1 * INCH  # 1.2 in or nearly: two panels beside each other in a column of 3.25 in
_LEFT, _BESIDE, _SPACING = 22.0, 36.0, 10.0  # of the titles of a row, of the labels of a panel, and between panels
_HEIGHTS = 80.0, 230.0  # of a panel, the least and the most

_MARKS = 0.7  # how much smaller points and lines are than on a page
_SYMBOL = 30  # pixels that the symbol of a legend takes, with what is around it
_DRAWN_AT_MOST = 6  # times, until the panels fill the width


@dataclass(frozen=True)
class Style:
    """The layout of a venue.

    Attributes:
        one: width of a column, in CSS pixels.
        two: width of the text, over two columns; None where there is one column alone.
    """

    one: float
    two: float | None = None


STYLES: Mapping[str, Style] = {
    # neurips_2024.sty and iclr2025_conference.sty: \textwidth 5.5 in, one column
    "neurips": Style(5.5 * INCH),
    "iclr": Style(5.5 * INCH),
    # icml2024.sty: \textwidth 6.75 in, \columnsep 0.25 in; aistats2025.sty: the same
    "icml": Style(3.25 * INCH, 6.75 * INCH),
    "aistats": Style(3.25 * INCH, 6.75 * INCH),
    # jmlr2e.sty: \textwidth 6 in; tmlr.sty: 6.5 in; both one column
    "jmlr": Style(6 * INCH),
    "tmlr": Style(6.5 * INCH),
    # IEEE, "Preparing figures": one column 3.5 in (21 picas), two 7.16 in (43 picas)
    "ieee": Style(3.5 * INCH, 7.16 * INCH),
    # Nature, "Final submission": 89 mm and 183 mm
    "nature": Style(89 * _MM, 183 * _MM),
}
"""Name -> widths, as the styles' own files and instructions to authors have them."""


def width_of(style: str, columns: int) -> float:
    """The width of one or two columns of a style, in CSS pixels.

    Raises:
        ValueError: no such style, or one that has one column alone.
    """
    if style not in STYLES:
        raise ValueError(f"--style is {style!r}; allowed: {', '.join(STYLES)}")
    widths = STYLES[style]
    if columns == 1:
        return widths.one
    if widths.two is None:
        raise ValueError(f"--columns is 2, and {style} has one column; allowed: 1")
    return widths.two


@dataclass(frozen=True)
class Drawing:
    """A chart at its final width.

    Attributes:
        vega_lite: its specification.
        svg: as drawn, exactly so wide.
    """

    vega_lite: Panel
    svg: str


def fitted(spec: Panel, width: float) -> Drawing:
    """A Vega-Lite specification (`theme.Spec`) laid out for a width in CSS pixels.

    Panels are as many in a row as find room, and fill it; of names in the picture that would lie on each other the
    first is kept. A chart that is made of anything else than panels side by side is scaled, with letters as large.
    """
    panel = 0
    for _ in range(_DRAWN_AT_MOST):
        laid = _laid_out(spec, width, panel)
        svg = svg_of(laid.spec)
        missing = width - size(svg)[0]
        if not laid.in_row or 0 <= missing < laid.in_row + 1:
            break
        panel = math.floor(laid.panel + missing / laid.in_row)
        if panel < _LEAST_PANEL / 2:  # something else is as wide
            break
    letters, drawn = SMALL, laid.spec
    while letters * width / max(size(svg)[0], width) < SMALL and letters < 8 * SMALL:
        letters *= 1.1
        drawn = _with_look(laid.spec, letters)
        svg = svg_of(drawn)
    return Drawing(drawn, with_width(without_overlaps(svg), width))


# --- panels ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Laid:
    spec: Panel
    in_row: int  # panels; 0 for a chart that has none
    panel: int  # width of one


def _laid_out(spec: Panel, width: float, panel: int) -> _Laid:
    """The chart with panels so wide, 0 for a first guess."""
    rows = _rows(spec)
    if not rows:
        return _Laid(_with_look(spec, SMALL), 0, 0)
    most = max(len(row["concat"]) for row in rows)
    room = max(1, math.floor((width - _LEFT) / (_LEAST_PANEL + _BESIDE)))
    in_row = math.ceil(most / math.ceil(most / room))
    panel = panel or math.floor((width - _LEFT) / in_row - _BESIDE)
    parts = [_row(row, in_row, panel) for row in rows]
    body = parts[0] if len(parts) == 1 else {"vconcat": parts, "spacing": _SPACING}
    around = {name: value for name, value in spec.items() if name in ("$schema", "config", "datasets")}
    return _Laid(_with_legends(_with_look({**around, **body}, SMALL), width), in_row, panel)


def _rows(spec: Panel) -> list[Panel]:
    """The parts of a chart that are panels side by side; none where it is of another kind."""
    if "concat" in spec:
        return [spec] if all(map(_views, spec["concat"])) else []
    if "vconcat" in spec and all("concat" in part for part in spec["vconcat"]):
        return [row for part in spec["vconcat"] for row in _rows(part)]
    return [{"concat": [{name: spec[name] for name in spec if name not in ("$schema", "config", "datasets")}]}] * bool(
        _views(spec)
    )


def _views(panel: Panel) -> list[Panel]:
    """A panel, or the two above each other that it is made of; none where it has no size to change."""
    views = panel.get("vconcat", [panel])
    sized = all(isinstance(view.get(side), int | float) for view in views for side in ("width", "height"))
    return (
        views
        if sized and not any({"facet", "column", "row"} & {*view, *view.get("encoding", {})} for view in views)
        else []
    )


def _row(row: Panel, in_row: int, width: float) -> Panel:
    panels = row["concat"]
    columns = row.get("columns", len(panels))
    titles = [_y_title(view) for view in _views(panels[0])]
    each = any(_y_title(view) for place, panel in enumerate(panels) if place % columns for view in _views(panel))
    made = []
    for place, panel in enumerate(panels):
        views = [_view(view, width, _ratio(panel, width)) for view in _views(panel)]
        if not each:
            views = [
                _with_y_title(view, title if place % in_row == 0 else None)
                for view, title in zip(views, titles, strict=True)
            ]
        views = [_with_wrapped_axes(view) for view in views]
        made.append({**panel, "vconcat": views, "spacing": _SPACING} if "vconcat" in panel else views[0])
    lines = max(len(title_lines(panel)) for panel in made)
    return {
        "concat": [with_title_lines(panel, lines) for panel in made],
        "columns": in_row,
        "spacing": _SPACING,
    }


def _ratio(panel: Panel, width: float) -> float:
    """How much smaller a panel is than on a page, the one below it too: they have as many nats to a pixel."""
    first = _views(panel)[0]
    least, most = _HEIGHTS
    ratio: float = min(max(width / first["width"], least / first["height"]), most / first["height"])
    return ratio


def _view(view: Panel, width: float, ratio: float) -> Panel:
    layers = [_with_words(layer, width / view["width"], ratio) for layer in view.get("layer", [])]
    sized = {
        **view,
        "width": width,
        "height": round(view["height"] * ratio, 2),
        **({"layer": layers} if layers else {}),
    }
    if "title" not in view:
        return sized
    given = view["title"] if isinstance(view["title"], dict) else {"text": view["title"]}
    title = {**given, "text": _wrapped(_one_line(given.get("text", "")), width, BOLD * MEDIUM), "offset": 4}
    if given.get("subtitle"):
        title["subtitle"] = _wrapped(_one_line(given["subtitle"]), width, LETTER * SMALL)
    return {**sized, "title": title}


def _with_words(layer: Panel, across: float, down: float) -> Panel:
    """A layer whose words stand where they stood in the panel of a page (`rdstudy.report.labels`)."""
    mark = layer.get("mark")
    if not isinstance(mark, dict) or mark.get("x") != {"expr": "datum.text_x"}:
        return layer
    places = {"x": {"expr": f"datum.text_x * {across:.5g}"}, "y": {"expr": f"datum.text_y * {down:.5g}"}}
    return {**layer, "mark": {**mark, **places}}


def _one_line(text: str | Sequence[str]) -> str:
    lines = [text] if isinstance(text, str) else [line for line in text if line]
    return "".join(line if line.endswith("-") else f"{line} " for line in lines).strip()


def _wrapped(text: str, width: float, letter: float) -> str | list[str]:
    lines = textwrap.wrap(text, width=max(4, math.floor(width / letter)), break_long_words=False)
    return lines if len(lines) > 1 else text


# --- axes -----------------------------------------------------------------------------------------------------------


def _axes(view: Panel, channel: str) -> Iterator[dict[str, Any]]:
    """The axes of a panel's layers that say what their title is, for changing."""
    for layer in (view, *view.get("layer", ())):
        axis = layer.get("encoding", {}).get(channel, {}).get("axis")
        if isinstance(axis, dict) and "title" in axis:
            yield axis


def _y_title(view: Panel) -> Any:
    return next((axis["title"] for axis in _axes(view, "y") if axis["title"]), None)


def _with_y_title(view: Panel, title: Any) -> Panel:
    copied = copy.deepcopy(view)
    for axis in _axes(copied, "y"):
        axis["title"] = title
    return copied


def _with_wrapped_axes(view: Panel) -> Panel:
    copied = copy.deepcopy(view)
    for channel, room in (("x", view["width"]), ("y", view["height"])):
        for axis in _axes(copied, channel):
            if axis["title"]:
                axis["title"] = _wrapped(_one_line(axis["title"]), room, LETTER * MEDIUM)
    return copied


# --- letters, marks and legends -------------------------------------------------------------------------------------


def _with_look(spec: Panel, letters: float) -> Panel:
    """The chart with letters of these sizes, and marks that are smaller in the same measure."""
    kept = {name: value for name, value in spec.items() if name != "datasets"}
    sized = _smaller(kept, letters)
    look = dict(sized.get("config", {}))
    larger = letters * MEDIUM / SMALL
    labels = {"labelFontSize": letters, "titleFontSize": larger}
    look["axis"] = {**look.get("axis", {}), **labels, "titlePadding": 3, "labelPadding": 2, "tickSize": 3}
    look["axis"] |= {"labelSeparation": 3, "gridWidth": 0.6, "tickWidth": 0.6, "domainWidth": 0.6}
    look["legend"] = {**look.get("legend", {}), **labels, "symbolSize": 36, "columnPadding": 8, "rowPadding": 1}
    look["legend"] |= {"offset": 6, "padding": 0, "titlePadding": 2}
    look["title"] = {**look.get("title", {}), "fontSize": larger, "subtitleFontSize": letters}
    look["header"] = {**look.get("header", {}), **labels}
    look["text"] = {**look.get("text", {}), "fontSize": letters}
    return {**sized, "config": look, "padding": 1, **({"datasets": spec["datasets"]} if "datasets" in spec else {})}


def _smaller(value: Any, letters: float, *, mark: bool = False) -> Any:
    if isinstance(value, list):
        return [_smaller(entry, letters) for entry in value]
    if not isinstance(value, dict):
        return value
    sizes = {"titleFontSize": letters * MEDIUM / SMALL}
    made = {}
    for name, entry in value.items():
        if name.lower().endswith("fontsize") and isinstance(entry, int | float):
            title = name == "titleFontSize" or (name == "fontSize" and "anchor" in value)
            made[name] = sizes["titleFontSize"] if title else letters
        elif mark and name in _SCALED and isinstance(entry, int | float):
            made[name] = round(entry * _SCALED[name], 3)
        else:
            made[name] = _smaller(entry, letters, mark=name == "mark")
    return made


_SCALED = {"size": _MARKS**2, "strokeWidth": _MARKS, "dx": _MARKS, "dy": _MARKS}


def _with_legends(spec: Panel, width: float) -> Panel:
    """Legends with as many columns as find room, above each other where they are wider than the chart together."""
    copied = copy.deepcopy({name: value for name, value in spec.items() if name != "datasets"})
    legends = list(_legends(copied))
    for legend, entries in legends:
        legend["labelLimit"] = math.floor(width - _SYMBOL)
        columns = max(1, math.floor(width / _entry_width(entries)))
        if columns < len(entries):
            legend["columns"] = columns
    widths = {tuple(entries): len(entries) * _entry_width(entries) for _, entries in legends}
    if sum(widths.values()) > width:
        copied["config"]["legend"]["layout"] = {"top": {"anchor": "start", "direction": "vertical", "margin": 2}}
    return {**copied, **({"datasets": spec["datasets"]} if "datasets" in spec else {})}


def _entry_width(entries: Sequence[str]) -> float:
    return max(len(entry) for entry in entries) * BOLD * SMALL + 28


def _legends(value: Any, name: str = "") -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Legends whose entries are known, with them; `name` is that of the channel."""
    if isinstance(value, list):
        for entry in value:
            yield from _legends(entry)
    elif isinstance(value, dict):
        legend, scale = value.get("legend"), value.get("scale")
        if isinstance(legend, dict) and isinstance(scale, dict) and isinstance(scale.get("domain"), list):
            legend |= {"labelLimit": 0, **({"symbolSize": 250} if "dash" in name.lower() else {})}
            yield legend, [str(entry) for entry in scale["domain"]]
        for channel, entry in value.items():
            yield from _legends(entry, channel)
