"""Where words go in a panel: on no line, point or other words, and never outside. Pixels are CSS pixels.

A position is [x, y] in pixels from the upper left corner of a panel. Knows no table of results.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import altair as alt
import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]  # [position, (x, y)]
Box = tuple[float, float, float, float]  # left, top, right, bottom

_LETTER = 0.58  # of the height of a letter, its width, on average
_STEP = 2.0  # pixels between the points by which a line is felt
_MARGIN = 2.0  # pixels around words
_CLEARLY = 1.15  # times as far from other points as from the own one
_RADII, _DIRECTIONS = (9, 15, 22, 32, 46, 64), 16


def along(line: Positions, curve: NDArray[np.int64] | None = None) -> Positions:
    """Points every few pixels along a line through these positions, those that are not finite left out.

    Args:
        line: positions in the order of the line.
        curve: [position], which of several lines each is on; None where there is one.
    """
    known = np.isfinite(line).all(axis=1)
    line, curve = line[known], np.zeros(known.sum(), np.int64) if curve is None else curve[known]
    order = np.argsort(curve, kind="stable")
    line, joined = line[order], np.diff(curve[order]) == 0
    return np.concatenate([line, between(line[:-1][joined], line[1:][joined])])


def between(starts: Positions, ends: Positions) -> Positions:
    """Points every few pixels from each of these positions to the end beside it; none where one is not finite."""
    known = np.isfinite(starts).all(axis=1) & np.isfinite(ends).all(axis=1)
    starts, ends = starts[known], ends[known]
    counts = np.ceil(np.linalg.norm(ends - starts, axis=1) / _STEP).astype(int) + 1
    segment = np.repeat(np.arange(len(starts)), counts)
    number = np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)
    shares = number / np.maximum(counts - 1, 1)[segment]
    made: Positions = starts[segment] + (ends - starts)[segment] * shares[:, None]
    return made


def size_of(words: str, *, font: float) -> tuple[float, float]:
    """Width and height of words, about."""
    return _LETTER * font * len(words), 1.2 * font


@dataclass
class Panel:
    """What stands in a panel, and so where words may not.

    Attributes:
        width: of the panel.
        height: of it.
        taken: positions of what is drawn.
        boxes: of words that are there.
    """

    width: float
    height: float
    taken: Positions
    boxes: list[Box] = field(default_factory=list)

    def place(self, words: str, centres: Iterable[tuple[float, float]], *, font: float) -> tuple[float, float] | None:
        """The first of these centres at which words hide nothing, taken from then on; None where there is none."""
        half_width, half_height = (side / 2 + _MARGIN for side in size_of(words, font=font))
        for x, y in centres:
            box = (x - half_width, y - half_height, x + half_width, y + half_height)
            if self.is_free(box):
                self.boxes.append(box)
                return x, y
        return None

    def is_free(self, box: Box) -> bool:
        """Whether nothing is in a box, which is inside the panel."""
        left, top, right, bottom = box
        if left < 0 or top < 0 or right > self.width or bottom > self.height:
            return False
        x, y = self.taken.T
        if ((x > left) & (x < right) & (y > top) & (y < bottom)).any():
            return False
        return not any(
            left < other[2] and other[0] < right and top < other[3] and other[1] < bottom for other in self.boxes
        )


def around(
    points: Positions, own: int, words: str, *, font: float, radii: Sequence[float] = _RADII
) -> Iterable[tuple[float, float]]:
    """Centres of words beside one of these points, clearly nearer to it than to the others; above before below."""
    half = np.array(size_of(words, font=font)) / 2
    turns = sorted(range(_DIRECTIONS), key=lambda turn: min(turn, _DIRECTIONS - turn))
    for radius in radii:
        for turn in turns:
            angle = 2 * math.pi * turn / _DIRECTIONS
            centre = points[own] + np.array([math.sin(angle), -math.cos(angle)]) * (radius + half)
            away = np.linalg.norm(np.maximum(np.abs(points - centre) - half, 0.0), axis=1)
            if (np.delete(away, own) > _CLEARLY * away[own]).all():
                yield float(centre[0]), float(centre[1])


def beside_line(y: float, words: str, *, width: float, font: float) -> Iterable[tuple[float, float]]:
    """Centres of words just above a horizontal line or below it, from its right end to its left."""
    half_width, half_height = (side / 2 for side in size_of(words, font=font))
    for away, side in ((4, -1), (4, 1), (16, -1), (16, 1), (28, -1), (28, 1)):
        for x in np.arange(width - half_width - 4, half_width + 4, -12.0):
            yield float(x), y + side * (half_height + away)


def text(role: alt.Chart, *, font: float, color: str, weight: Literal[400, 600] = 400) -> alt.Chart:
    """Words of the rows of a role, `text`, centred at `text_x` and `text_y` of the panel."""
    at_x, at_y = alt.ExprRef("datum.text_x"), alt.ExprRef("datum.text_y")
    mark = role.mark_text(
        clip=True, x=at_x, y=at_y, align="center", baseline="middle", fontSize=font, fontWeight=weight, color=color
    )
    chart: alt.Chart = mark.encode(text=alt.Text("text:N"))
    return chart
