"""The networks of several members over stacked weights, as measures call them: a member axis first.

Layers are one kernel for all members, but for networks with convolutions: mapped over members these are grouped, for
which a GPU has no fast kernels, and networks are called member by member.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rdstudy.measures.prior import LogPrior
from rdstudy.measures.stacked_distortion import StackedNetworks
from rdstudy.model.networks import VAE
from rdstudy.model.objective import Network
from rdstudy.model.priors import Prior

_Convolutional = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


class StackedVae:
    """Networks of one shape that are trained no more.

    Args:
        vaes: whose parameters and buffers are copied.
    """

    def __init__(self, vaes: Sequence[VAE]) -> None:
        self._vae, self._count = vaes[0], len(vaes)
        tensors = [{**dict(vae.named_parameters()), **dict(vae.named_buffers())} for vae in vaes]
        self._tensors = {name: torch.stack([of[name].detach() for of in tensors]) for name in tensors[0]}

    @property
    def encode(self) -> Network:
        """Images `[image, pixel]`, the same for all members, to codes `[member, image, 2 latent]`."""
        encoders = _part(self._tensors, "encoder.")
        return _applied(_mapped(self._vae.encoder, in_dims=(0, None)), encoders)

    def networks(self, members: tuple[int, ...]) -> StackedNetworks:
        """Decoders and priors of some members, ascending."""
        tensors = self._tensors
        if len(members) < self._count:
            side_by_side = members[-1] - members[0] == len(members) - 1  # a view, where others are copies
            chosen = slice(members[0], members[-1] + 1) if side_by_side else list(members)
            tensors = {name: stacked[chosen] for name, stacked in tensors.items()}
        decode = _applied(_mapped(self._vae.decoder, in_dims=(0, 0)), _part(tensors, "decoder."))
        return StackedNetworks(decode, self._log_prior(tensors))

    def _log_prior(self, tensors: dict[str, Tensor]) -> LogPrior | None:
        if self._vae.prior.is_standard_normal:
            return None
        density = _LogDensity(self._vae.prior, self._vae.encoder)
        of_prior = {name: value for name, value in tensors.items() if name.startswith(("prior.", "encoder."))}
        return _applied(_mapped(density, in_dims=(0, 1), out_dims=1), of_prior)


class _LogDensity(nn.Module):
    """Log p(z) `[...]` of z `[..., latent]`: a module of prior and encoder, to be called with any member's weights."""

    def __init__(self, prior: Prior, encoder: nn.Module) -> None:
        super().__init__()
        self.prior, self.encoder = prior, encoder

    def forward(self, z: Tensor) -> Tensor:
        return self.prior.log_density(z, self.encoder)


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _mapped(
    network: nn.Module, *, in_dims: tuple[int, int | None], out_dims: int = 0
) -> Callable[[dict[str, Tensor], Tensor], Tensor]:
    """A network as a function of stacked weights and its input, over members."""

    def of_one(of_member: dict[str, Tensor], x: Tensor) -> Tensor:
        output: Tensor = functional_call(network, of_member, (x,))
        return output

    def in_turn(tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        count, axis = len(next(iter(tensors.values()))), in_dims[1]
        inputs = [x] * count if axis is None else x.unbind(axis)
        members = ({name: stacked[at] for name, stacked in tensors.items()} for at in range(count))
        return torch.stack([of_one(*each) for each in zip(members, inputs, strict=True)], dim=out_dims)

    if any(isinstance(module, _Convolutional) for module in network.modules()):
        return in_turn
    mapped: Callable[[dict[str, Tensor], Tensor], Tensor] = torch.vmap(of_one, in_dims=in_dims, out_dims=out_dims)
    return mapped


def _applied(mapped: Callable[[dict[str, Tensor], Tensor], Tensor], tensors: dict[str, Tensor]) -> Network:
    return lambda x: mapped(tensors, x)
