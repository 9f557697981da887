"""Threads, precision and waiting on the device, the same for all contenders that use PyTorch. Knows torch alone."""

import torch

from benchmarks.contenders import Task


def prepare(task: Task) -> torch.device:
    """Set this process's threads and, on a GPU, float32 products and convolutions without TF32."""
    torch.set_num_threads(task.threads)
    if task.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False  # PyTorch's default is True: the bound would be of another precision
    return torch.device(task.device)


def wait_for(device: torch.device) -> None:
    """Return when the device has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
