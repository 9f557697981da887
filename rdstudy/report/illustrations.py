"""Pictures that need no trained member: the splits on a small example (paper, Figure 2) and images of a data set."""

import base64
import struct
import zlib
from dataclasses import dataclass

import altair as alt
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rdstudy.report import theme
from rdstudy.report.theme import Spec
from rdstudy.seeds import derive_seed
from rdstudy.splits import make_split, resolve_rule

_STRATA = (25, 24)  # 600 samples of two factors, as in the paper's Figure 2

_SIDE = 216  # of a panel, in CSS pixels

_SHOWN_RULES = (
    ("default: a random half", "default"),
    ("checkerboard", "checkerboard"),
    ("constant density", "cd(120)"),
    ("constant volume", "cv(120)"),
)


def splits_example(study_seed: int) -> pd.DataFrame:
    """The four kinds of split on 600 stratified samples of two factors, made by the rules that train members.

    Returns:
        One row per rule × sample: `panel, rule, first, second` (factors, in the unit square) and `use`: train, test or
        unused.
    """
    rng = np.random.default_rng(derive_seed(study_seed, "illustration of the splits"))
    cells = np.indices(_STRATA).reshape(2, -1).T
    factors = (cells + rng.random(cells.shape)) / np.array(_STRATA)
    images = len(factors)
    parts = []
    for panel, text in _SHOWN_RULES:
        rule = resolve_rule(text, dataset="illustration", images=images, has_factors=True)
        split = make_split(rule, dataset="illustration", images=images, factors=factors, study_seed=study_seed)
        use = np.full(images, "unused", dtype=object)
        use[split.train], use[split.test] = "train", "test"
        columns = {"panel": panel, "rule": str(rule), "first": factors[:, 0], "second": factors[:, 1], "use": use}
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def splits_chart(example: pd.DataFrame) -> Spec:
    """The four splits side by side (paper, Figure 2).

    Args:
        example: of `splits_example`.
    """
    panels, sets = [], theme.Datasets()
    template = theme.template(_split_panel(), width=_SIDE, height=_SIDE)
    for panel, part in example.groupby("panel", sort=False):
        counts = part["use"].value_counts()
        subtitle = f"{counts.get('train', 0)} train, {counts.get('test', 0)} test"
        rows = sets.add(part[["first", "second", "use"]].round(3))
        panels.append(theme.fill(template, {"samples": rows}, title=str(panel), subtitle=subtitle))
    return theme.finish(theme.lay_out(panels, theme.Grid(4, _SIDE)), sets)


def _split_panel() -> alt.Chart:
    unit = alt.Scale(domain=[0, 1], nice=False)
    uses = alt.Scale(domain=["train", "test", "unused"], range=[theme.TRAIN, theme.TEST, theme.UNUSED])
    chart: alt.Chart = (
        theme.chart_of("samples")
        .mark_circle(clip=True, size=17, opacity=1)
        .encode(
            x=alt.X("first:Q", scale=unit, axis=alt.Axis(title="factor 1", values=[0, 0.5, 1], grid=False)),
            y=alt.Y("second:Q", scale=unit, axis=alt.Axis(title="factor 2", values=[0, 0.5, 1], grid=False)),
            color=alt.Color("use:N", scale=uses, legend=alt.Legend(title=None, orient="top")),
        )
    )
    return chart


@dataclass(frozen=True)
class ExampleImage:
    """One image of a data set: a PNG as a data URI, and what a reader without eyes for it is told."""

    source: str
    text: str


def example_images(examples: pd.DataFrame) -> dict[str, tuple[ExampleImage, ...]]:
    """Data set -> its examples, in the order of the table.

    Args:
        examples: rows of `schema.EXAMPLES`.
    """
    found: dict[str, tuple[ExampleImage, ...]] = {}
    for dataset, part in examples.groupby("dataset", sort=True):
        found[str(dataset)] = tuple(_example(row) for row in part.itertuples(index=False))
    return found


def _example(row: object) -> ExampleImage:
    shape = (row.channels, row.height, row.width)  # type: ignore[attr-defined]
    pixels = np.frombuffer(row.pixels, np.uint8).reshape(shape)  # type: ignore[attr-defined]
    names, levels = row.factor_names, row.factors  # type: ignore[attr-defined]
    pairs = [] if names is None or levels is None else list(zip(names, levels, strict=False))
    factors = ", ".join(f"{name} {level:.2f}" for name, level in pairs)
    text = f"image {row.image:,}"  # type: ignore[attr-defined]
    return ExampleImage(data_uri(pixels), f"{text}: {factors}" if factors else text)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Pixels `[channel, row, column]`, one channel (grey) or three (RGB), as a PNG data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Write a PNG (ISO/IEC 15948): eight bits a channel, no filter, no interlacing.

    Args:
        pixels: `[channel, row, column]`, one channel (grey) or three (RGB).

    Raises:
        ValueError: another number of channels.
    """
    channels, height, width = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"an image has {channels} channels; allowed: 1, 3")
    colour_type = 0 if channels == 1 else 2
    rows = pixels.transpose(1, 2, 0).reshape(height, width * channels)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
