"""The prior p(z) as measures see it: its log density and the derivatives of that, at many z, in bounded memory.

The energy of z is -log p(z) - (latent / 2) log 2π: ½ |z|² under N(0, I), whose closed forms are used where no function
is given. Nats; values and derivatives come back in float64. The last axis is the latent dimension; all before it are
kept.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.aggregate import LOG_2PI

LogPrior = Callable[[Tensor], Tensor]
"""z `[..., latent]` -> log p(z) `[...]` in nats: the log of a density that integrates to one, twice differentiable by
autograd, each value a function of its own z alone. It is called with z in the dtype that it works in."""

_ROW_BYTES = 2**16
"""Of one z: what a mixture of 500 components needs in ten dimensions of float32, three arrays of that shape."""

_SECOND_ORDER = 4  # times the memory: the graph of a derivative, and what is derived from it


@dataclass(frozen=True)
class PriorGradient:
    """The energy of the prior and its derivative."""

    energy: Tensor  # [...]
    gradient: Tensor  # [..., latent]


@dataclass(frozen=True)
class PriorCurvature:
    """The energy of the prior and its first two derivatives."""

    energy: Tensor  # [...]
    gradient: Tensor  # [..., latent]
    curvature: Tensor  # [..., latent, latent], symmetric; not positive definite where p(z) is not log-concave


@dataclass(frozen=True)
class Prior:
    """A prior, and how to compute it.

    Args:
        function: log p(z), called with rows `[row, latent]`; None for N(0, I). Its parameters get no gradient.
        dtype: that the function works in.
        memory_bytes: of the function's temporaries, reckoned at `_ROW_BYTES` a row; a row at least is taken at a time.

    All methods take z `[..., latent]`.

    Raises:
        ValueError: the function does not return `[row]`.
    """

    function: LogPrior | None
    dtype: torch.dtype
    memory_bytes: float

    @torch.no_grad()
    def log_density(self, z: Tensor) -> Tensor:
        """The density log p(z), `[...]`."""
        if self.function is None:
            return -0.5 * (z.double().square() + LOG_2PI).sum(dim=-1)
        rows = z.reshape(-1, z.shape[-1])
        log_p = [self._log_density(self.function, part).double() for part in self._split(rows)]
        return torch.cat(log_p).reshape(z.shape[:-1])

    def energy(self, z: Tensor) -> Tensor:
        """The energy of z, `[...]`."""
        if self.function is None:
            return 0.5 * z.double().square().sum(dim=-1)
        return _energy(self.log_density(z), z)

    def with_gradient(self, z: Tensor) -> PriorGradient:
        """The energy of z and its derivative."""
        if self.function is None:
            return PriorGradient(self.energy(z), z.double())
        log_p, gradient = [], []
        for part in self._split(z.reshape(-1, z.shape[-1])):
            with torch.enable_grad():
                inputs = part.detach().requires_grad_()
                value = self._log_density(self.function, inputs)
                (first,) = torch.autograd.grad(value.sum(), inputs)
            log_p.append(value.detach().double())
            gradient.append(-first.double())
        energy = _energy(torch.cat(log_p).reshape(z.shape[:-1]), z)
        return PriorGradient(energy, torch.cat(gradient).reshape(z.shape))

    def with_curvature(self, z: Tensor) -> PriorCurvature:
        """The energy of z, its derivative and its Hessian, which back-propagation gives row by row."""
        latent = z.shape[-1]
        if self.function is None:
            identity = torch.eye(latent, dtype=torch.float64, device=z.device).expand(*z.shape, latent)
            return PriorCurvature(self.energy(z), z.double(), identity)
        log_p, gradient, curvature = [], [], []
        for part in self._split(z.reshape(-1, latent), memory_factor=_SECOND_ORDER):
            with torch.enable_grad():
                inputs = part.detach().requires_grad_()
                value = self._log_density(self.function, inputs)
                (first,) = torch.autograd.grad(value.sum(), inputs, create_graph=True)
                rows = [torch.autograd.grad(of_j.sum(), inputs, retain_graph=True)[0] for of_j in first.unbind(dim=1)]
            log_p.append(value.detach().double())
            gradient.append(-first.detach().double())
            curvature.append(-torch.stack(rows, dim=1).double())
        energy = _energy(torch.cat(log_p).reshape(z.shape[:-1]), z)
        hessian = torch.cat(curvature).reshape(*z.shape, latent)
        return PriorCurvature(energy, torch.cat(gradient).reshape(z.shape), (hessian + hessian.mT) / 2)

    def _split(self, rows: Tensor, *, memory_factor: int = 1) -> tuple[Tensor, ...]:
        """Rows `[row, latent]` in the function's dtype, as many at once as the memory holds."""
        at_once = max(1, int(min(self.memory_bytes / (memory_factor * _ROW_BYTES), 2.0**62)))
        return torch.split(rows.to(self.dtype), at_once)

    @staticmethod
    def _log_density(function: LogPrior, rows: Tensor) -> Tensor:
        log_p = function(rows)
        if log_p.shape != rows.shape[:1]:
            raise ValueError(f"log p(z) of shape {tuple(log_p.shape)}; allowed: [row], here {tuple(rows.shape[:1])}")
        return log_p


def _energy(log_density: Tensor, z: Tensor) -> Tensor:
    return -log_density - 0.5 * z.shape[-1] * LOG_2PI
