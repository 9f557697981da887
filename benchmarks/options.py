"""Options of the command line that benchmarks share. Imports torch only where a device is asked for."""

import argparse
import sys
from collections.abc import Callable


def whole(most: int) -> Callable[[str], int]:
    """A type for argparse: a whole number from 1 to `most`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 1 to {most:,}")
        return int(text)

    return read


def default_device() -> str:
    """The GPU where PyTorch sees one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def gpu_name() -> str:
    """Of the first GPU, with PyTorch's CUDA; without one the program ends and says so."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("--device is cuda, but PyTorch sees no CUDA device; allowed here: cpu")
    return f"{torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
