"""What no path can beat, from what the device was measured to do in the same run. Standard library alone.

A step needs the arithmetic of its products. On a GPU it also moves every parameter: 40 bytes a parameter, member and
step, which is forward and backward reading the weight (8), the gradient written and read (8), Adam reading and writing
the weight and both moments (24). On a CPU the parameters of one model may stay in its caches.
"""

from dataclasses import dataclass

from benchmarks.sizes import Size, parameter_count, step_operations
from rdstudy.planning.estimate import PARAMETER_BYTES

PEAK_SIDE = {"cpu": 2048, "cuda": 8192}
"""Rows and columns of the square matrices whose product shows a device's peak."""

COPY_BUFFER_BYTES = 2**30
"""Of the buffer whose copy shows the bandwidth: far more than any cache on the device."""
COPY_BYTES = 2 * COPY_BUFFER_BYTES
"""Moved by a copy: each byte is read and written."""


@dataclass(frozen=True)
class Bound:
    """The least time of one step of one model."""

    arithmetic_seconds: float
    traffic_seconds: float | None  # None where traffic was not measured: on a CPU

    @property
    def seconds(self) -> float:
        """The larger of the two."""
        return max(self.arithmetic_seconds, self.traffic_seconds or 0.0)


def peak_operations(device: str) -> int:
    """Operations of the square product."""
    return int(2 * PEAK_SIDE[device] ** 3)


def bound(size: Size, device: str, *, peak_seconds: float, copy_seconds: float | None) -> Bound:
    """The bound, from the times of the square product and of the copy."""
    traffic = None
    if copy_seconds is not None:
        traffic = PARAMETER_BYTES * parameter_count(size) * copy_seconds / COPY_BYTES
    return Bound(step_operations(size) * peak_seconds / peak_operations(device), traffic)
