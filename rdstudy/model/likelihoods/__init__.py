"""Likelihoods p(x|z) of pixels x in [0, 1] (paper, 4.3), one file each: `likelihood("gaussian(sigma=0.2)")`.

A decoder's output is whatever its likelihood reads: logits for Bernoulli pixels, the mean for Gaussian ones. Sums over
pixels. The last axis is the flattened image; all axes before it are kept. Shapes are those of `Likelihood`.
"""

import functools

from rdstudy.model.likelihoods._likelihood import Likelihood
from rdstudy.study import parts

__all__ = ["Likelihood", "likelihood"]


@functools.cache
def likelihood(level: str) -> Likelihood:
    """What a level of the factor `likelihood` means.

    Raises:
        ValueError: there is none of that name, or a user's own is no `Likelihood`.
    """
    return parts.make("likelihood", level, Likelihood)
