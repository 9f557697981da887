"""The rate's parts one number at a time, in float64: slow, and too simple to be wrong."""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from rdstudy.model.gaussian import Posterior

Array = NDArray[np.float64]


def log_normal(z: float, mean: float, log_var: float) -> float:
    return -0.5 * ((z - mean) ** 2 / math.exp(log_var) + log_var + math.log(2 * math.pi))


def log_sum_exp(values: list[float]) -> float:
    highest = max(values)
    return highest + math.log(sum(math.exp(value - highest) for value in values))


def log_densities(z: Array, mean: Array, log_var: Array) -> Array:
    """log q(z_i|x_n) `[sample, image]`."""
    return np.array(
        [
            [
                sum(log_normal(*of_j) for of_j in zip(point, *component, strict=True))
                for component in zip(mean, log_var, strict=True)
            ]
            for point in z
        ]
    )


def aggregate(z: Array, mean: Array, log_var: Array) -> Array:
    """log q(z_i) `[sample]`."""
    return np.array([log_sum_exp(list(row)) - math.log(len(mean)) for row in log_densities(z, mean, log_var)])


def marginals(z: Array, mean: Array, log_var: Array) -> Array:
    """log q(z_ij) `[sample, latent]`."""
    return np.stack(
        [aggregate(z[:, [j]], mean[:, [j]], log_var[:, [j]]) for j in range(z.shape[1])],
        axis=1,
    )


def batch_estimate(z: Array, mean: Array, log_var: Array, *, images: int) -> Array:
    """The paper's log q(z_i) from one batch, `[batch]`."""
    batch = len(z)
    other = math.log((images - 1) / (images * (batch - 1)))
    weights = np.where(np.eye(batch, dtype=bool), -math.log(images), other)
    return np.array([log_sum_exp(list(row)) for row in log_densities(z, mean, log_var) + weights])


def random_posterior(
    images: int, latent: int, *, seed: int, log_var: float = -1.0, dtype: torch.dtype = torch.float64
) -> Posterior:
    generator = torch.Generator().manual_seed(seed)
    mean, spread = (torch.randn(images, latent, generator=generator, dtype=dtype) for _ in range(2))
    return Posterior(mean, log_var + 0.5 * spread)


def random_noise(samples: int, latent: int, *, seed: int) -> torch.Tensor:
    return torch.randn(samples, latent, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class LargestTensor(torch.utils._python_dispatch.TorchDispatchMode):
    """The most elements of a tensor that any operation returns while this is entered; views do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage().data_ptr() for tensor in args if isinstance(tensor, torch.Tensor)}
        for tensor in result if isinstance(result, tuple | list) else [result]:
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.elements = max(self.elements, tensor.numel())
        return result
