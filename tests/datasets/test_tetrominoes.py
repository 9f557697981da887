"""Laws of the Tetrominoes: the strata, where the shape lies, and that a pixel holds the area that is covered.

The slow reference clips the two rectangles of the shape with one pixel after the other.
"""

import colorsys
import dataclasses
import hashlib
import math
from typing import get_args

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rdstudy.datasets import tetrominoes
from rdstudy.datasets.tetrominoes import FACTORS, SIDE, STRATA, Shapes, render, sample_factors, shapes_from_factors

COLUMN = [(0.0, -1.5), (1.0, -1.5), (1.0, 1.5), (0.0, 1.5)]
FOOT = [(-1.0, 0.5), (0.0, 0.5), (0.0, 1.5), (-1.0, 1.5)]
OUTLINE = [(0.0, -1.5), (1.0, -1.5), (1.0, 1.5), (-1.0, 1.5), (-1.0, 0.5), (0.0, 0.5)]

SPECIAL_DEGREES = [
    base + tilt
    for base in (0.0, 45.0, 90.0, 180.0, 270.0)
    for tilt in (0.0, 1e-13, 1e-9, -1e-9, 1e-7, 5.7e-7, 1e-6, -1e-5, 1e-3)
]

STRAIGHT_EDGE_ERROR = 5e-6
"""In pixels: an edge flatter than 1e-8 is tilted to it, and its area is a difference of numbers 1e8 times as large."""


