"""Which versions of libraries are refused, and why; `pyproject.toml` states the same. Imports none of them."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Floor:
    """The lowest version of a library with which anything is run."""

    library: str
    version: tuple[int, int]  # of its release
    why: str  # what is wrong with those below


TORCH = Floor("torch", (2, 10), "those before may run what a damaged or foreign file of weights tells them to")
RAY = Floor("ray", (2, 52), "those before let anybody who reaches a port of theirs run programs")


def check_floors(*, ray: bool) -> None:
    """Refuse to run with a library whose fault endangers whoever runs it; `ray` says whether Ray is used.

    Raises:
        ValueError: names the version that is installed, the lowest that is allowed, and why.
    """
    import importlib.metadata  # late: its own imports take 15 ms of a `--help`

    for floor in (TORCH, *((RAY,) if ray else ())):
        try:
            installed = importlib.metadata.version(floor.library)
        except importlib.metadata.PackageNotFoundError:
            continue  # whoever imports it says so
        if _release(installed) < floor.version:
            lowest = ".".join(map(str, floor.version))
            raise ValueError(f"{floor.library} is {installed}; allowed: {lowest} or newer: {floor.why}")


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version: (2, 13) of `2.13.0+cu130`; (0,) where it is none."""
    match = re.match(r"(\d+)\.(\d+)", version)
    return (int(match[1]), int(match[2])) if match else (0,)
