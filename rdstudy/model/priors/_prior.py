"""What training and measures ask of a prior."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rdstudy.model.gaussian import Posterior

LOG_2PI = math.log(2 * math.pi)

Encode = Callable[[Tensor], Tensor]
"""The member's encoder, `[..., pixel]` in [0, 1] to `[..., 2 latent]`: some priors are made of posteriors."""


class Prior(nn.Module):
    """A density p(z). A subclass defines `log_density` and `sample`; `closed_rate` where there is one."""

    is_standard_normal = False
    """Whether it is N(0, I), whose closed forms training and measures know."""

    def log_density(self, z: Tensor, encode: Encode) -> Tensor:
        """Log p(z) `[...]` of z `[..., latent]`, nats, differentiable."""
        raise NotImplementedError

    def sample(self, count: int, generator: torch.Generator, encode: Encode) -> Tensor:
        """Draw z ~ p(z), `[count, latent]`, by the generator alone, on its device."""
        raise NotImplementedError

    def closed_rate(self, posterior: Posterior) -> Tensor | None:  # noqa: ARG002
        """KL(q(z|x) || p(z)), nats per image `[...]`, differentiable; None where it has no closed form."""
        return None


class PriorTerms(nn.Module):
    """What a prior says of a posterior and a draw from it: log p(z), and the rate, both `[...]`.

    A module of prior and encoder, so that `torch.func` can call it with the weights of any member.
    """

    def __init__(self, prior: Prior, encoder: nn.Module) -> None:
        super().__init__()
        self.prior = prior
        self.encoder = encoder

    def forward(self, code: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Of an encoder's output `[..., 2 latent]`, and z `[..., latent]` drawn from its posterior.

        Without a closed form, the rate is log q(z|x) - log p(z) of the one z of each image.
        """
        posterior = Posterior.from_code(code)
        log_prior = self.prior.log_density(z, self.encoder)
        closed = self.prior.closed_rate(posterior)
        return log_prior, sampled_rate(posterior, z, log_prior) if closed is None else closed


def sampled_rate(posterior: Posterior, z: Tensor, log_prior: Tensor) -> Tensor:
    """Log q(z|x) - log p(z), `[...]`; its derivative knows that the noise behind z does not depend on q."""
    noise = (z - posterior.mean).detach() * torch.exp(-0.5 * posterior.log_var.detach())
    return -0.5 * (noise.square() + posterior.log_var + LOG_2PI).sum(dim=-1) - log_prior


def mixture_log_density(z: Tensor, log_weight: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """The log density `[...]` of a mixture of diagonal Gaussians at z `[..., latent]`.

    Weights `[component]` add up to 1; means and log variances are `[component, latent]`.
    """
    away = (z.unsqueeze(-2) - mean).square() * torch.exp(-log_var)
    return torch.logsumexp(log_weight - 0.5 * (away + log_var + LOG_2PI).sum(dim=-1), dim=-1)


def mixture_sample(count: int, generator: torch.Generator, log_weight: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """Draws from the mixture of `mixture_log_density`, `[count, latent]`."""
    at = torch.multinomial(log_weight.exp(), count, replacement=True, generator=generator)
    noise = torch.randn(count, mean.shape[-1], generator=generator, dtype=mean.dtype, device=generator.device)
    return mean[at] + torch.exp(0.5 * log_var[at]) * noise