def place(points, degrees, scale, x, y):
    """Where points of the shape land in the image: the formula of the design, in plain Python."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return [(scale * (p * cos + q * sin) + x + 0.5, scale * (-p * sin + q * cos) + y + 0.5) for p, q in points]


def clip_to_half_plane(polygon, inside, cross):
    """Sutherland and Hodgman, one edge: what of a convex polygon lies where `inside` says."""
    kept = []
    for at, point in enumerate(polygon):
        before = polygon[at - 1]
        if inside(point) != inside(before):
            kept.append(cross(before, point))
        if inside(point):
            kept.append(point)
    return kept


def clip_to_pixel(polygon, column, row):
    for axis, line, sign in ((0, column, 1), (0, column + 1, -1), (1, row, 1), (1, row + 1, -1)):

        def inside(point, axis=axis, line=line, sign=sign):
            return sign * (point[axis] - line) >= 0

        def cross(start, end, axis=axis, line=line):
            share = (line - start[axis]) / (end[axis] - start[axis])
            point = [start[at] + share * (end[at] - start[at]) for at in (0, 1)]
            point[axis] = line
            return tuple(point)

        polygon = clip_to_half_plane(polygon, inside, cross)
        if not polygon:
            break
    return polygon


def shoelace(polygon):
    return abs(sum(x * polygon[at - 1][1] - polygon[at - 1][0] * y for at, (x, y) in enumerate(polygon))) / 2


def slow_coverage(degrees, scale, x, y, *, rows, columns):
    """Area of each pixel that the shape covers, `[row, column]`."""
    area = np.zeros((len(rows), len(columns)))
    for rectangle in (COLUMN, FOOT):
        corners = place(rectangle, degrees, scale, x, y)
        low, high = (tuple(choose(axis) for axis in zip(*corners, strict=True)) for choose in (min, max))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                if column + 1 > low[0] and column < high[0] and row + 1 > low[1] and row < high[1]:
                    area[i, j] += shoelace(clip_to_pixel(corners, column, row))
    return area


def fast_coverage(degrees, scale, x, y, *, first_column=0, first_row=0, window=SIDE):
    corners = np.array([place(OUTLINE, degrees, scale, x, y)])
    return tetrominoes.coverage(corners, np.array([[first_column, first_row]]), window)[0]


def shapes(rows) -> Shapes:
    """Shapes from rows of (rotation, hue, scale, x, y)."""
    return Shapes(*np.array(rows, float).reshape(-1, len(FACTORS)).T)


def draw(drawn: Shapes, **settings) -> np.ndarray:
    out = np.zeros((len(drawn.hue), 3, SIDE, SIDE), np.uint8)
    render(drawn, out, **settings)
    return out


def picture(text):
    return np.array([[character == "#" for character in line] for line in text.split()])


def random_shapes(count, positions="adaptive", seed=3) -> Shapes:
    return shapes_from_factors(np.random.default_rng(seed).random((count, len(FACTORS))), positions)


# --- the sample ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def factors():
    return sample_factors(0)


def test_there_is_one_sample_in_each_stratum(factors):
    assert STRATA == (16, 8, 5, 16, 16)
    assert factors.shape == (163_840, 5)
    strata = np.floor(factors * np.array(STRATA)).astype(int)
    number = np.ravel_multi_index(tuple(strata.T), STRATA)
    assert np.array_equal(number, np.arange(163_840))


def test_a_sample_is_uniform_within_its_stratum(factors):
    within = factors * np.array(STRATA) % 1.0
    assert within.min() < 1e-4
    assert within.max() > 1 - 1e-4
    assert np.abs(within.mean(axis=0) - 0.5).max() < 5 * math.sqrt(1 / 12 / len(within))
    assert np.abs(np.corrcoef(within.T) - np.eye(5)).max() < 5 / math.sqrt(len(within))


def test_the_sample_is_a_function_of_its_seed(factors):
    assert np.array_equal(sample_factors(0), factors)
    assert not (sample_factors(1) == factors).any()


def test_factors_span_the_ranges_of_the_paper(factors):
    assert FACTORS == ("rotation", "hue", "scale", "x", "y")
    ends = shapes_from_factors(np.array([[0.0] * 5, [1.0] * 5]), "fixed")
    assert ends.rotation_degrees.tolist() == [0, 360]
    assert ends.hue.tolist() == [0, 0.875]
    assert ends.scale_pixels.tolist() == [2, 5]
    assert ends.x_pixels.tolist() == ends.y_pixels.tolist() == [8, 23]
    drawn = shapes_from_factors(factors, "fixed")
    for values, low, high in zip(dataclasses.astuple(drawn), (0, 0, 2, 8, 8), (360, 0.875, 5, 23, 23), strict=True):
        assert low <= values.min() < low + 0.001 * (high - low)
        assert high - 0.001 * (high - low) < values.max() < high


def corners_of(drawn: Shapes) -> np.ndarray:
    """Corners of all shapes, `[image, corner, 2]`."""
    angle, (p, q) = np.radians(drawn.rotation_degrees)[:, None], np.array(OUTLINE).T
    x = drawn.scale_pixels[:, None] * (p * np.cos(angle) + q * np.sin(angle)) + drawn.x_pixels[:, None] + 0.5
    y = drawn.scale_pixels[:, None] * (-p * np.sin(angle) + q * np.cos(angle)) + drawn.y_pixels[:, None] + 0.5
    return np.stack([x, y], axis=2)


def test_no_adaptive_shape_leaves_the_image(factors):
    corners = corners_of(shapes_from_factors(factors, "adaptive"))
    assert corners.min() > -1e-9
    assert corners.max() < SIDE + 1e-9


def test_a_fixed_shape_may_leave_the_image(factors):
    corners = corners_of(shapes_from_factors(factors, "fixed"))
    outside = ((corners < 0) | (corners > SIDE)).any(axis=(1, 2))
    assert 0.0005 < outside.mean() < 0.005


@pytest.mark.parametrize(("unit", "edge"), [(0.0, 0.0), (1.0, 32.0)])
def test_adaptive_positions_reach_every_edge_of_the_image(unit, edge):
    drawn = np.random.default_rng(5).random((97, 5))
    drawn[:, 3:] = unit
    corners = corners_of(shapes_from_factors(drawn, "adaptive"))
    reached = corners.min(axis=1) if unit == 0 else corners.max(axis=1)
    assert np.allclose(reached, edge, atol=1e-12)


# --- where the shape lies -----------------------------------------------------------------------------------------

UPRIGHT = picture("""
    ..........
    .....##...
    .....##...
    .....##...
    .....##...
    ...####...
    ...####...
    ..........
""")
QUARTER = picture("""
    ..........
    ..........
    ..######..
    ..######..
    ......##..
    ......##..
    ..........
    ..........
