"""Of a linear VAE on Gaussian pixels: what its weights give exactly, and what the best weights would give."""

import dataclasses

import torch
from torch import Tensor, nn

from rdstudy.measuring.trained import TrainedMember
from rdstudy.model.linear_gaussian import LinearVae, linear_vae_exact, optimum
from rdstudy.study import Member, parts

_MOST_SPREAD = 0.5
"""Standard deviation over images of a log variance that the closed forms take for constant: 0.5 is 0.1 nats of R."""


def closed_form(trained: TrainedMember, subset: str) -> None:
    """Note closed forms for the mean and covariance of a subset's own images; nothing for other members.

    Raises:
        ValueError: the variance of the learned q(z|x) depends too much on x.
    """
    member = trained.member
    sigma = _sigma(member)
    if sigma is None:
        return
    images = torch.cat([block.double() / 255 for block in trained.subsets.whole[subset].blocks()])  # [image, pixel]
    mean, covariance = images.mean(dim=0), images.T.cov(correction=0)
    vae = _linear_vae(trained, mean, covariance)
    exact = linear_vae_exact(vae, data_mean=mean, data_covariance=covariance, noise_variance=sigma**2)
    trained.columns[subset] |= {
        f"exact_{field.name}": getattr(exact, field.name).item() for field in dataclasses.fields(exact)
    }
    best = optimum(
        data_mean=mean,
        data_covariance=covariance,
        noise_variance=sigma**2,
        beta=member.beta,
        latent_dim=member.latent_dim,
    )
    trained.columns[subset] |= {
        "best_distortion": best.distortion,
        "best_rate": best.rate,
        "best_log_marginal": best.log_marginal,
    }


def _sigma(member: Member) -> float | None:
    """Standard deviation of a pixel of a member that has closed forms: N(0, I), affine maps, and a σ that is given."""
    if (member.architecture, member.prior, parts.parse(member.likelihood).name) != ("linear", "normal", "gaussian"):
        return None
    sigma = parts.arguments_of("likelihood", member.likelihood)["sigma"]
    return None if isinstance(sigma, str) else sigma


def _linear_vae(trained: TrainedMember, mean: Tensor, covariance: Tensor) -> LinearVae:
    """The member's weights, its log variances replaced by their means over the images."""
    encoder, decoder = _only_layer(trained.vae.encoder), _only_layer(trained.vae.decoder)
    latent = trained.member.latent_dim
    weight, bias = encoder.weight.double().cpu(), encoder.bias.double().cpu()
    of_log_var = weight[latent:]
    spread = (of_log_var @ covariance @ of_log_var.T).diagonal().max().sqrt().item()
    if not spread <= _MOST_SPREAD:
        raise ValueError(
            f"a log variance of q(z|x) varies by {spread:.3g} over images; allowed: {_MOST_SPREAD} or less"
        )
    return LinearVae(
        encoder_weight=weight[:latent],
        encoder_bias=bias[:latent],
        log_var=bias[latent:] + of_log_var @ mean,
        decoder_weight=decoder.weight.double().cpu(),
        decoder_bias=decoder.bias.double().cpu(),
    )


def _only_layer(network: nn.Module) -> nn.Linear:
    layers = [module for module in network.modules() if isinstance(module, nn.Linear)]
    assert len(layers) == 1, "a linear network has one layer"
    return layers[0]
