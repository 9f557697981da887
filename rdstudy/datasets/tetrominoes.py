"""Tetrominoes: 163,840 simulated colour images of one J-shaped tetromino (paper, 4.1).

Five factors, all held in the unit cube: rotation, hue, scale, x, y. The cube is cut into 16 x 8 x 5 x 16 x 16
strata with one uniform sample in each. A pixel's value is the exact area of it that the shape covers. Axis order:
`image, channel, row, column` for images and `image, factor` for factors.

This module knows nothing of files: `rdstudy.datasets.cache` keeps what it generates.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rdstudy.study.seeds import derive_seed

Positions = Literal["adaptive", "fixed"]

SIDE = 32
"""Height and width of an image, in pixels."""

FACTORS = ("rotation", "hue", "scale", "x", "y")
STRATA = (16, 8, 5, 16, 16)
"""Number of strata along each factor; their product is the number of images."""

ROTATION_DEGREES = (0.0, 360.0)
HUE = (0.0, 0.875)
SCALE_PIXELS = (2.0, 5.0)
FIXED_POSITION_PIXELS = (8.0, 23.0)
"""The range of x and y in the authors' first published generator."""

# Corners of the J in squares, y downwards, origin in the middle of its 2 x 3 box: a column and a foot to its left.
CORNERS = np.array([(0.0, -1.5), (1.0, -1.5), (1.0, 1.5), (-1.0, 1.5), (-1.0, 0.5), (0.0, 0.5)])

# An edge flatter than this is tilted to it, so that nothing divides by zero: the area of a pixel is right to 2e-6.
_FLATTEST_SLOPE = 1e-8
_CHUNK = 512  # images rasterized at once: the work arrays stay in a core's cache


@dataclass(frozen=True)
class Shapes:
    """Where each shape lies: the factors in their own units, one entry an image."""

    rotation_degrees: NDArray[np.float64]  # [image], in [0, 360)
    hue: NDArray[np.float64]  # [image], in [0, 0.875]
    scale_pixels: NDArray[np.float64]  # [image], edge of one square, in [2, 5]
    x_pixels: NDArray[np.float64]  # [image], column of the origin
    y_pixels: NDArray[np.float64]  # [image], row of the origin


def sample_factors(seed: int) -> NDArray[np.float64]:
    """Draw the stratified sample: one uniform point in each of the 163,840 strata of the unit cube.

    Returns `[image, factor]` in [0, 1), in the order of `FACTORS`, the last factor varying fastest.
    """
    rng = np.random.default_rng(derive_seed(seed, "tetrominoes factors"))
    cells = np.indices(STRATA).reshape(len(STRATA), -1).T
    return np.asarray((cells + rng.random(cells.shape)) / np.array(STRATA))


def shapes_from_factors(factors: NDArray[np.float64], positions: Positions) -> Shapes:
    """Map factors `[image, factor]` in the unit cube to their own units.

    With `positions="adaptive"` (the paper) x and y cover all places where no part of the shape leaves the image;
    with `"fixed"` they cover `FIXED_POSITION_PIXELS` whatever the rotation and scale.
    """
    rotation, hue, scale, x, y = factors.T
    rotation_degrees = _stretch(rotation, ROTATION_DEGREES)
    scale_pixels = _stretch(scale, SCALE_PIXELS)
    if positions == "fixed":
        x_pixels, y_pixels = _stretch(x, FIXED_POSITION_PIXELS), _stretch(y, FIXED_POSITION_PIXELS)
    else:
        corners = _rotated_corners(rotation_degrees, scale_pixels)
        low, high = -0.5 - corners.min(axis=1), SIDE - 0.5 - corners.max(axis=1)
        x_pixels, y_pixels = (low + factors[:, 3:] * (high - low)).T
    return Shapes(rotation_degrees, _stretch(hue, HUE), scale_pixels, x_pixels, y_pixels)


def render(shapes: Shapes, out: NDArray[np.uint8], *, threads: int = 2) -> None:
    """Draw every shape into `out`, uint8 `[image, channel, row, column]`, which must be zero.

    Shapes of like size are drawn together, in windows that just hold them, so that little is spent on background.
    """
    by_scale = np.argsort(shapes.scale_pixels, kind="stable")
    chunks = [by_scale[start : start + _CHUNK] for start in range(0, len(by_scale), _CHUNK)]
    with ThreadPoolExecutor(threads) as pool:  # NumPy lets go of the interpreter lock in its loops
        for _ in pool.map(lambda chunk: _render_chunk(shapes, chunk, out), chunks):
            pass


