"""A RealNVP flow: affine couplings of half of the dimensions on the rest (Dinh et al. 2017, equations 7 and 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from rdstudy.model.description import NetworkShape
from rdstudy.model.priors._prior import LOG_2PI, Encode, Prior

_MOST_LOG_SCALE = 3.0
"""Of one coupling: a scale between 1/20 and 20 keeps the inverse finite in float32, and ten of them are any scale."""

_UNITS = 64


class Flow(Prior):
    """The density of f(u), u ~ N(0, I), for a stack of couplings f. It starts as N(0, I): the couplings as identities.

    A coupling leaves the even dimensions as they are, or the odd ones, and maps the others by y = x exp(s) + t, with s
    and t of one hidden layer read from those left: log |det| = Σ s. The inverse, z to u, is as cheap.

    Args:
        shape: of the network; a coupling needs two latent dimensions.
        layers: couplings; two let every dimension depend on every other.

    Raises:
        ValueError: there is one latent dimension.
    """

    def __init__(self, shape: NetworkShape, *, layers: int) -> None:
        super().__init__()
        if shape.latent_dim < 2:
            raise ValueError(f"latent_dim is {shape.latent_dim} with the prior {shape.prior}; allowed: 2 or more")
        self._latent_dim = shape.latent_dim
        self.couplings = nn.ModuleList([_Coupling(shape.latent_dim, first=at % 2) for at in range(layers)])

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:  # noqa: ARG002
        """Log N(f⁻¹(z); 0, I) - log |det ∂f/∂u|."""
        log_det = torch.zeros_like(z[..., 0])
        for coupling in _couplings(self, backwards=True):
            log_scale, shift = coupling.scale_and_shift(z)
            z = (z - shift) * torch.exp(-log_scale)
            log_det = log_det + log_scale.sum(dim=-1)
        return -0.5 * (z.square() + LOG_2PI).sum(dim=-1) - log_det

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:  # noqa: ARG002
        """f(u)."""
        z = torch.randn(count, self._latent_dim, generator=generator, device=generator.device)
        for coupling in _couplings(self, backwards=False):
            log_scale, shift = coupling.scale_and_shift(z)
            z = z * torch.exp(log_scale) + shift
        return z


class _Coupling(nn.Module):
    """log scale and shift of every other dimension as functions of the rest; 0 for the rest itself."""

    def __init__(self, latent_dim: int, *, first: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(latent_dim, _UNITS)
        self.output = _Zero(_UNITS, 2 * latent_dim)
        self._first = first

    def scale_and_shift(self, z: Tensor) -> tuple[Tensor, Tensor]:
        moved = (torch.arange(z.shape[-1], device=z.device) % 2 == self._first).to(z.dtype)
        log_scale, shift = self.output(torch.relu(self.hidden(z * (1 - moved)))).chunk(2, dim=-1)
        return _MOST_LOG_SCALE * torch.tanh(log_scale / _MOST_LOG_SCALE) * moved, shift * moved


class _Zero(nn.Linear):
    """A layer that starts at 0, whatever the initialization of the others."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)


def _couplings(flow: Flow, *, backwards: bool) -> Sequence[_Coupling]:
    couplings = [module for module in flow.couplings if isinstance(module, _Coupling)]
    return couplings[::-1] if backwards else couplings
