"""Gaussian images with a known mean and covariance: what a VAE should learn of them has a closed form.

40,960 grey images of 8×8 pixels, N(`MEAN`, `covariance()`), without factors. Six patterns have variance to speak of;
`rdstudy.model.linear_gaussian` says what a linear VAE makes of them. Axis order: `image, channel, row, column`.

The patterns are Walsh functions, ±1/8 in every pixel, so that all pixels have the same variance, Σ λ / 64: 0 and 1 lie
5.3 standard deviations from the mean, and of 2.6 million pixel values less than one is expected to be clipped.
Rounding to 256 levels adds 1/12/255² = 1.3e-6 to the variance in every direction, an 80th of `SMALL_VARIANCE`.
"""

import numpy as np
from numpy.typing import NDArray

from rdstudy.study.seeds import derive_seed

IMAGES = 40_960
SIDE = 8
SHAPE = (1, SIDE, SIDE)
"""Channel, row, column."""

MEAN = 0.5
"""Of every pixel, in units of pixel values."""
VARIANCES = (0.3, 0.14, 0.07, 0.032, 0.014, 0.007)
"""Along the first patterns, in units of pixel values, squared."""
SMALL_VARIANCE = 1e-4
"""Along all others."""

# Sign changes of each pattern down the rows and along the columns: the smoothest first, but for the constant one. The
# mean lies along it, and gradient descent takes far longer where the largest variance does too.
_FIRST = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2))


def patterns() -> NDArray[np.float64]:
    """The eigenvectors of the covariance, orthonormal, `[pattern, pixel]`; those with `VARIANCES` come first."""
    signs = np.array([[1.0]])
    while len(signs) < SIDE:
        signs = np.kron(signs, [[1.0, 1.0], [1.0, -1.0]])
    walsh = signs[np.argsort((np.diff(signs, axis=1) != 0).sum(axis=1))] / np.sqrt(SIDE)  # by sign changes
    further = [at for at in np.ndindex(SIDE, SIDE) if at not in _FIRST]
    return np.stack([np.outer(walsh[down], walsh[along]).ravel() for down, along in (*_FIRST, *further)])


def covariance() -> NDArray[np.float64]:
    """The covariance of the pixels before they are rounded, in units of pixel values, `[pixel, pixel]`."""
    basis = patterns()
    return np.asarray((basis.T * _variances()) @ basis)


def draw(seed: int) -> NDArray[np.uint8]:
    """Draw the data set, uint8 `[image, channel, row, column]`: the same for the same seed."""
    rng = np.random.default_rng(derive_seed(seed, "gaussian images"))
    basis = patterns()
    x = MEAN + (rng.standard_normal((IMAGES, len(basis))) * np.sqrt(_variances())) @ basis
    return np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8).reshape(-1, *SHAPE)


def _variances() -> NDArray[np.float64]:
    """Of all patterns, `[pattern]`."""
    return np.array([*VARIANCES, *[SMALL_VARIANCE] * (SIDE**2 - len(VARIANCES))])
