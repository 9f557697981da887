"""Intervals over seeds and images: closed forms, and how often they hold the truth."""

import math

import numpy as np
import pytest

from rdstudy.findings.student import student_quantile
from rdstudy.report.density import crossed_interval, crossed_intervals

REGIMES = {
    "images": (0.3, 5.0, 1.0),
    "seeds": (2.0, 1.0, 1.0),
    "residuals": (0.0, 0.0, 3.0),
    "both alike": (1.0, 5.5, 1.0),
}
"""Standard deviations of seeds, images and residuals."""


def simulated(rng, regime, *, seeds, images):
    """A table [seed, image] whose true mean is 0."""
    by_seed, by_image, left = REGIMES[regime]
    rows, columns = rng.normal(0, by_seed, (seeds, 1)), rng.normal(0, by_image, (1, images))
    return rows + columns + rng.normal(0, left, (seeds, images))


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("both", [False, True], ids=["one subset", "a difference"])
def test_intervals_hold_the_truth_as_often_as_they_say(regime, seeds, both):
    rng, points = np.random.default_rng([seeds, both]), []
    for _ in range(1_500):
        tables = [simulated(rng, regime, seeds=seeds, images=31)]
        if both:
            tables.append(-simulated(rng, regime, seeds=seeds, images=29))
        points.append(tables)
    intervals = crossed_intervals(points)
    assert sum(interval.low <= 0 <= interval.high for interval in intervals) / len(intervals) >= 0.94


def test_an_interval_over_seeds_alone_would_not():
    rng, hits = np.random.default_rng(7), 0
    for _ in range(500):
        means = simulated(rng, "images", seeds=3, images=31).mean(axis=1)
        hits += abs(means.mean()) <= student_quantile(0.975, 2) * means.std(ddof=1) / math.sqrt(3)
    assert hits / 500 < 0.8


def test_without_images_share_it_is_students_interval_over_seeds():
    means = np.array([1.0, 4.0, 5.5, 2.0, 7.0])
    interval = crossed_interval([np.repeat(means[:, None], 11, axis=1)])
    half = student_quantile(0.975, 4) * means.std(ddof=1) / math.sqrt(5)
    assert (interval.seeds, interval.images) == (5, 11)
    np.testing.assert_allclose(
        [interval.mean, interval.low, interval.high], [means.mean(), means.mean() - half, means.mean() + half]
    )


def test_without_seeds_share_it_is_students_interval_over_images():
    values = np.array([1.0, 4.0, 5.5, 2.0, 7.0])
    for seeds in (1, 2, 3):
        interval = crossed_interval([np.repeat(values[None, :], seeds, axis=0)])
        half = student_quantile(0.975, 4) * values.std(ddof=1) / math.sqrt(5)
        assert interval.high - interval.mean == pytest.approx(half)


def test_seeds_are_paired_over_tables_and_images_are_not():
    rng = np.random.default_rng(5)
    by_seed = rng.normal(0, 9.0, (5, 1))
    tables = [by_seed + rng.normal(0, 1.0, (1, images)) for images in (23, 29)]
    interval = crossed_interval([tables[0], -tables[1]])
    variance = sum(float(table[0].var(ddof=1)) / table.shape[1] for table in tables)
    assert interval.mean == pytest.approx(tables[0].mean() - tables[1].mean())
    assert (interval.high - interval.low) / 2 == pytest.approx(
        student_quantile(0.975, 40) * math.sqrt(variance), rel=0.03
    )


def test_numbers_that_all_agree_have_no_width():
    interval = crossed_interval([np.full((3, 7), 2.5)])
    assert (interval.low, interval.high) == (2.5, 2.5)


@pytest.mark.parametrize("shapes", [[(3, 7), (2, 7)], [(3, 1)]])
def test_tables_that_do_not_fit_are_refused(shapes):
    with pytest.raises(ValueError, match="equal numbers of seeds, two images or more"):
        crossed_interval([np.zeros(shape) for shape in shapes])
