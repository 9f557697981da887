"""Who is timed: one file per contender, each with a function `build(task) -> Trainer`.

Every contender runs in processes of its own, so that what one sets in its process (threads, denormals, how memory is
given back) neither helps nor hurts another. To add one: a file here, and an entry in `CONTENDERS`.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.sizes import Size

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Task:
    """What a trainer is built for."""

    size: Size
    threads: int  # of arithmetic, in each process
    steps: int  # of one measurement
    images: str  # path of a NumPy file, uint8 [steps x batch, channel, row, column]: a measurement is one epoch
    device: str = "cpu"  # or cuda: the first GPU
    members: int = 1  # of a pack; more than 1 for contenders that stack


class Trainer(Protocol):
    """Something that takes training steps."""

    @property
    def models(self) -> int:
        """Models that one step trains: 1, or the members of a pack."""

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
    package: str | None = None  # where the environment that runs this can import it, that one will do
    devices: tuple[str, ...] = DEVICES  # where it can run
    stacks: bool = False  # trains packs of members
    shares: bool = False  # several processes at the same time share the device; the best number of them counts


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("products", "benchmarks.contenders.products", devices=("cpu",)),
        Contender("rdstudy", "benchmarks.contenders.rdstudy_sequential"),
        Contender("stacked", "benchmarks.contenders.rdstudy_stacked", stacks=True),
        Contender("explicit", "benchmarks.contenders.explicit", stacks=True),
        Contender("explicit-graph", "benchmarks.contenders.explicit_graph", devices=("cuda",), stacks=True),
        Contender("eager", "benchmarks.contenders.eager"),
        Contender("processes", "benchmarks.contenders.eager", shares=True),
        Contender("cudagraph", "benchmarks.contenders.cudagraph", devices=("cuda",)),
        Contender(
            "jax",
            "benchmarks.contenders.jax_ensemble",
            environment=".venv-jax",
            requirements="benchmarks/jax-requirements.txt",
            package="jax",
            stacks=True,
        ),
        Contender(
            "pythae",
            "benchmarks.contenders.pythae_trainer",
            environment=".venv-pythae",
            requirements="benchmarks/pythae-requirements.txt",
        ),
    )
}
"""By name, in the order of the table."""

THIS_PROJECT = ("rdstudy", "stacked")
"""The paths that a study takes."""

PEAK = Contender("peak", "benchmarks.contenders.peak")
"""Not in the race: the arithmetic that the device can do."""
COPY = Contender("copy", "benchmarks.contenders.copy", devices=("cuda",))
"""Not in the race: the memory traffic that a GPU can do."""

ROOT = Path(__file__).resolve().parents[2]


def default_contenders(device: str) -> list[str]:
    """Whom a run without `--contenders` measures: a CPU trains one by one, the products alone no bound on a GPU."""
    left_out = ("stacked", "explicit", "explicit-graph") if device == "cpu" else ("products",)
    return [name for name in CONTENDERS if name not in left_out]


def interpreter(contender: Contender, this_python: str) -> str | None:
    """The Python that runs a contender, or None where its environment is missing."""
    if contender.environment is None:
        return this_python
    python = ROOT / contender.environment / "bin" / "python"
    if python.exists():
        return str(python)
    return this_python if contender.package and importlib.util.find_spec(contender.package) else None


def obstacle(contender: Contender, *, device: str, python: str | None) -> str | None:
    """Why a contender cannot take part, in words; None where it can."""
    if device not in contender.devices:
        return "needs CUDA" if device == "cpu" else "needs a CPU"
    return f"not installed; to install it: {how_to_install(contender)}" if python is None else None


def how_to_install(contender: Contender) -> str:
    """The one command, in the repository's root, that makes a contender's environment."""
    folder = contender.environment
    return f"python3 -m venv {folder} && {folder}/bin/pip install -r {contender.requirements}"
