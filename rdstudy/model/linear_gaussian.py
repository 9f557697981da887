"""Closed forms of linear VAEs on Gaussian data, against which every measure can be held. All in float64.

    data     x ~ N(m, C)
    encoder  q(z|x) = N(A x + a, S), S diagonal and the same for all x
    decoder  p(x|z) = N(W z + b, σ² I), prior p(z) = N(0, I)

This is probabilistic PCA (Tipping & Bishop 1999), read as a VAE (Lucas et al. 2019, "Don't Blame the ELBO!"). All
expectations are over the data's distribution, all values in nats per image. Distortion and rate need no more of the
data than its mean and covariance, so that those of a sample give its mean distortion and rate exactly, Gaussian or not.
Matrices act on columns: A is `[latent, pixel]`, W `[pixel, latent]`, as in `torch.nn.Linear.weight`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LOG_2PI = math.log(2 * math.pi)


@dataclass(frozen=True)
class LinearVae:
    """Both networks of a linear VAE, with a posterior variance that does not depend on the image."""

    encoder_weight: Tensor  # A [latent, pixel]
    encoder_bias: Tensor  # a [latent]
    log_var: Tensor  # log of the diagonal of S [latent]
    decoder_weight: Tensor  # W [pixel, latent]
    decoder_bias: Tensor  # b [pixel]


@dataclass(frozen=True)
class LinearGaussianExact:
    """What a linear VAE's measures are, in nats per image. Tensors without axes, differentiable in the weights."""

    distortion: Tensor  # -E log p(x|z)
    rate: Tensor  # E KL(q(z|x) || p(z)) = mutual_information + marginal_kl
    mutual_information: Tensor  # I_q[x; z]
    marginal_kl: Tensor  # KL(q(z) || p(z)) = total_correlation + dimension_kl
    total_correlation: Tensor  # KL(q(z) || Π q(z_j))
    dimension_kl: Tensor  # Σ_j KL(q(z_j) || p(z_j))
    log_marginal: Tensor  # E log p(x)


@dataclass(frozen=True)
class LinearOptimum:
    """The minimum of D + β R over all linear VAEs."""

    vae: LinearVae  # one of them: a rotation of z within the active dimensions gives others, with one and the same D
    active: int  # dimensions that carry information
    distortion: float  # nats per image
    rate: float  # nats per image; all of it mutual information, because q(z) is the prior
    log_marginal: float  # E log p(x), nats per image


def linear_vae_exact(
    vae: LinearVae, *, data_mean: Tensor, data_covariance: Tensor, noise_variance: float
) -> LinearGaussianExact:
    """All measures of any linear VAE, optimal or not.

    The code of Gaussian data is Gaussian too, q(z) = N(A m + a, Q) with Q = A C Aᵀ + S; with r = m - W (A m + a) - b,

        D    = [|r|² + tr (I - W A) C (I - W A)ᵀ + tr W S Wᵀ] / (2 σ²) + P/2 log(2π σ²)
        I_q  = ½ [log det Q - log det S]
        TC   = ½ [Σ_j log Q_jj - log det Q]
        Σ KL = ½ Σ_j [Q_jj + (A m + a)_j² - 1 - log Q_jj],

    R is the sum of the last three, and p(x) = N(b, W Wᵀ + σ² I).

    Args:
        vae: the encoder and the decoder.
        data_mean: m, `[pixel]`.
        data_covariance: C, `[pixel, pixel]`.
        noise_variance: σ² of the likelihood.
    """
    mean, covariance = data_mean.double(), data_covariance.double()
    encoder, decoder, bias = vae.encoder_weight.double(), vae.decoder_weight.double(), vae.decoder_bias.double()
    log_var = vae.log_var.double()
    pixels = len(mean)
    code_mean = encoder @ mean + vae.encoder_bias.double()
    code_covariance = encoder @ covariance @ encoder.T + log_var.exp().diag()
    residual = torch.eye(pixels, dtype=torch.float64) - decoder @ encoder
    squares = (
        (mean - decoder @ code_mean - bias).square().sum()
        + ((residual @ covariance) * residual).sum()
        + (decoder.square() @ log_var.exp()).sum()
    )
    log_det, spread = torch.logdet(code_covariance), code_covariance.diagonal()
    mutual_information = 0.5 * (log_det - log_var.sum())
    total_correlation = 0.5 * (spread.log().sum() - log_det)
    dimension_kl = 0.5 * (spread + code_mean.square() - 1 - spread.log()).sum()
    return LinearGaussianExact(
        distortion=squares / (2 * noise_variance) + 0.5 * pixels * (_LOG_2PI + math.log(noise_variance)),
        rate=mutual_information + total_correlation + dimension_kl,
        mutual_information=mutual_information,
        marginal_kl=total_correlation + dimension_kl,
        total_correlation=total_correlation,
        dimension_kl=dimension_kl,
        log_marginal=_mean_log_marginal(decoder, mean - bias, covariance, noise_variance),
    )