def colours(hue: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB `[image, channel]` of HSV(hue, 1, 1)."""
    sector = hue[:, None] * 6.0
    return np.asarray(np.clip(np.abs((sector + np.array([0.0, 4.0, 2.0])) % 6.0 - 3.0) - 1.0, 0.0, 1.0))


def coverage(corners: NDArray[np.float64], origin: NDArray[np.int64], window: int) -> NDArray[np.float64]:
    """Exact area of each pixel that a polygon covers.

    Green's theorem: the covered area of pixel (r, c) is a signed sum over edges of the integral over
    x in [c, c+1] of clip(y_edge(x) - r, 0, 1), and the inner integral is a closed form.

    Args:
        corners: `[image, corner, 2]`, x and y in pixels, in order around the polygon.
        origin: `[image, 2]`, column and row of the window's first pixel.
        window: height and width of the window, in pixels.

    Returns:
        `[image, row, column]` in [0, 1].
    """
    total = np.zeros((len(corners), window, window + 1))
    lines = np.arange(window + 1.0)
    local = corners - origin[:, None, :]
    for edge in range(corners.shape[1]):
        start, end = local[:, edge], local[:, (edge + 1) % corners.shape[1]]
        run, rise = (end - start).T
        # A vertical edge bounds no area to integrate over x: its two ends clip to the same place.
        slope = rise / np.where(run == 0.0, 1.0, run)
        slope = np.where(np.abs(slope) < _FLATTEST_SLOPE, _FLATTEST_SLOPE, slope)
        left, right = np.minimum(start[:, 0], end[:, 0]), np.maximum(start[:, 0], end[:, 0])
        x = np.clip(lines, left[:, None], right[:, None])
        y = start[:, 1:] + slope[:, None] * (x - start[:, :1])
        depth = y[:, None, :] - lines[None, :window, None]
        inside = np.clip(depth, 0.0, 1.0)
        # The antiderivative of clip(t, 0, 1) is u (t - u / 2) with u = clip(t, 0, 1).
        depth -= 0.5 * inside
        depth *= inside
        weight = np.where(run == 0.0, 0.0, np.sign(run) / slope)
        depth *= weight[:, None, None]
        total += depth
    return np.clip(np.abs(np.diff(total, axis=2)), 0.0, 1.0)


def _render_chunk(shapes: Shapes, chunk: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    corners = _rotated_corners(shapes.rotation_degrees[chunk], shapes.scale_pixels[chunk])
    corners += np.stack([shapes.x_pixels[chunk], shapes.y_pixels[chunk]], axis=1)[:, None, :] + 0.5
    low = np.floor(corners.min(axis=1)).astype(np.int64)
    high = np.ceil(corners.max(axis=1)).astype(np.int64)
    window = min(SIDE, int((high - low).max()))
    origin = np.clip(low, 0, SIDE - window)
    area = coverage(corners, origin, window)
    pixels = 255.0 * area[:, None] * colours(shapes.hue[chunk])[:, :, None, None]
    rows = origin[:, 1, None] + np.arange(window)
    columns = origin[:, 0, None] + np.arange(window)
    values = np.rint(pixels, out=pixels).astype(np.uint8)
    image = chunk[:, None, None, None]
    channel = np.arange(3)[None, :, None, None]
    out[image, channel, rows[:, None, :, None], columns[:, None, None, :]] = values


def _rotated_corners(rotation_degrees: NDArray[np.float64], scale_pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Corners `[image, corner, 2]` about the origin, in pixels: (p, q) to scale (p cos + q sin, -p sin + q cos)."""
    angle = np.deg2rad(rotation_degrees)[:, None]
    p, q = CORNERS.T
    x = p * np.cos(angle) + q * np.sin(angle)
    y = -p * np.sin(angle) + q * np.cos(angle)
    return np.asarray(scale_pixels[:, None, None] * np.stack([x, y], axis=2))


def _stretch(unit: NDArray[np.float64], ends: tuple[float, float]) -> NDArray[np.float64]:
    return ends[0] + unit * (ends[1] - ends[0])
