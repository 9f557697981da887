"""Who is timed: one file per contender, each with a function `build(task) -> Trainer`.

Every contender runs in processes of its own, so that what one sets in its process (threads, denormals, how memory is
given back) neither helps nor hurts another. To add one: a file here, and an entry in `CONTENDERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.sizes import Size


@dataclass(frozen=True)
class Task:
    """What a trainer is built for."""

    size: Size
    threads: int  # of arithmetic, in each process
    steps: int  # of one measurement
    images: str  # path of a NumPy file, uint8 [steps x batch, channel, row, column]: a measurement is one epoch


class Trainer(Protocol):
    """Something that takes training steps."""

    @property
    def models(self) -> int:
        """Models that one step trains: 1, or the members of a stack."""

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one model."""

    def take_steps(self, steps: int) -> None:
        """Take training steps, and return when the device has done them."""


Build = Callable[[Task], Trainer]
"""What each contender's file defines under the name `build`; it sets the process's threads itself."""


@dataclass(frozen=True)
class Contender:
    """Where a contender's code is, and what it needs."""

    name: str
    module: str
    environment: str | None = None  # folder of a virtual environment of its own; None for the one that runs this
    requirements: str | None = None  # what is installed there


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("products", "benchmarks.contenders.products"),
        Contender("rdstudy", "benchmarks.contenders.rdstudy_sequential"),
        Contender("eager", "benchmarks.contenders.eager"),
        Contender(
            "pythae",
            "benchmarks.contenders.pythae_trainer",
            environment=".venv-pythae",
            requirements="benchmarks/pythae-requirements.txt",
        ),
    )
}
"""By name, in the order of the table."""

PEAK = Contender("peak", "benchmarks.contenders.peak")
"""Not in the race: what the machine can do."""

ROOT = Path(__file__).resolve().parents[2]


def interpreter(contender: Contender, this_python: str) -> str | None:
    """The Python that runs a contender, or None where its environment is missing."""
    if contender.environment is None:
        return this_python
    python = ROOT / contender.environment / "bin" / "python"
    return str(python) if python.exists() else None


def how_to_install(contender: Contender) -> str:
    """The one command, in the repository's root, that makes a contender's environment."""
    folder = contender.environment
    return f"python3 -m venv {folder} && {folder}/bin/pip install -r {contender.requirements}"
