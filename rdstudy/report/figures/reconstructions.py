"""Reconstructions of test images along β, with the hard example first (paper, Figure 3).

A page shows them as strips of pictures (`rdstudy.report.strips`); the chart, by itself, has the same ones. Pixels are
uint8, channel by channel, row by row. Distances are ℓ2 of pixel values in [0, 1].
"""

import math
from collections.abc import Iterator
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from rdstudy.findings.evidence import LEVEL
from rdstudy.report import theme
from rdstudy.report.experiment import ExperimentTables
from rdstudy.report.figure import FigureKind
from rdstudy.report.pictures import Album
from rdstudy.report.strips import SHAPE, Strip, strip_table

_SPLIT = ["dataset", "split", "study_seed"]
_IDENTITY = ["member_id", "cell", "panel", *_SPLIT, "beta", "seed"]
_MADE = ["member_id", "image", "hard", *SHAPE, "pixels", "optimal_pixels"]
_DISTANCES = ["nearest_image", "nearest_distance", "own_distance", "control_distance"]

MOST_PICTURES = 1_200
"""On a page at most, which its experiments share: some 1 MB of it."""

_SIDE, _STEP = 64, 76  # of a picture, and from one to the next, in CSS pixels


def table(experiment: ExperimentTables) -> pd.DataFrame:
    """What is shown: one row per cell × test image × β, of the member with the lowest seed that is stored.

    Returns:
        `cell, panel, dataset, split, study_seed, image, hard, beta, seed, member_id`, the reconstruction (`channels,
        height, width, pixels, optimal_pixels, nearest_image, nearest_distance, own_distance, control_distance`), what
        is said of it, `mark`: "copied" where it is nearer to some training image than to its own and to every control
        (as many images that were never trained on), "blurred" where it is nearer to some training image than to its
        own but not than to every control, else ""; `elsewhere`: whether a training image or a control is nearer than
        its own; and of the test image, null where they are not stored, `test_pixels, test_nearest_image,
        test_nearest_pixels, test_distance`. By cell, the hard image first, then β.
    """
    stored, neighbours = experiment.study.reconstructions, experiment.study.neighbours
    table = experiment.planned[_IDENTITY].merge(stored[[*_MADE, *_DISTANCES]], on="member_id")
    table = table.sort_values("seed", kind="stable").drop_duplicates(["cell", "image", "beta"])
    table["hard"] = table["hard"].astype("boolean").fillna(value=False).astype(bool)
    near, own, control = (table[name].astype(float) for name in _DISTANCES[1:])
    table["mark"] = np.where((near < own) & control.notna(), np.where(near < control, "copied", "blurred"), "")
    table["elsewhere"] = (np.minimum(near, control) < own) & control.notna()
    shown = neighbours.loc[
        neighbours["pixels"].notna(), [*_SPLIT, "image", "pixels", "nearest_image", "nearest_pixels", "distance"]
    ]
    names = {"pixels": "test_pixels", "distance": "test_distance"}
    names |= {"nearest_image": "test_nearest_image", "nearest_pixels": "test_nearest_pixels"}
    table = table.merge(shown.rename(columns=names), on=[*_SPLIT, "image"], how="left")
    order, ascending = ["cell", "hard", "image", "beta"], [True, False, True, True]
    return table.sort_values(order, ascending=ascending, kind="stable").reset_index(drop=True)


def note(_: ExperimentTables, table: pd.DataFrame) -> str:
    """What the strips show, and what the frames mean."""
    seeds = sorted(table["seed"].unique())
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else "the lowest seed that is stored (the tooltip names it)"
    words = (
        "The hard example is the test image at the 90th percentile of the distance to the nearest training image; "
        f"beside it, that image. Along β, what the decoder makes of the posterior's mean, of the models with {seed}. "
    )
    if table["optimal_pixels"].notna().any():
        words += "Below, what the infinite-capacity decoder makes of the same code: a mixture of training images. "
    return words + _marks_note(table)


