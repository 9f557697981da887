"""One measurement of `benchmarks.data`, in a process of its own: `python -m benchmarks.data_process WORK [FILE]`.

A fresh process, so that its peak memory is that of the work alone. WORK is `load`, which draws the Tetrominoes unless
the cache has them, or `bound`, which fills as many bytes and writes them to FILE.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rdstudy.datasets import dataset_info


@dataclass(frozen=True)
class Cost:
    """What the work took."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int  # resident memory of the process, pages of mapped files among them


def load() -> None:
    """Load the Tetrominoes as a study does."""
    info = dataset_info("tetrominoes")
    images = info.load().images
    assert images.shape == (info.images, *info.image_shape)


def fill_and_write(path: Path) -> None:
    """Fill as many bytes in memory and have them written to the disk, as the cache has."""
    info = dataset_info("tetrominoes")
    body = np.full((info.images, *info.image_shape), 1, dtype=np.uint8)
    with path.open("wb") as file:
        file.write(body.data)
        file.flush()
        os.fsync(file.fileno())


def measure(work: Callable[[], None]) -> Cost:
    """Do the work and say what it took."""
    wall_seconds, cpu_seconds = time.perf_counter(), time.process_time()
    work()
    wall_seconds, cpu_seconds = time.perf_counter() - wall_seconds, time.process_time() - cpu_seconds
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    return Cost(wall_seconds, cpu_seconds, peak_bytes)


if __name__ == "__main__":
    works: dict[str, Callable[[], None]] = {"load": load, "bound": lambda: fill_and_write(Path(sys.argv[2]))}
    print(json.dumps(asdict(measure(works[sys.argv[1]]))))
