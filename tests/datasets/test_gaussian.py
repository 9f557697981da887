"""The Gaussian images are what their closed forms take them for: mean, covariance, shape of the tails, rounding."""

import hashlib

import numpy as np
import pytest

from rdstudy.datasets import dataset_info, gaussian


@pytest.fixture(scope="module")
def images():
    return gaussian.draw(0)


@pytest.fixture(scope="module")
def along_patterns(images):
    """Coordinates along the patterns, in standard deviations, `[image, pattern]`."""
    x = images.reshape(len(images), -1) / 255 - gaussian.MEAN
    return x @ gaussian.patterns().T / np.sqrt(np.diag(gaussian.patterns() @ _rounded() @ gaussian.patterns().T))


def _rounded():
    return gaussian.covariance() + np.eye(64) / 12 / 255**2


def test_patterns_are_orthonormal_and_of_one_size_in_every_pixel():
    patterns = gaussian.patterns()
    np.testing.assert_allclose(patterns @ patterns.T, np.eye(64), atol=1e-14)
    np.testing.assert_allclose(np.abs(patterns), 1 / 8)


def test_the_covariance_has_the_variances_that_are_stated():
    variances = np.linalg.eigvalsh(gaussian.covariance())[::-1]
    np.testing.assert_allclose(variances, [*gaussian.VARIANCES, *[gaussian.SMALL_VARIANCE] * 58], rtol=1e-10)


def test_the_ends_of_the_range_are_five_standard_deviations_away(images):
    spread = np.sqrt(np.diag(gaussian.covariance()))
    assert (gaussian.MEAN / spread > 5).all()
    assert (1 - gaussian.MEAN) / spread.max() > 5
    assert ((images == 0) | (images == 255)).sum() <= 3


def test_images_have_the_mean_and_covariance_that_are_stated(along_patterns):
    images = len(along_patterns)
    # A sample variance of n Gaussians has the standard error √(2 / n), a covariance 1 / √n: 2,080 of them, 5 of these.
    np.testing.assert_allclose(along_patterns.mean(axis=0), 0, atol=5 / np.sqrt(images))
    second = along_patterns.T @ along_patterns / images
    np.testing.assert_allclose(second, np.eye(64), atol=5 * np.sqrt(2 / images))


def test_images_are_gaussian_in_their_higher_moments(along_patterns):
    images = len(along_patterns)
    np.testing.assert_allclose((along_patterns**3).mean(axis=0), 0, atol=5 * np.sqrt(15 / images))
    np.testing.assert_allclose((along_patterns**4).mean(axis=0), 3, atol=5 * np.sqrt(96 / images))


def test_images_depend_on_the_seed_alone(images):
    assert np.array_equal(gaussian.draw(0), images)
    assert not np.array_equal(gaussian.draw(1), images)


def test_the_data_set_is_the_one_that_results_were_made_with(images):
    """If this changes, so must its version in the registry, which names the cached file."""
    assert hashlib.sha256(images.tobytes()).hexdigest()[:16] == "d0c0557a3c6e89a7"


def test_the_registry_knows_it_without_drawing_it_and_loads_it(images, image_cache):
    info = dataset_info("gaussian")
    assert (info.images, info.image_shape, info.factor_names) == (40_960, (1, 8, 8), ())
    data = info.load()
    assert data.factors is None
    assert np.array_equal(data.images, images)
    assert (image_cache / "gaussian-v1.npy").exists()
