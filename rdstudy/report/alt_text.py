"""What a chart shows, in a few sentences for a reader who does not see it: from its tidy table and its axes' titles."""

from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

import pandas as pd

from rdstudy.report import text
from rdstudy.report.figure import DISTORTIONS, FigureKind
from rdstudy.report.theme import Spec

_NAMED = 6  # panels, series or lowest points that are named one by one
_CHANNELS = ("x", "y")


def alt_text(kind: FigureKind, table: pd.DataFrame, spec: Spec) -> str:
    """A description of a chart: its axes, panels, curves and ranges; of distortions, where each is lowest.

    Args:
        kind: of the figure.
        table: that is drawn, at least one row.
        spec: the chart, of which the titles of the axes are read.
    """
    parts = [
        _axes(kind.title, spec),
        _panels(table),
        _curves(table),
        _beta_range(table),
        _ranges(kind.name, table),
        _doubts(table),
    ]
    return text.joined(*(f"{part}." for part in parts if part), _lowest(kind.name, table))


def _axes(title: str, spec: Spec) -> str:
    """Such as "Rate-distortion curves: distortion D, nats per image (vertical) against rate R (horizontal)"."""
    titles = axis_titles(spec)
    named = [
        f"{titles[channel]} ({where})" for channel, where in (("y", "vertical"), ("x", "horizontal")) if titles[channel]
    ]
    return f"{title}: {' against '.join(named)}" if named else title


def axis_titles(spec: Spec) -> Mapping[str, str]:
    """The titles of a chart's axes, `x` and `y`: of the first panel that names them; empty where none does."""
    return {channel: next(_titles(spec.layout, channel), "") for channel in _CHANNELS}


def _titles(part: Any, channel: str) -> Iterator[str]:
    if isinstance(part, list):
        for element in part:
            yield from _titles(element, channel)
    elif isinstance(part, Mapping):
        encoded = (part.get("encoding") or {}).get(channel, {})
        title = (encoded.get("axis") or {}).get("title") or encoded.get("title")
        if title:
            yield " ".join(title) if isinstance(title, list) else str(title)
        for name in ("concat", "vconcat", "hconcat", "layer", "spec"):
            yield from _titles(part.get(name, []), channel)


def _panels(table: pd.DataFrame) -> str:
    if "panel" not in table:
        return ""
    names = list(dict.fromkeys(str(name) for name in table["panel"]))
    if len(names) == 1:
        return f"One panel: {names[0]}"
    return f"{len(names)} panels: {text.listed(names, most=_NAMED)}"


def _curves(table: pd.DataFrame) -> str:
    """What the curves of a panel are: series, sizes of splits, subsets."""
    parts = []
    for column, what in (("series", "series"), ("size", "sizes of the training set"), ("split", "splits")):
        if column in table and table[column].nunique() > 1:
            values = sorted(table[column].unique()) if column == "size" else list(dict.fromkeys(table[column]))
            names = [f"{value:,}" if isinstance(value, Integral) else str(value) for value in values]
            parts.append(f"{what}: {text.listed(names, most=_NAMED)}")
    subsets = [name for name in ("train", "test") if "subset" in table and (table["subset"] == name).any()]
    if subsets:
        parts.append(f"{' and '.join(subsets)} images")
    words = "; ".join(parts)
    return words[:1].upper() + words[1:]


def _beta_range(table: pd.DataFrame) -> str:
    if "beta" not in table:
        return ""
    betas = sorted(table["beta"].unique())
    if len(betas) == 1:
        return f"β is {betas[0]:g}"
    return f"{len(betas)} values of β from {betas[0]:g} to {betas[-1]:g}"


_RANGES: Sequence[tuple[str, str]] = (
    ("value", "values"),
    ("distortion", "D"),
    ("excess", "D above its floor"),
    ("rate", "R"),
    ("gap", "generalization gaps"),
    ("distance", "distances"),
)
_DRAWN = {
    "distortion": {"distortion", "gap"},
    "sizes-distortion": {"distortion", "gap"},
    "rate-distortion": {"distortion", "rate"},
    "sizes-rate-distortion": {"distortion", "rate"},
    "learning": {"excess", "rate"},
}
"""By figure, of the columns above those that it draws, where its table has more."""


def _ranges(name: str, table: pd.DataFrame) -> str:
    """From where to where the numbers of a figure go."""
    known = [column for column, _ in _RANGES if column in table and table[column].notna().any()]
    drawn = {"value"} if "value" in known else _DRAWN.get(name, set(known))
    words = "; ".join(_range(words, table[column]) for column, words in _RANGES if column in drawn & set(known))
    return words[:1].upper() + words[1:]


def _range(words: str, values: pd.Series) -> str:
    ends = list(dict.fromkeys(text.number(value, digits=3).text for value in (values.min(), values.max())))
    return f"{words} from {ends[0]} to {ends[1]}" if len(ends) > 1 else f"{words} of {ends[0]}"


def _doubts(table: pd.DataFrame) -> str:
    """How many points are not to be believed; empty where none."""
    doubted = int((~table["believed"].astype(bool)).sum()) if "believed" in table else 0
    return f"{doubted:,} of {len(table):,} points are hollow, as they are not to be believed" if doubted else ""


def _lowest(name: str, table: pd.DataFrame) -> str:
    """Where mean test distortion is lowest on each curve of a figure of distortions; empty for other figures."""
    if name not in DISTORTIONS:
        return ""
    test = table[table["subset"] == "test"].dropna(subset=["distortion"])
    identity = [column for column in ("panel", "size") if column in test]
    test = test[test.groupby(identity)["beta"].transform("nunique") > 1]
    curves = test[identity].drop_duplicates()
    named = test.merge(curves[:_NAMED], on=identity)
    lines = [_at(dict(zip(identity, key, strict=True)), part) for key, part in named.groupby(identity, sort=False)]
    more = len(curves) - _NAMED
    rest = f"; and {more} more curves" if more > 0 else ""
    return f"Mean test D is lowest {'; '.join(lines)}{rest}." if lines else ""


def _at(curve: Mapping[str, Any], points: pd.DataFrame) -> str:
    """Such as "at β = 1 (1 layer: 253.1 nats)"."""
    row = points.sort_values("distortion", kind="stable").iloc[0]
    edge = ", an end of the range" if row["beta"] in (points["beta"].min(), points["beta"].max()) else ""
    size = f", {curve['size']:,} training images" if "size" in curve else ""
    value = text.number(row["distortion"]).text
    return f"at β = {row['beta']:g}{edge} ({curve['panel']}{size}: {value} nats)"
