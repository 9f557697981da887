"""The main charts of a page as pictures, for readers whose browser runs no scripts."""

import base64
from collections.abc import Sequence

from rdstudy.report.svg import svg_of
from rdstudy.report.theme import Spec

MOST_PANELS, MOST_BYTES = 48, 700_000
"""Of all pictures together: drawing them takes time, and few readers see them."""


def drawings(sections: Sequence[Sequence[tuple[str, Spec]]]) -> dict[str, str]:
    """Charts as SVG: key -> data URI, the first of each section, then the second of each, while there is room.

    Args:
        sections: of a page, the key and the chart of each figure.
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
