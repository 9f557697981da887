"""Student's t distribution with whole degrees of freedom, in closed form (Abramowitz and Stegun 1964, 26.7.3-4)."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

_BISECTIONS = 60


def student_cdf(t: NDArray[np.float64], df: int) -> NDArray[np.float64]:
    """P(T <= t), elementwise; infinite t gives 0 or 1, NaN gives NaN.

    Args:
        t: any shape.
        df: degrees of freedom, 1 or more.
    """
    theta = np.arctan(t / math.sqrt(df))
    cos2 = np.cos(theta) ** 2
    odd = df % 2 == 1
    term = np.cos(theta) if odd else np.ones_like(theta)
    total = np.zeros_like(theta) if df == 1 else term.copy()
    for k in range(3 if odd else 2, df - 1, 2):
        term = term * cos2 * (k - 1) / k
        total = total + term
    inside = 2 / math.pi * (theta + np.sin(theta) * total) if odd else np.sin(theta) * total
    cdf: NDArray[np.float64] = 0.5 + 0.5 * inside
    return cdf


@functools.cache
def student_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = p, for 1/2 < p < 1."""
    low, high = 0.0, 1.0
    while student_cdf(np.array(high), df) < p:
        high *= 2.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(np.array(middle), df) < p else (low, middle)
    return high