""")


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(0, UPRIGHT), (90, QUARTER), (180, UPRIGHT[::-1, ::-1]), (270, QUARTER[::-1, ::-1]), (360, UPRIGHT)],
)
def test_the_foot_is_at_the_lower_left_and_turns_against_the_clock(degrees, expected):
    """At scale 2 with its origin on the corner between four pixels the shape fills whole pixels."""
    image = draw(shapes([degrees, 0.0, 2.0, 15.5, 14.5]))[0]
    whole = np.zeros((SIDE, SIDE), np.uint8)
    whole[15 - 4 : 15 + 4, 16 - 5 : 16 + 5] = 255 * expected
    assert np.array_equal(image[0], whole)
    assert not image[1:].any()


def test_x_moves_to_the_right_and_y_downwards():
    here, right, down = (draw(shapes([17.0, 0.3, 3.1, x, y]))[0] for x, y in ((11.3, 13.2), (14.3, 13.2), (11.3, 18.2)))
    assert here.any()
    assert np.array_equal(np.roll(here, 3, axis=2), right)
    assert np.array_equal(np.roll(here, 5, axis=1), down)


# --- the area of a pixel that is covered --------------------------------------------------------------------------

degrees = st.sampled_from(SPECIAL_DEGREES) | st.floats(0, 360)
scales = st.sampled_from([2.0, 3.0, 5.0]) | st.floats(2, 5)
# Whole and half numbers lay edges on the lines between pixels.
positions = st.integers(4, 50).map(lambda halves: halves / 2) | st.floats(2, 25)


corners_of_windows = st.tuples(st.integers(-3, 20), st.integers(-3, 20))


@settings(max_examples=67)
@given(st.tuples(degrees, scales, positions, positions), corners_of_windows)
@example((0.0, 2.0, 9.5, 9.5), (0, 0))
@example((90.0 + 1e-9, 5.0, 8.0, 23.0), (0, 0))
@example((30.0, 5.0, 9.0, 9.0), (8, 9))
def test_coverage_is_the_area_that_the_reference_clips(shape, origin):
    (column, row), window = origin, 13
    fast = fast_coverage(*shape, first_column=column, first_row=row, window=window)
    slow = slow_coverage(*shape, rows=range(row, row + window), columns=range(column, column + window))
    assert fast.shape == slow.shape
    assert np.abs(fast - slow).max() < STRAIGHT_EDGE_ERROR


@pytest.mark.parametrize("rotation", SPECIAL_DEGREES)
def test_coverage_of_a_nearly_straight_shape(rotation):
    slow = slow_coverage(rotation, 3.7, 15.2, 14.9, rows=range(SIDE), columns=range(SIDE))
    fast = fast_coverage(rotation, 3.7, 15.2, 14.9)
    assert slow.sum() == pytest.approx(4 * 3.7**2)
    assert np.abs(fast - slow).max() < STRAIGHT_EDGE_ERROR


def test_away_from_straight_edges_coverage_is_exact_to_rounding():
    rng = np.random.default_rng(7)
    for rotation, scale, x, y in zip(
        rng.uniform(1, 89, 23), rng.uniform(2, 5, 23), rng.uniform(2, 28, 23), rng.uniform(2, 28, 23), strict=True
    ):
        slow = slow_coverage(rotation, scale, x, y, rows=range(SIDE), columns=range(SIDE))
        assert np.abs(fast_coverage(rotation, scale, x, y) - slow).max() < 1e-11


@pytest.mark.parametrize(("x", "y"), [(-40.0, 15.0), (70.0, 15.0), (15.0, -40.0), (15.0, 70.0), (-40.0, 70.0)])
@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_a_shape_outside_the_window_covers_nothing(x, y, rotation):
    assert fast_coverage(rotation, 5.0, 15.0, 15.0).max() == pytest.approx(1)
    assert np.abs(fast_coverage(rotation, 5.0, x, y)).max() < STRAIGHT_EDGE_ERROR


def test_coverage_of_several_shapes_is_that_of_each():
    rng = np.random.default_rng(11)
    rows = [(rng.uniform(0, 360), rng.uniform(2, 5), rng.uniform(8, 23), rng.uniform(8, 23)) for _ in range(7)]
    corners, origin = np.array([place(OUTLINE, *row) for row in rows]), rng.integers(0, 13, (7, 2))
    together = tetrominoes.coverage(corners, origin, 17)
    assert together.shape == (7, 17, 17)
    for at, row in enumerate(rows):
        column, first_row = origin[at]
        alone = fast_coverage(*row, first_column=int(column), first_row=int(first_row), window=17)
        assert np.array_equal(together[at], alone)


def test_the_direction_around_the_outline_does_not_matter():
    corners = np.array([place(OUTLINE, 33.0, 4.1, 15.3, 14.2)])
    forwards, backwards = (tetrominoes.coverage(way, np.array([[0, 0]]), SIDE) for way in (corners, corners[:, ::-1]))
    assert forwards == pytest.approx(backwards, abs=1e-12)


def test_an_adaptive_shape_covers_four_squares(factors):
    drawn = shapes_from_factors(factors[::163], "adaptive")
    corners = corners_of(drawn)
    area = tetrominoes.coverage(corners, np.zeros((len(corners), 2), np.int64), SIDE)
    assert area.min() >= 0
    assert area.max() <= 1
    assert np.abs(area.sum(axis=(1, 2)) - 4 * drawn.scale_pixels**2).max() < 1e-9


# --- the image ----------------------------------------------------------------------------------------------------


def slow_image(rotation, hue, scale, x, y):
    """Values before rounding, `[channel, row, column]`."""
    area = slow_coverage(rotation, scale, x, y, rows=range(SIDE), columns=range(SIDE))
    return 255 * np.array(colorsys.hsv_to_rgb(hue, 1, 1))[:, None, None] * area


@pytest.mark.parametrize("kind", ["adaptive", "fixed"])
def test_a_pixel_is_its_colour_times_its_area_rounded_once(kind):
    drawn = random_shapes(31, kind)
    for row, image in zip(np.array(dataclasses.astuple(drawn)).T, draw(drawn), strict=True):
        exact = slow_image(*row)
        assert np.abs(image - exact).max() < 0.5 + 1e-6
        assert (image == np.rint(exact)).mean() > 0.999


@pytest.mark.parametrize(
    ("x", "y"), [(-1.0, 15.0), (32.0, 15.0), (15.0, -1.5), (15.0, 33.0), (0.0, 31.0), (-1.0, -1.0)]
)
@pytest.mark.parametrize("rotation", [0.0, 90.0, 200.0])
def test_what_leaves_the_image_is_cut_off(x, y, rotation):
    """Drawn beside a shape that lies whole inside, whose window is of another size."""
    row = (rotation, 0.4, 4.3, x, y)
    image, beside = draw(shapes([row, (45.0, 0.1, 5.0, 15.0, 15.0)]))
    exact = slow_image(*row)
    assert 0 < exact.sum() < 0.8 * slow_image(rotation, 0.4, 4.3, 15.0, 15.0).sum()
    assert np.abs(image - exact).max() < 0.5 + 1e-3
    assert np.abs(beside - slow_image(45.0, 0.1, 5.0, 15.0, 15.0)).max() < 0.5 + 1e-3


@given(st.floats(0, 1, exclude_max=True))
def test_colours_are_those_of_hsv(hue):
    assert tetrominoes.colours(np.array([hue]))[0] == pytest.approx(colorsys.hsv_to_rgb(hue, 1, 1), abs=1e-12)


def test_every_hue_has_its_row():
    hues = np.linspace(0, 0.875, 97)
    assert tetrominoes.colours(hues) == pytest.approx(np.array([colorsys.hsv_to_rgb(hue, 1, 1) for hue in hues]))


def test_bytes_do_not_depend_on_threads_or_chunks(monkeypatch):
    drawn = random_shapes(1_201)
    expected = draw(drawn)
    for threads in (1, 3, 5):
        assert np.array_equal(draw(drawn, threads=threads), expected)
    for chunk in (7, 97, 5_000):
        monkeypatch.setattr(tetrominoes, "_CHUNK", chunk)
        assert np.array_equal(draw(drawn), expected)


def test_an_image_does_not_depend_on_what_is_drawn_beside_it():
    drawn = random_shapes(211, "fixed")
    together = draw(drawn)
    order = np.random.default_rng(13).permutation(211)
    shuffled = draw(Shapes(*(values[order] for values in dataclasses.astuple(drawn))))
    assert np.array_equal(shuffled, together[order])
    alone = [draw(Shapes(*(values[at : at + 1] for values in dataclasses.astuple(drawn))))[0] for at in range(211)]
    assert np.array_equal(alone, together)


def test_nothing_to_draw_draws_nothing():
    assert draw(shapes([])).shape == (0, 3, SIDE, SIDE)


def test_an_error_in_a_thread_is_not_lost():
    with pytest.raises(IndexError):
        render(random_shapes(7), np.zeros((5, 3, SIDE, SIDE), np.uint8))


def test_these_images_never_change(factors):
    """Other bytes here are another data set: `_TETROMINOES_VERSION` of the registry is to be raised."""
    chosen = factors[[0, 1, 40_960, 81_919, 81_920, 122_881, 163_839]]
    digests = {"adaptive": "44294ec06c18fd2f", "fixed": "6640eca5a36e5331"}
    for positions in get_args(tetrominoes.Positions):
        images = draw(shapes_from_factors(chosen, positions))
        assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == digests[positions], positions
