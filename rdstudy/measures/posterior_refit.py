"""The best diagonal Gaussian posterior of given images under a frozen decoder: what the encoder's shortcut costs.

Cremer, Li and Duvenaud (2018), equation 3, split the inference gap log p(x) - ELBO in two: the amortization gap, ELBO
of the best q(z|x) in the family less that of the encoder's, and the approximation gap, log p(x) less that of the best.
The best is found as they do, by Adam on the ELBO (β = 1) of each image's own mean and log variance, from the encoder's
or a better start; where that ends below the encoder's ELBO, it is the encoder's.
Sums over pixels and latent dimensions, in nats per image. Axis order: `sample, image`, then features.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import double_proposal, draw_noise, log_weights, require_finite
from rdstudy.measures.noise import Noise
from rdstudy.model.gaussian import Posterior, rate, rate_gradient


@dataclass(frozen=True)
class Refit:
    """ELBOs before and after, estimated with the same noise, and the posterior they lead to. Float64."""

    elbo_before: Tensor  # [image], nats
    elbo_after: Tensor  # [image], nats; never below `elbo_before`
    posterior: Posterior  # [image, latent]


@torch.no_grad()
def refit_posterior(
    images: ImageDistortion,
    encoded: Posterior,
    *,
    start: Posterior | None = None,
    steps: int,
    learning_rate: float,
    samples_per_step: int,
    evaluation_samples: int,
    generator: Noise,
) -> Refit:
    """Maximize each image's ELBO over the mean and the log variance of its own posterior.

    The learning rate falls linearly to zero, so that the end is not one more draw of the noisy path. An image's result
    does not depend on the images beside it but through the noise drawn for it; the decoder's parameters and their
    gradients are left alone. The noise of the evaluation is drawn first: it is the same for any number of steps.

    Args:
        images: the images and the model.
        encoded: the encoder's q(z|x), `[image, latent]`.
        start: where the steps begin, `[image, latent]`; None for the encoder's.
        steps: of Adam.
        learning_rate: of the first step, in units of z and of log variance.
        samples_per_step: z an image for each gradient.
        evaluation_samples: z an image in both ELBOs: for the distortion, and for the rate under another prior than
            N(0, I), under which it is exact.
        generator: of all noise.

    Raises:
        ValueError: a count below 1, a learning rate that is not positive, shapes that do not match, a posterior or an
            ELBO that is not finite.
    """
    counts = {"steps": steps, "samples_per_step": samples_per_step, "evaluation_samples": evaluation_samples}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} {count}; allowed: 1 or more")
    if not 0 < learning_rate < float("inf"):
        raise ValueError(f"learning_rate {learning_rate}; allowed: more than 0, finite")
    encoded = double_proposal(images, encoded)
    start = encoded if start is None else double_proposal(images, start)
    evaluation_noise = draw_noise(evaluation_samples, start.mean, generator)
    code = torch.cat([start.mean, start.log_var], dim=-1)
    optimizer = torch.optim.Adam([code], lr=learning_rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        noise = draw_noise(samples_per_step, start.mean, generator)
        code.grad = _gradient(images, Posterior.from_code(code), noise)
        optimizer.step()
    fitted = double_proposal(images, Posterior.from_code(code))
    before, after = (_elbo(images, posterior, evaluation_noise) for posterior in (encoded, fitted))
    better = (after > before)[:, None]
    mean, log_var = (torch.where(better, getattr(fitted, name), getattr(encoded, name)) for name in ("mean", "log_var"))
    return Refit(before, torch.maximum(before, after), Posterior(mean, log_var))


def _gradient(images: ImageDistortion, posterior: Posterior, noise: Tensor) -> Tensor:
    """The derivative of -ELBO in mean and log variance, `[image, 2 latent]`: through z = μ + σ ε, plus the rate's.

    Under N(0, I) the rate's is exact. Under another prior its energy is differentiated through z like the distortion,
    and what remains of the rate, E log q(z|x) = -½ Σ log σ² + constant, has the derivative -½ in log σ².
    """
    spread = torch.exp(0.5 * posterior.log_var) * noise
    z = posterior.mean + spread
    in_z = images.with_gradient(z).gradient
    if images.log_prior is None:
        beside = rate_gradient(posterior)
    else:
        in_z = in_z + images.prior.with_gradient(z).gradient
        beside = torch.cat([torch.zeros_like(spread[0]), torch.full_like(spread[0], -0.5)], dim=-1)
    through_z = torch.cat([in_z.mean(dim=0), 0.5 * (in_z * spread).mean(dim=0)], dim=-1)
    return through_z + beside


def _elbo(images: ImageDistortion, posterior: Posterior, noise: Tensor) -> Tensor:
    """The ELBO `[image]`: the mean log weight, its rate exact where the prior has a closed form."""
    if images.log_prior is not None:
        return require_finite(log_weights(images, posterior, noise).mean(dim=0), "ELBOs")
    distortion = images.at(posterior.sample(noise)).mean(dim=0)
    return require_finite(-distortion - rate(posterior), "ELBOs")