def _marks_note(table: pd.DataFrame) -> str:
    """What the frames mean, how many there are, and how many there would be by chance."""
    known = table[table["control_distance"].notna()]
    unknown = len(table) - len(known)
    if known.empty:
        return "Nothing is framed as a copy: distances to images that were never trained on are not stored."
    copied, blurred = (int((known["mark"] == mark).sum()) for mark in ("copied", "blurred"))
    elsewhere = int(known["elsewhere"].sum())
    words = (
        "Framed, “copied”: nearer (ℓ2) to a training image than to its own image and than to every one of as many "
        f"images never trained on; {copied:,} of {len(known):,} stored reconstructions are. Dashed, “blurred”: nearer "
        f"to a training image than to its own, but an image never trained on is as near; {blurred:,} are. "
        f"{_baseline(copied, elsewhere)}"
    )
    if unknown:
        words += f" No frame for {unknown:,} others: their distances to images never trained on are not stored."
    return words


def _baseline(copied: int, elsewhere: int) -> str:
    """How many frames blur alone would give, and what cannot be said of it."""
    least, most = _by_chance(elsewhere)
    than = "more than that" if copied > most else "fewer than that" if copied < least else "no more and no fewer"
    return (
        "A frame by itself is no evidence of a copy: a blurred picture is near to many images, and the nearest of two "
        "equally large sets is as often in the one as in the other. Chance: of reconstructions that copy nothing, half "
        f"of those nearer to another image than to their own would be framed, here half of {elsewhere:,}, {least:,} to "
        f"{most:,} in {100 * LEVEL:g} of 100 such pages were they independent; there are {copied:,}, {than}. How often "
        "the test image itself, blurred as much as its reconstruction, would be nearer to a training image is not "
        "known: of the training images a page has only those that it shows."
    )


def _by_chance(many: int) -> tuple[int, int]:
    """The central interval at `LEVEL` of the number of heads of so many fair coins."""
    below, least = 0, 0
    while (below := below + math.comb(many, least)) <= (1 - LEVEL) / 2 * 2**many:
        least += 1
    return least, many - least


def chart(_: ExperimentTables, table: pd.DataFrame) -> theme.Spec:
    """A row of pictures a strip: the test image, the training image nearest to it, and reconstructions along β."""
    album, sets = Album(), theme.Datasets()
    strips = strip_table(table, album, pictures=MOST_PICTURES)
    heads = ["test image", "nearest", *(f"β = {beta}" for beta in strips.betas)]
    rows = [row for strip in (*strips.hard, *strips.usual) for row in _rows(strip, heads, album)]
    pictures = pd.DataFrame(rows)
    names = list(dict.fromkeys(pictures["strip"]))
    head_axis = alt.Axis(title=None, orient="top", labelAngle=0, labelLimit=_STEP, domain=False, ticks=False)
    base = theme.chart_of("pictures").encode(
        x=alt.X("head:N", sort=heads, scale=alt.Scale(domain=heads), axis=head_axis),
        y=alt.Y("strip:N", sort=names, axis=alt.Axis(title=None, labelLimit=420, domain=False, ticks=False)),
        tooltip=alt.Tooltip("text:N", title=" "),
    )
    images = base.mark_image(clip=True, width=_SIDE, height=_SIDE).encode(url=alt.Url("source:N"))
    marks = base.mark_text(clip=True, dy=_SIDE // 2 + 6, fontSize=10, color=theme.INK).encode(text=alt.Text("mark:N"))
    panel = theme.template(images, marks, width=_STEP * len(heads), height=(_STEP + 8) * len(names))
    return theme.finish(theme.fill(panel, {"pictures": sets.add(pictures)}), sets)


def _rows(strip: Strip, heads: list[str], album: Album) -> Iterator[dict[str, Any]]:
    """One row a picture: where it stands, its source and what is said of it."""
    name = f"{strip.panel}, {strip.image}"
    lines = {name: (strip.own, strip.nearest, *strip.reconstructions)}
    if strip.optimal:
        lines[f"{name}: infinite-capacity decoder"] = (None, None, *strip.optimal)
    for line, pictures in lines.items():
        for head, picture in zip(heads, pictures, strict=True):
            if picture is not None:
                source = album.sources[picture.key]
                yield {"strip": line, "head": head, "source": source, "text": picture.text, "mark": picture.mark}


ORDER = 210

FIGURE = FigureKind(
    name="reconstructions",
    title="Reconstructions of test images",
    needs="the measure reconstructions",
    table=table,
    chart=chart,
    note=note,
)
