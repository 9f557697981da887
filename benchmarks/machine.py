"""What a reader must know of the machine before believing a number. Standard library alone."""

import importlib.metadata
import os
import platform
from dataclasses import dataclass

from rdstudy.running.provenance import code_version, cpu_name


@dataclass(frozen=True)
class Machine:
    """The machine and the code, at the start of a run."""

    cpu: str
    cores: int  # that this process may use
    load: float  # processes that ran or wanted to, mean of the last minute: other people's work
    python_version: str
    numpy_version: str
    torch_version: str
    code_version: str
    gpu: str | None = None  # its name and PyTorch's CUDA, where it was used


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def describe_machine(*, gpu: str | None = None) -> Machine:
    return Machine(
        cpu=cpu_name(),
        cores=usable_cores(),
        load=os.getloadavg()[0],
        python_version=platform.python_version(),
        numpy_version=importlib.metadata.version("numpy"),
        torch_version=importlib.metadata.version("torch"),
        code_version=code_version(),
        gpu=gpu,
    )


def machine_line(machine: Machine) -> str:
    """The facts in one line."""
    gpu = f"{machine.gpu}; " if machine.gpu else ""
    return (
        f"{gpu}{machine.cpu}, {machine.cores} cores, load {machine.load:.1f} at the start; "
        f"Python {machine.python_version}, NumPy {machine.numpy_version}, PyTorch {machine.torch_version}, "
        f"rdstudy {machine.code_version}"
    )
