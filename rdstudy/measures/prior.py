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
from rdstudy.measures.layout import Layout

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
        layout: of the images that z belong to, where they are those of several members: the function is then called
            with rows `[row, member, latent]` of the members that have images, and gives `[row, member]`.

    All methods take z `[..., latent]`; with a layout, `[..., image, latent]`.

    Raises:
        ValueError: the function does not return `[row]`.
    """

    function: LogPrior | None
    dtype: torch.dtype
    memory_bytes: float
    layout: Layout | None = None

    @torch.no_grad()
    def log_density(self, z: Tensor) -> Tensor:
        """The density log p(z), `[...]`."""
        if self.function is None:
            return -0.5 * (z.double().square() + LOG_2PI).sum(dim=-1)
        log_p = [self._log_density(self.function, part).double() for part in self._split(z)]
        return self._joined(log_p, z)

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
        for part in self._split(z):
            with torch.enable_grad():
                inputs = part.detach().requires_grad_()
                value = self._log_density(self.function, inputs)
                (first,) = torch.autograd.grad(value.sum(), inputs)
            log_p.append(value.detach().double())
            gradient.append(-first.double())
        return PriorGradient(_energy(self._joined(log_p, z), z), self._joined(gradient, z))

    def with_curvature(self, z: Tensor) -> PriorCurvature:
        """The energy of z, its derivative and its Hessian, which back-propagation gives row by row."""
        latent = z.shape[-1]
        if self.function is None:
            identity = torch.eye(latent, dtype=torch.float64, device=z.device).expand(*z.shape, latent)
            return PriorCurvature(self.energy(z), z.double(), identity)
        log_p, gradient, curvature = [], [], []
        for part in self._split(z, memory_factor=_SECOND_ORDER):
            with torch.enable_grad():
                inputs = part.detach().requires_grad_()
                value = self._log_density(self.function, inputs)
                (first,) = torch.autograd.grad(value.sum(), inputs, create_graph=True)
                rows = [torch.autograd.grad(of_j.sum(), inputs, retain_graph=True)[0] for of_j in first.unbind(dim=-1)]
            log_p.append(value.detach().double())
            gradient.append(-first.detach().double())
            curvature.append(-torch.stack(rows, dim=-2).double())
        energy, hessian = _energy(self._joined(log_p, z), z), self._joined(curvature, z)
        return PriorCurvature(energy, self._joined(gradient, z), (hessian + hessian.mT) / 2)

    def _split(self, z: Tensor, *, memory_factor: int = 1) -> tuple[Tensor, ...]:
        """The z as rows `[row, latent]` in the function's dtype, as many at once as the memory holds."""
        rows = self._rows(z).to(self.dtype)
        row_bytes = memory_factor * _ROW_BYTES * rows.shape[1:-1].numel()
        return torch.split(rows, max(1, int(min(self.memory_bytes / row_bytes, 2.0**62))))

    def _rows(self, z: Tensor) -> Tensor:
        if self.layout is None:
            return z.reshape(-1, z.shape[-1])
        slots = self.layout.spread(z.reshape(-1, *z.shape[-2:]))  # [sample, member × row, latent]
        by_member = slots.reshape(len(slots), len(self.layout.present), -1, z.shape[-1])
        return by_member.transpose(1, 2).flatten(0, 1)

    def _joined(self, parts: list[Tensor], z: Tensor) -> Tensor:
        """What was computed of the rows of z, in its order: `[..., *]` for parts `[row, *]`."""
        rows = torch.cat(parts)
        if self.layout is None:
            return rows.reshape(*z.shape[:-1], *rows.shape[1:])
        by_sample = rows.reshape(z.shape[:-2].numel(), -1, *rows.shape[1:])  # [sample, row, member, *]
        slots = by_sample.transpose(1, 2).flatten(1, 2)
        return self.layout.gather(slots).reshape(*z.shape[:-1], *rows.shape[2:])

    @staticmethod
    def _log_density(function: LogPrior, rows: Tensor) -> Tensor:
        log_p = function(rows)
        if log_p.shape != rows.shape[:-1]:
            raise ValueError(f"log p(z) of shape {tuple(log_p.shape)}; allowed: [row], here {tuple(rows.shape[:-1])}")
        return log_p


def _energy(log_density: Tensor, z: Tensor) -> Tensor:
    return -log_density - 0.5 * z.shape[-1] * LOG_2PI
