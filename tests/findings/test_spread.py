"""Two-way variance components: intervals that hold the choice of images cover the truth whichever of the two differs.

One call judges many studies: they lie along the candidate axis.
"""

import numpy as np
import pytest

from rdstudy.findings.spread import Shared, spread_of
from rdstudy.findings.student import student_quantile

SEEDS, IMAGES, STUDIES = 5, 31, 2000


def drawn(rng, *, of_seeds, of_images, rest, seeds=SEEDS, images=IMAGES):
    """`[seed, study, 1, image]` around 0."""
    seed = of_seeds * rng.standard_normal((seeds, STUDIES, 1, 1))
    image = of_images * rng.standard_normal((1, STUDIES, 1, images))
    return seed + image + rest * rng.standard_normal((seeds, STUDIES, 1, images))


def coverage(spread):
    half = np.vectorize(lambda df: student_quantile(0.975, int(df)))(spread.df) * spread.error
    return float((np.abs(spread.mean) <= half).mean())


@pytest.mark.parametrize("images", [7, 31, 200])
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    ("of_seeds", "of_images", "rest"),
    [(1, 50, 0), (1, 50, 5), (0, 10, 10), (1, 0, 0), (1, 0, 5), (0, 0, 1), (3, 30, 30), (1, 5, 1), (1, 12, 3)],
)
def test_intervals_cover_the_truth_whichever_of_the_two_differs(of_seeds, of_images, rest, seeds, images):
    rng = np.random.default_rng([seeds, images])
    sizes = {"of_seeds": of_seeds, "of_images": of_images, "rest": rest, "seeds": seeds, "images": images}
    numbers = drawn(rng, **sizes)
    assert coverage(spread_of(numbers.mean(axis=-1), [numbers])) >= 0.94


def test_seeds_alone_would_not():
    """What was drawn before: the interval over seeds of a mean over images that all of them share."""
    numbers = drawn(np.random.default_rng(3), of_seeds=1, of_images=50, rest=5)
    assert coverage(spread_of(numbers.mean(axis=-1))) < 0.5


def test_two_samples_of_images_add_their_variances():
    rng = np.random.default_rng(4)
    test, train = (drawn(rng, of_seeds=1, of_images=size, rest=3, images=many) for size, many in ((40, 31), (30, 53)))
    values = test.mean(axis=-1) - train.mean(axis=-1)
    assert coverage(spread_of(values, [test, -train])) >= 0.94
    assert coverage(spread_of(values, [test])) < 0.94


def test_an_error_of_shared_images_is_in_the_interval():
    rng = np.random.default_rng(5)
    values = rng.standard_normal((SEEDS, STUDIES, 1)) + 3 * rng.standard_normal((1, STUDIES, 1))
    assert coverage(spread_of(values, shared=Shared(np.full((STUDIES, 1), 9.0), 499))) >= 0.94
    assert coverage(spread_of(values)) < 0.5


def test_the_error_is_never_less_than_either_part():
    numbers = drawn(np.random.default_rng(6), of_seeds=1, of_images=1, rest=5)
    both = spread_of(numbers.mean(axis=-1), [numbers])
    seeds = spread_of(numbers.mean(axis=-1))
    images = numbers.mean(axis=0).std(axis=-1, ddof=1) / np.sqrt(IMAGES)
    assert (both.error >= seeds.error).all()
    assert (both.error >= images - 1e-12).all()
    assert both.df.min() >= SEEDS - 1


def test_without_images_it_is_students_t():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0])[:, None, None]
    spread = spread_of(values)
    assert (spread.mean.item(), spread.df.item()) == (3.0, 4)
    assert spread.error.item() == pytest.approx(np.sqrt(2.5 / 5))
    assert spread.p_above().item() + spread.p_below().item() == pytest.approx(1)
