"""Runs a user's file, which may set things of the process for itself and not for whatever comes after it.

A study file that says `torch.set_default_dtype(torch.float64)` would change the numbers of every model that the same
process trains, and of none that another one does. Standard library alone.
"""

import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import CodeType, ModuleType
from typing import Any


def run_file(code: CodeType, module: ModuleType) -> None:
    """Run a file's code as a module.

    The working folder, PyTorch's settings and a limit of recursion that the file lowers are then what they were before.
    """
    folder, limit = _working_folder(), sys.getrecursionlimit()
    with torch_settings_kept():
        try:
            exec(code, vars(module))  # noqa: S102
        finally:
            sys.setrecursionlimit(max(limit, sys.getrecursionlimit()))  # first: what follows calls functions
            if folder is not None and _working_folder() != folder:
                os.chdir(folder)  # `--out` is where the command was given


def _working_folder() -> str | None:
    with suppress(OSError):  # it was deleted
        return os.getcwd()
    return None


@contextmanager
def seeded_generators(seed: int) -> Iterator[None]:
    """What a file draws where it is run is the same in every process; the generators stay where they were.

    Those are the global ones of Python, and of NumPy and PyTorch where they are imported.
    """
    numpy, torch = (sys.modules.get(name) for name in ("numpy", "torch"))
    state, of_numpy, of_torch = random.getstate(), numpy and numpy.random.get_state(), torch and torch.get_rng_state()
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed)
    if torch:
        torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
        if numpy:
            numpy.random.set_state(of_numpy)
        if torch:
            torch.set_rng_state(of_torch)


@contextmanager
def torch_settings_kept() -> Iterator[None]:
    """PyTorch's settings for numbers and threads are afterwards what they are now.

    Where it is not imported now, but afterwards, its numbers and tensors are of the type and the device of its own.
    """
    kept = [(put, get()) for get, put in _torch_settings() if _answers(get)]
    try:
        yield
    finally:
        for put, value in kept or _own_settings():
            put(value)


def _own_settings() -> list[tuple[Callable[[Any], object], Any]]:
    """How PyTorch makes tensors unless somebody says otherwise; nothing where it is not imported."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return []
    return [
        (torch.set_default_dtype, torch.float32),
        (torch.set_default_device, None),
        (torch.set_grad_enabled, True),
    ]


def _torch_settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], object]]]:
    """How each setting is asked for and set; those of float32 products in the order in which one includes another."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return
    yield torch.get_num_threads, torch.set_num_threads
    yield torch.get_default_dtype, torch.set_default_dtype
    yield torch.is_grad_enabled, torch.set_grad_enabled
    yield torch.get_default_device, partial(_set_default_device, torch)
    backends = torch.backends
    for backend in (backends, backends.cudnn, backends.mkldnn):
        yield partial(getattr, backend, "fp32_precision"), partial(setattr, backend, "fp32_precision")
    yield torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    yield partial(getattr, backends.cudnn, "allow_tf32"), partial(setattr, backends.cudnn, "allow_tf32")
    convolutions = (backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.conv, backends.mkldnn.rnn)
    for backend in (backends.cuda.matmul, backends.mkldnn.matmul, *convolutions):
        yield partial(getattr, backend, "fp32_precision"), partial(setattr, backend, "fp32_precision")


def _answers(get: Callable[[], Any]) -> bool:
    """Whether a setting can be asked for: the older two cannot where somebody set one that came after them."""
    try:
        get()
    except RuntimeError:
        return False
    return True


def _set_default_device(torch: Any, device: Any) -> None:
    if torch.get_default_device() != device:  # a device that is set, and be it the CPU, is asked at each call
        torch.set_default_device(None if device.type == "cpu" else device)
