"""Reconstructions of test images, one strip of small pictures per cell and image, along β (paper, Figure 3).

`reconstruction_table` says what is shown, tidy; `strip_table` makes the pictures of it, within a bound. Pixels are
uint8, channel by channel, row by row. Distances are ℓ2 of pixel values in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report.illustrations import data_uri

_SPLIT = ["dataset", "split", "study_seed"]
_SHAPE = ["channels", "height", "width"]
_IDENTITY = ["member_id", "cell", "panel", *_SPLIT, "beta", "seed"]
_MADE = ["member_id", "image", "hard", *_SHAPE, "pixels", "optimal_pixels"]
_DISTANCES = ["nearest_image", "nearest_distance", "own_distance", "control_distance"]


@dataclass(frozen=True)
class Picture:
    """One image of a strip: where `Album.sources` keeps it, and what a reader without eyes for it is told."""

    key: str
    text: str
    mark: str = ""  # "copied" or "blurred", of a reconstruction that is nearer to a training image than to its own


@dataclass
class Album:
    """The pictures of a page, each stored once however often it is shown; fills as strips are made."""

    sources: dict[str, str] = field(default_factory=dict)  # key -> PNG data URI
    _keys: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def add(self, pixels: bytes, shape: tuple[int, int, int]) -> str:
        """Keep an image `[channel, row, column]`; returns its key, that of an identical one where there is one."""
        if (pixels, shape) not in self._keys:
            key = f"p{len(self.sources)}"
            self._keys[pixels, shape] = key
            self.sources[key] = data_uri(np.frombuffer(pixels, np.uint8).reshape(shape))
        return self._keys[pixels, shape]


@dataclass(frozen=True)
class Strip:
    """One test image in one cell; pictures along β are None where no member is stored."""

    panel: str
    image: str
    own: Picture | None  # the test image itself
    nearest: Picture | None  # the training image nearest to it
    reconstructions: tuple[Picture | None, ...]
    optimal: tuple[Picture | None, ...]  # of the infinite-capacity decoder; empty where it has no answers


@dataclass(frozen=True)
class StripTable:
    """The strips of an experiment: columns are `betas`, ascending. `others` are of images that are not hard."""

    betas: tuple[str, ...]
    hard: tuple[Strip, ...]
    others: tuple[Strip, ...]
    note: str


def reconstruction_table(
    planned: pd.DataFrame, reconstructions: pd.DataFrame, neighbours: pd.DataFrame
) -> pd.DataFrame:
    """What is shown: one row per cell × test image × β, of the member with the lowest seed that is stored.

    Args:
        planned: one row per member, with `cell` and `panel` (`cells.with_cells`).
        reconstructions: rows of `schema.RECONSTRUCTIONS`.
        neighbours: rows of `schema.NEIGHBOURS`.

    Returns:
        `cell, panel, dataset, split, study_seed, image, hard, beta, seed, member_id`, the reconstruction (`channels,
        height, width, pixels, optimal_pixels, nearest_image, nearest_distance, own_distance, control_distance`), what
        is said of it, `mark`: "copied" where it is nearer to some training image than to its own and to every control
        (as many images that were never trained on), "blurred" where it is nearer to some training image than to its
        own but not than to every control, else ""; `elsewhere`: whether a training image or a control is nearer than
        its own; and of the test image, null where they are not stored, `test_pixels, test_nearest_image,
        test_nearest_pixels, test_distance`. By cell, the hard image first, then β.
    """
    table = planned[_IDENTITY].merge(reconstructions[[*_MADE, *_DISTANCES]], on="member_id")
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


def strip_table(table: pd.DataFrame, album: Album, *, pictures: int) -> StripTable | None:
    """The strips of an experiment: first the hard image of every cell, then other images while there is room.

    Args:
        table: of `reconstruction_table`.
        album: where the pictures go.
        pictures: how many may be shown, about; one strip at least.

    Returns:
        None where nothing is stored.
    """
    if table.empty:
        return None
    betas = sorted(table["beta"].unique())
    keys = table.drop_duplicates(["cell", "image"])[["cell", "image", "hard"]]
    room = max(1, pictures // (2 + (1 + int(table["optimal_pixels"].notna().any())) * len(betas)))
    hard = _spread(keys[keys["hard"]], room)
    others = _spread(keys[~keys["hard"]], max(room - len(hard), 0 if len(hard) else 1))
    groups = dict(list(table.groupby(["cell", "image"], sort=False)))
    made = [
        tuple(
            _strip(groups[cell, image], betas, album) for cell, image in zip(some["cell"], some["image"], strict=True)
        )
        for some in (hard, others)
    ]
    left_out = _left_out(keys, shown_hard=len(hard), shown_others=len(others))
    return StripTable(tuple(f"{beta:g}" for beta in betas), made[0], made[1], _note(table) + left_out)


def _spread(keys: pd.DataFrame, room: int) -> pd.DataFrame:
    """At most so many rows, evenly over all of them: no data set or split is left out for being last."""
    return keys.iloc[np.unique(np.linspace(0, len(keys) - 1, min(room, len(keys))).round().astype(int))]


def _note(table: pd.DataFrame) -> str:
    seeds = sorted(table["seed"].unique())
    seed = f"seed {seeds[0]}" if len(seeds) == 1 else "the lowest seed that is stored (the tooltip names it)"
    text = (
        "The hard example is the test image at the 90th percentile of the distance to the nearest training image; "
        f"beside it, that image. Along β, what the decoder makes of the posterior's mean, of the models with {seed}. "
    )
    if table["optimal_pixels"].notna().any():
        text += "Below, what the infinite-capacity decoder makes of the same code: a mixture of training images. "
    return text + _marks_note(table)


def _marks_note(table: pd.DataFrame) -> str:
    """What the frames mean, how many there are, and how many there would be by chance."""
    known = table[table["control_distance"].notna()]
    unknown = len(table) - len(known)
    if known.empty:
        return "Nothing is framed as a copy: distances to images that were never trained on are not stored."
    copied, blurred = (int((known["mark"] == mark).sum()) for mark in ("copied", "blurred"))
    elsewhere = int(known["elsewhere"].sum())
    text = (
        "Framed, “copied”: nearer (ℓ2) to a training image than to its own image and than to every one of as many "
        f"images never trained on; {copied:,} of {len(known):,} stored reconstructions are. Dashed, “blurred”: nearer "
        f"to a training image than to its own, but an image never trained on is as near; {blurred:,} are. Chance: of "
        "reconstructions that copy nothing, half of those nearer to another image than to their own would be framed, "
        f"here half of {elsewhere:,}."
    )
    if unknown:
        text += f" No frame for {unknown:,} others: their distances to images never trained on are not stored."
    return text


def _left_out(keys: pd.DataFrame, *, shown_hard: int, shown_others: int) -> str:
    """A sentence about what the page has no room for; empty where it has."""
    hard, others = int(keys["hard"].sum()), int((~keys["hard"]).sum())
    parts = []
    if shown_hard < hard:
        parts.append(f"the hard example in {hard - shown_hard:,} of {hard:,} cells")
    if shown_others < others:
        parts.append(f"{others - shown_others:,} of {others:,} strips of other test images")
    return f" Left out to keep the page light: {' and '.join(parts)}." if parts else ""


def _strip(rows: pd.DataFrame, betas: Sequence[float], album: Album) -> Strip:
    """The rows of one cell and image -> its strip."""
    by_beta: dict[float, dict[str, Any]] = {row["beta"]: row for row in _plain_rows(rows)}
    first = next(iter(by_beta.values()))
    found = [by_beta.get(beta) for beta in betas]
    own_text = f"test image {first['image']:,}" + (", the hard example" if first["hard"] else "")
    near_text = "its nearest training image"
    if first["test_nearest_image"] is not None:
        near_text = f"its nearest training image, {first['test_nearest_image']:,.0f}, ℓ2 {first['test_distance']:.3g}"
    optimal = tuple(_optimal(album, row) for row in found)
    return Strip(
        panel=first["panel"],
        image=f"image {first['image']:,}",
        own=_picture(album, first, "test_pixels", own_text),
        nearest=_picture(album, first, "test_nearest_pixels", near_text),
        reconstructions=tuple(_reconstruction(album, row) for row in found),
        optimal=optimal if any(optimal) else (),
    )


def _plain_rows(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows with None for what is null."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in rows.to_dict("records")
    ]


def _reconstruction(album: Album, row: Mapping[str, Any] | None) -> Picture | None:
    if row is None:
        return None
    text = f"reconstruction at β = {row['beta']:g}, seed {row['seed']}"
    if row["own_distance"] is not None and row["nearest_distance"] is not None:
        text += f": ℓ2 {row['own_distance']:.3g} to its own image, {row['nearest_distance']:.3g} to training image "
        text += f"{row['nearest_image']:,.0f}"
        if row["control_distance"] is not None:
            text += f", {row['control_distance']:.3g} to the nearest image never trained on"
        text += {"copied": ": copied", "blurred": ": blurred, no copy"}.get(row["mark"], "")
    return _picture(album, row, "pixels", text, mark=row["mark"])


def _optimal(album: Album, row: Mapping[str, Any] | None) -> Picture | None:
    text = "" if row is None else f"infinite-capacity decoder at β = {row['beta']:g}, seed {row['seed']}"
    return None if row is None else _picture(album, row, "optimal_pixels", text)


def _picture(album: Album, row: Mapping[str, Any], column: str, text: str, *, mark: str = "") -> Picture | None:
    if row[column] is None:
        return None
    channels, height, width = (int(row[name]) for name in _SHAPE)
    return Picture(album.add(row[column], (channels, height, width)), text, mark)
