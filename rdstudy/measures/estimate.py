"""A Monte Carlo mean and how far to trust it."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A Monte Carlo mean with its standard error."""

    value: float
    standard_error: float  # sample standard deviation / sqrt(samples); nan for one sample
    samples: int


def estimate_mean(values: Tensor) -> Estimate:
    """Mean of independent values `[sample]`, accumulated in float64.

    Raises:
        ValueError: there are none, or one of them is not finite.
    """
    samples = len(values)
    if not samples:
        raise ValueError("a mean of 0 samples; allowed: 1 or more")
    double = values.double()
    if not double.isfinite().all():
        raise ValueError(f"{int((~double.isfinite()).sum())} of {samples} samples are not finite; allowed: finite ones")
    spread = double.std(correction=1).item() if samples > 1 else float("nan")
    return Estimate(double.mean().item(), spread / samples**0.5, samples)
