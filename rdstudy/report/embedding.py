"""A chart as the page embeds it: each plot once as a template, and all rows in columns; or as a picture.

The page draws each panel by itself when it comes into view. Hundreds of panels share a few templates, and their rows
are most of a page: as columns, with five significant digits, they take much less than as records.
"""

import base64
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report.groups import together
from rdstudy.report.svg import svg_of
from rdstudy.report.theme import CELL, Datasets, Panel, Spec, plain

Json = dict[str, Any]

MOST_PANELS, MOST_BYTES = 48, 700_000
"""Of all pictures of a page together: drawing them takes time, and few readers see them."""

_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"), ensure_ascii=False)  # one for hundreds of thousands


def embedded(spec: Spec) -> str:
    """A chart as JSON text: `web/page.js` reads it.

    Returns:
        `{"own": specification}` for a specification that keeps its own rows; else an object of `config`, `columns` (how
        many panels in a row at most), `templates` (plots whose datasets are numbered), `panels` and `rows`. A panel has
        a `title`, a `subtitle`, a `cell` and `plots`, each `[template, datasets]`; a dataset is `[block, first, end]`,
        a range of rows of one of the blocks of `rows`, and a block is what `block_json` says.
    """
    if spec.rows is None:
        return dumps({"own": spec.vega_lite})
    blocks, ranges = _blocks(spec.rows)
    templates: dict[str, int] = {}
    panels = [_panel(panel, templates, ranges) for panel in _panels(spec.layout)]
    first_row = spec.layout.get("vconcat", [spec.layout])[0]
    parts = {
        "config": dumps(spec.layout["config"]),
        "columns": dumps(first_row.get("columns", 1)),
        "templates": f"[{','.join(templates)}]",
        "panels": dumps(panels),
        "rows": f"[{','.join(blocks)}]",
    }
    return "{" + ",".join(f'"{name}":{text}' for name, text in parts.items()) + "}"


def dumps(value: Any) -> str:
    """Compact JSON without NaN."""
    return _ENCODER.encode(value)


# --- panels ---------------------------------------------------------------------------------------------------------


def _panels(layout: Panel) -> Iterator[Panel]:
    """The panels of a chart, in the order in which they are read."""
    if "concat" in layout:
        yield from layout["concat"]
    elif "vconcat" in layout and "concat" in layout["vconcat"][0]:
        yield from itertools.chain.from_iterable(row["concat"] for row in layout["vconcat"])
    else:
        yield {key: value for key, value in layout.items() if key not in ("$schema", "config")}


def _panel(panel: Panel, templates: dict[str, int], ranges: Mapping[str, list[int]]) -> Json:
    plots = panel.get("vconcat", [panel])
    title = plots[0].get("title", {})
    lines = title.get("text", "")
    return {
        "title": lines if isinstance(lines, str) else " ".join(line for line in lines if line),
        "subtitle": title.get("subtitle", ""),
        "cell": plots[0].get(CELL),
        "plots": [_plot(plot, templates, ranges) for plot in plots],
    }


def _plot(plot: Panel, templates: dict[str, int], ranges: Mapping[str, list[int]]) -> list[Any]:
    """A plot as its template, which is new or known, and the rows of its datasets."""
    names: dict[str, int] = {}
    bare = _numbered({key: value for key, value in plot.items() if key not in ("title", CELL)}, names)
    number = templates.setdefault(dumps(bare), len(templates))
    return [number, [ranges[name] for name in names]]


def _numbered(plot: Panel, names: dict[str, int]) -> Panel:
    """The plot with numbers for the names of its datasets."""
    bare = dict(plot)
    if "data" in plot:
        bare["data"] = {"name": str(names.setdefault(plot["data"]["name"], len(names)))}
    if "layer" in plot:
        bare["layer"] = [_numbered(layer, names) for layer in plot["layer"]]
    return bare


# --- rows -----------------------------------------------------------------------------------------------------------


def _blocks(rows: Datasets) -> tuple[list[str], dict[str, list[int]]]:
    """Rows with the same columns as one block of JSON, and where the rows of each dataset lie."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, (_, columns) in rows.tables.items():
        alike.setdefault(columns, []).append(name)
    blocks: list[str] = []
    ranges: dict[str, list[int]] = {}
    for number, (columns, names) in enumerate(alike.items()):
        ends = np.cumsum([0, *(len(rows.tables[name][0]) for name in names)]).tolist()
        ranges |= {
            name: [number, first, end] for name, (first, end) in zip(names, itertools.pairwise(ends), strict=True)
        }
        whole = together([rows.tables[name][0] for name in names])
        blocks.append(block_json({column: whole[column] for column in columns}))
    return blocks, ranges


def block_json(columns: Mapping[str, pd.Series]) -> str:
    """Columns of equal lengths as a JSON object: name -> values.

    Numbers are a list; one value for all rows is `{"all": value}`; words that repeat are `{"of": words, "at":
    positions}`. Null stands for what is missing or not finite.
    """
    return "{" + ",".join(f"{dumps(str(name))}:{_column_json(values)}" for name, values in columns.items()) + "}"


def _column_json(values: pd.Series) -> str:
    listed = values.tolist()
    if values.dtype == np.float64:
        texts = [f"{value:.5g}" for value in listed]
        for place in np.flatnonzero(~np.isfinite(values.to_numpy())):
            texts[place] = "null"
    else:
        words = {value: dumps(value) for value in {value for value in listed if isinstance(value, str)}}  # they repeat
        texts = [words[value] if isinstance(value, str) else dumps(plain(value)) for value in listed]
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return f'{{"all":{texts[0]}}}'
    if different and different[0].startswith('"') and 2 * len(different) < len(texts):
        places = {text: place for place, text in enumerate(different)}
        return f'{{"of":[{",".join(different)}],"at":{dumps([places[text] for text in texts])}}}'
    return f"[{','.join(texts)}]"


# --- pictures -------------------------------------------------------------------------------------------------------


def drawings(sections: Sequence[Sequence[tuple[str, Spec]]]) -> dict[str, str]:
    """Charts as SVG, for readers whose browser runs no scripts: key -> data URI.

    Of the figures of each section, (key, chart), the first, then the second of each, while there is room.
    """
    drawn: dict[str, str] = {}
    room, longest = MOST_PANELS, max((len(charts) for charts in sections), default=0)
    for key, spec in (charts[place] for place in range(longest) for charts in sections if place < len(charts)):
        if spec.panels <= room:
            room -= spec.panels
            drawn[key] = _data_uri(spec)
        if sum(map(len, drawn.values())) > MOST_BYTES:
            drawn.popitem()
            break
    return drawn


def _data_uri(spec: Spec) -> str:
    """The chart as a data URI, without a label for each mark: the picture has a text."""
    chart = spec.vega_lite
    svg = svg_of({**chart, "config": {**chart.get("config", {}), "aria": False}})
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
