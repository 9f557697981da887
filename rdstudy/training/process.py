"""What a process is set to while it trains on a CPU, and how a device says that its memory is too small."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


@contextlib.contextmanager
def training_settings() -> Iterator[None]:
    """Settings of `prepare_process` for a while: the rest of the process gets back its own.

    Products and convolutions of a GPU are float32 meanwhile: cuDNN's are TF32 unless somebody says otherwise, and an
    environment variable makes TF32 of products.
    """
    threads = torch.get_num_threads()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    prepare_process()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


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