def optimum(
    *, data_mean: Tensor, data_covariance: Tensor, noise_variance: float, beta: float, latent_dim: int
) -> LinearOptimum:
    """The minimum of D + β R over all linear VAEs.

    D + β R is, but for a constant, β times the negative ELBO of a VAE with noise τ = β σ². A linear VAE's ELBO reaches
    log p(x), whose maximum is that of probabilistic PCA with this τ (Tipping & Bishop 1999, equation 7): with
    eigenvalues λ_i and eigenvectors u_i of C, the largest `latent_dim` with λ_i > τ are active, and

        W_i = u_i √(λ_i - τ),  A_i = u_iᵀ √(λ_i - τ) / λ_i,  S_i = τ / λ_i,
        R = ½ Σ_active log(λ_i / τ),
        D = [Σ_others λ_i + active τ] / (2 σ²) + P/2 log(2π σ²).

    All other dimensions have W_i = 0 and the prior as posterior. Then q(z) = N(0, I): R is all mutual information.

    Args:
        data_mean: m, `[pixel]`.
        data_covariance: C, `[pixel, pixel]`.
        noise_variance: σ² of the likelihood.
        beta: above 0.
        latent_dim: dimensions of z.

    Raises:
        ValueError: beta is not a finite number above 0, or `latent_dim` is no number of dimensions from 1 to pixels.
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta is {beta}; allowed: a finite number above 0, where an optimum exists")
    if not 1 <= latent_dim <= len(data_mean):
        raise ValueError(f"latent_dim is {latent_dim}; allowed: 1 to {len(data_mean)}, the number of pixels")
    mean, covariance, tau = data_mean.double(), data_covariance.double(), beta * noise_variance
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(covariance))  # the largest first
    largest = values[:latent_dim]
    active = int((largest > tau).sum())
    scale = (largest - tau).clamp(min=0).sqrt()
    spread = largest.clamp(min=tau)  # τ where inactive: scale / spread is 0 there, and τ / spread is 1
    encoder, decoder = (vectors[:, :latent_dim] * (scale / spread)).T, vectors[:, :latent_dim] * scale
    kept = values[:active]
    squares = (values[active:].sum() + active * tau).item()
    likely = kept - tau + noise_variance  # eigenvalues of W Wᵀ + σ² I
    quadratic = (kept / likely).sum() + values[active:].sum() / noise_variance
    log_det = likely.log().sum() + (len(mean) - active) * math.log(noise_variance)
    return LinearOptimum(
        vae=LinearVae(encoder, -encoder @ mean, (tau / spread).log(), decoder, mean),
        active=active,
        distortion=squares / (2 * noise_variance) + 0.5 * len(mean) * (_LOG_2PI + math.log(noise_variance)),
        rate=0.5 * (kept / tau).log().sum().item(),
        log_marginal=-0.5 * (len(mean) * _LOG_2PI + log_det + quadratic).item(),
    )


def _mean_log_marginal(weight: Tensor, offset: Tensor, covariance: Tensor, noise_variance: float) -> Tensor:
    """E log N(x; b, W Wᵀ + σ² I) over x of a covariance, whose mean is `offset` from b."""
    model = weight @ weight.T + noise_variance * torch.eye(len(offset), dtype=torch.float64)
    second_moment = covariance + torch.outer(offset, offset)
    quadratic = torch.linalg.solve(model, second_moment).trace()
    log_marginal: Tensor = -0.5 * (len(offset) * _LOG_2PI + torch.logdet(model) + quadratic)
    return log_marginal
