"""Strips of small pictures along β, one per cell and test image, and sheets of samples, one per cell.

Pixels are uint8, channel by channel, row by row. Distances are ℓ2 of pixel values in [0, 1].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rdstudy.report.pictures import Album, Picture

SHAPE = ["channels", "height", "width"]
"""The columns that say how large a picture is."""


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
    """The strips of an experiment: columns are `betas`, ascending. `usual` are of images that are not hard."""

    betas: tuple[str, ...]
    hard: tuple[Strip, ...]
    usual: tuple[Strip, ...]
    note: str


@dataclass(frozen=True)
class Line:
    """Pictures side by side, with a name."""

    name: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Sheet:
    """Samples from the prior of one model, and its traversals: a line a latent dimension, moved by `moves`."""

    panel: str
    model: str
    prior: Line | None
    moves: tuple[str, ...]
    traversals: tuple[Line, ...]

    @property
    def lines(self) -> tuple[Line, ...]:
        """All lines, in their order."""
        return (*([self.prior] if self.prior else []), *self.traversals)


@dataclass(frozen=True)
class SheetTable:
    """The sheets of an experiment."""

    title: str
    sheets: tuple[Sheet, ...]
    note: str


def sample_sheets(table: pd.DataFrame, album: Album) -> tuple[Sheet, ...]:
    """Sheets of samples and traversals (`figures.samples.table`), one a cell; their pictures go into the album."""
    return tuple(_sheet(rows, album) for _, rows in table.groupby("cell", sort=True))


def _sheet(rows: pd.DataFrame, album: Album) -> Sheet:
    """The rows of one cell -> its sheet."""
    first = rows.iloc[0]
    model = f"β = {first['beta']:g}, seed {first['seed']}"
    drawn, moved = rows[rows["kind"] == "prior"], rows[rows["kind"] == "traversal"]
    samples = tuple(
        _picture(album, row, f"sample {number} from the prior, {model}")
        for number, row in enumerate(drawn.to_dict("records"), start=1)
    )
    traversals = tuple(
        Line(
            f"dimension {number}",
            tuple(
                _picture(album, row, f"latent dimension {number} moved by {row['value']:+.3g} sd, {model}")
                for row in part.to_dict("records")
            ),
        )
        for number, part in moved.groupby(moved["dimension"].astype(int) + 1, sort=True)
    )
    values = moved.sort_values("position")["value"].unique()
    moves = tuple(f"{value:+.3g} sd".replace("-", "−") for value in values)
    return Sheet(first["panel"], model, Line("prior", samples) if samples else None, moves, traversals)


def strip_table(table: pd.DataFrame, album: Album, *, pictures: int, note: str = "") -> StripTable:
    """The strips of an experiment: first the hard image of every cell, then other images while there is room.

    Args:
        table: of `figures.reconstructions.table`, at least one row.
        album: where the pictures go.
        pictures: how many may be shown, about; one strip at least.
        note: what a reader needs; what is left out is added to it.
    """
    betas = sorted(table["beta"].unique())
    keys = table.drop_duplicates(["cell", "image"])[["cell", "image", "hard"]]
    room = max(1, pictures // (2 + (1 + int(table["optimal_pixels"].notna().any())) * len(betas)))
    hard = _spread(keys[keys["hard"]], room)
    further = _spread(keys[~keys["hard"]], max(room - len(hard), 0 if len(hard) else 1))
    groups = dict(list(table.groupby(["cell", "image"], sort=False)))
    made = [
        tuple(
            _strip(groups[cell, image], betas, album) for cell, image in zip(shown["cell"], shown["image"], strict=True)
        )
        for shown in (hard, further)
    ]
    left_out = _left_out(keys, shown_hard=len(hard), shown_usual=len(further))
    return StripTable(tuple(f"{beta:g}" for beta in betas), made[0], made[1], note + left_out)


def _spread(keys: pd.DataFrame, room: int) -> pd.DataFrame:
    """At most so many rows, evenly over all of them: no data set or split is left out for being last."""
    return keys.iloc[np.unique(np.linspace(0, len(keys) - 1, min(room, len(keys))).round().astype(int))]


def _left_out(keys: pd.DataFrame, *, shown_hard: int, shown_usual: int) -> str:
    """A sentence about what the page has no room for; empty where it has."""
    hard, usual = int(keys["hard"].sum()), int((~keys["hard"]).sum())
    parts = []
    if shown_hard < hard:
        parts.append(f"the hard example in {hard - shown_hard:,} of {hard:,} cells")
    if shown_usual < usual:
        parts.append(f"{usual - shown_usual:,} of {usual:,} strips of other test images")
    return f" Left out to keep the page light: {' and '.join(parts)}." if parts else ""


def _strip(rows: pd.DataFrame, betas: Sequence[float], album: Album) -> Strip:
    """The rows of one cell and image -> its strip."""
    by_beta: dict[float, dict[str, Any]] = {row["beta"]: row for row in _plain_rows(rows)}
    first = next(iter(by_beta.values()))
    along = [by_beta.get(beta) for beta in betas]
    own_text = f"test image {first['image']:,}" + (", the hard example" if first["hard"] else "")
    near_text = "its nearest training image"
    if first["test_nearest_image"] is not None:
        near_text = f"its nearest training image, {first['test_nearest_image']:,.0f}, ℓ2 {first['test_distance']:.3g}"
    optimal = tuple(_optimal(album, row) for row in along)
    return Strip(
        panel=first["panel"],
        image=f"image {first['image']:,}",
        own=_stored(album, first, "test_pixels", own_text),
        nearest=_stored(album, first, "test_nearest_pixels", near_text),
        reconstructions=tuple(_reconstruction(album, row) for row in along),
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
        text += {"copied": ": copied, or so by chance", "blurred": ": blurred, no copy"}.get(row["mark"], "")
    return _stored(album, row, "pixels", text, mark=row["mark"])


def _optimal(album: Album, row: Mapping[str, Any] | None) -> Picture | None:
    text = "" if row is None else f"infinite-capacity decoder at β = {row['beta']:g}, seed {row['seed']}"
    return None if row is None else _stored(album, row, "optimal_pixels", text)


def _stored(album: Album, row: Mapping[str, Any], column: str, text: str, *, mark: str = "") -> Picture | None:
    return None if row[column] is None else _picture(album, row, text, column=column, mark=mark)


def _picture(album: Album, row: Mapping[Any, Any], text: str, *, column: str = "pixels", mark: str = "") -> Picture:
    channels, height, width = (int(row[name]) for name in SHAPE)
    return Picture(album.add(row[column], (channels, height, width)), text, mark)
