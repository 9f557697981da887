"""A chart as the page embeds it: each plot once as a template, and all rows in columns.

The page draws each panel by itself when it comes into view. Hundreds of panels share a few templates, and their rows
are most of a page: as columns, with five significant digits, they take much less than as records.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report.theme import CELL, Datasets, Panel, Spec

Json = dict[str, Any]

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
    parts = {
        "config": dumps(spec.layout["config"]),
        "columns": dumps(_columns(spec.layout)),
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


def _columns(layout: Panel) -> int:
    rows = layout.get("vconcat", [layout])
    return int(rows[0].get("columns", 1))


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
        whole = _joined([rows.tables[name][0] for name in names])
        blocks.append(block_json({column: whole[column] for column in columns}))
    return blocks, ranges


def _joined(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows: pandas takes the types of empty tables for those of values."""
    known = [table for table in tables if len(table)]
    return tables[0] if not known else known[0] if len(known) == 1 else pd.concat(known, ignore_index=True)


def block_json(columns: Mapping[str, pd.Series]) -> str:
    """Columns of equal lengths as a JSON object: name -> values.

    Numbers are a list; one value for all rows is `{"all": value}`; words that repeat are `{"of": words, "at":
    positions}`. Null stands for what is missing or not finite.
    """
    return "{" + ",".join(f"{dumps(str(name))}:{_column_json(values)}" for name, values in columns.items()) + "}"


def _column_json(values: pd.Series) -> str:
    plain = values.tolist()
    if values.dtype == np.float64:
        texts = [f"{value:.5g}" for value in plain]
        for place in np.flatnonzero(~np.isfinite(values.to_numpy())):
            texts[place] = "null"
    else:
        words = {value: dumps(value) for value in {value for value in plain if isinstance(value, str)}}  # they repeat
        texts = [words[value] if isinstance(value, str) else dumps(_finite(value)) for value in plain]
    different = list(dict.fromkeys(texts))
    if len(different) == 1:
        return f'{{"all":{texts[0]}}}'
    if different and different[0].startswith('"') and 2 * len(different) < len(texts):
        places = {text: place for place, text in enumerate(different)}
        return f'{{"of":[{",".join(different)}],"at":{dumps([places[text] for text in texts])}}}'
    return f"[{','.join(texts)}]"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    return None if value is pd.NA or value is pd.NaT else value
