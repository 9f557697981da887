"""What a process is set to while it trains on a CPU, and how a device says that its memory is too small."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from typing import Any

import torch

from rdstudy.study.own_code import torch_settings_kept

NUMBERS = torch.float32
"""The type of all that is trained and measured."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@contextlib.contextmanager
def training_settings() -> Iterator[None]:
    """Settings of `prepare_process` for a while: the rest of the process gets back its own.

    Numbers are float32 meanwhile, products and convolutions too: cuDNN's are TF32 unless somebody says otherwise, and
    an environment variable, a study file or a part's file may have asked for less, or for more.
    """
    with torch_settings_kept():
        prepare_process()
        torch.set_default_dtype(NUMBERS)
        torch.set_default_device(None)
        torch.set_grad_enabled(True)
        _make_float32_exact(torch.backends)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


def _make_float32_exact(backends: Any) -> None:
    """Products and convolutions as their operands: in the order of `torch_settings_kept`, as one includes another."""
    for backend in (backends, backends.cudnn, backends.mkldnn):
        backend.fp32_precision = "ieee"
    torch.set_float32_matmul_precision("highest")
    backends.cudnn.allow_tf32 = False
    backends.mkldnn.conv.fp32_precision = backends.mkldnn.rnn.fp32_precision = "ieee"


def prepare_process() -> None:
    """Set what makes small models fast on a CPU, and their bits the same on any number of cores."""
    torch.set_num_threads(1)  # members share no arithmetic: processes scale better than threads
    torch.set_flush_denormal(True)  # moments of weights that get no gradient decay into denormals, which are slow
    if sys.platform == "linux":
        # Gradients of a few MB are freed and asked for again at each step. Unless glibc keeps that memory, the kernel
        # clears its pages anew each time: a fifth of a step at width 128.
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
            libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory was too small: libraries, and PyTorch on a CPU, raise other types too."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and ("out of memory" in said or "allocate memory" in said)
