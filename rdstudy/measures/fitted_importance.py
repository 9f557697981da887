"""Log p(x) with a proposal fitted to each image, and whether to believe it.

An encoder's posterior is a poor proposal: it is fitted to no image in particular, for β ≠ 1 to another objective, and
its tails are thin. Here each image gets its own, in steps that go as far as the image asks:

1. the mode of p(z|x), by Newton's method from the encoder's mean and from the likeliest of the other starts, and the
   curvature there: a multivariate t of that shape (`posterior_mode`, `student_proposal`);
2. the best diagonal Gaussian, from the one that suits this curvature, by Adam on the ELBO: its ELBO is a bound too, and
   no lower than the encoder's (`posterior_refit`);
3. K draws from the t, weights with a Pareto-smoothed tail (`pareto`). Where k̂ is above 0.7, or fewer than
   `LEAST_EFFECTIVE` draws carry the weight: components fitted to the weighted draws are added, and more draws, all of
   them weighed under the mixture of all components, so that none is thrown away;
4. where that fails: annealing (`annealing`) from the diagonal Gaussian, believed where its chains agree.

The value of an image is the highest of these bounds. Each is a lower bound in expectation, up to what smoothing does to
it, so that the highest may lie above log p(x) by their noise, some tenths of a nat; and a mode that none of them saw
makes the value too low by any amount. Axis order: `sample, image`, then features. Nats, float64.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.aggregate import LOG_2PI
from rdstudy.measures.annealing import annealed_lower, sigmoidal_temperatures, tune_steps
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import double_proposal, draw_noise, log_mean_exp, require_finite, summarize
from rdstudy.measures.pareto import RELIABLE_KHAT, pareto_smoothed
from rdstudy.measures.posterior_mode import Mode, posterior_mode
from rdstudy.measures.posterior_refit import Refit, refit_posterior
from rdstudy.measures.student_proposal import FREEDOM, Student, mixture_log_density, moment_matched
from rdstudy.model.gaussian import Posterior

LEAST_EFFECTIVE = 30.0
"""Effective draws below which an estimate is not believed whatever its k̂: its error is some 1/√30 of p(x), 0.2 nats."""

_NEWTON_STEPS = 15
_STARTS = 32
_NEAR = 5.0  # nats
_ROUNDS = 3
_MORE = 2  # times the draws before, in each further round
_WIDEN = 1.2  # of the first component's scale, for what lies beyond the piece in which the decoder is linear
_CHAINS = 16
_PILOT_CHAINS = 4
_AGREEING_CHAINS = 4.0  # effective chains of an annealed bound that is believed
_TEMPERATURES = 60
_LEAPFROG_STEPS = 5
_REFIT_SAMPLES = 4
_REFIT_LEARNING_RATE = 0.02
_ELBO_SAMPLES = 100


@dataclass(frozen=True)
class FittedLogMarginal:
    """Log p(x) of images, the ELBOs beside it, and how far to trust it. Nats, float64."""

    log_marginal: Tensor  # [image]: the highest lower bound
    elbo: Tensor  # [image]: of the encoder's posterior
    refit_elbo: Tensor  # [image]: of the diagonal Gaussian fitted to the image; never below `elbo`
    khat: Tensor  # [image]: Pareto k̂ of the importance weights
    effective_samples: Tensor  # [image]: (Σ w)² / Σ w² of them (Kish 1965)
    passed: Tensor  # [image] bool: whether the value can be believed
    annealed: Tensor  # [image] bool: whether it is an annealed bound

    @property
    def inference_gap(self) -> Tensor:
        """The gap log p(x) - ELBO, `[image]`: never below `refit_gain`, nor 0."""
        return self.log_marginal - self.elbo

    @property
    def refit_gain(self) -> Tensor:
        """What fitting a posterior to the image gains (Cremer et al. 2018: the amortization gap), `[image]`."""
        return self.refit_elbo - self.elbo


@torch.no_grad()
def fitted_log_marginal(
    images: ImageDistortion,
    encoded: Posterior,
    *,
    samples: int,
    refit_steps: int,
    generator: torch.Generator,
    most_annealed: int | None = None,
) -> FittedLogMarginal:
    """Estimate log p(x) of each image with a proposal of its own.

    Args:
        images: the images and the model, with the prior N(0, I).
        encoded: the encoder's q(z|x), `[image, latent]`.
        samples: K, draws of an image whose weights ask for no more.
        refit_steps: of Adam, for the diagonal Gaussian.
        generator: of all noise.
        most_annealed: images that are annealed at most, those with the largest k̂ first; None for all that ask for it.

    Raises:
        ValueError: no images, no samples, shapes that do not match, a posterior or a weight that is not finite.
    """
    if samples < 1:
        raise ValueError(f"{samples} importance samples; allowed: 1 or more")
    encoded = double_proposal(images, encoded)
    mode = _mode(images, encoded)
    refit = _refit(images, encoded, mode, steps=refit_steps, generator=generator)
    found = _weighted(images, mode, samples=samples, generator=generator)
    value, passed = torch.maximum(found.value, refit.elbo_after), found.reliable
    annealed = torch.zeros_like(passed)
    asked = _asking(found, most_annealed)
    if len(asked):
        fitted = Posterior(refit.posterior.mean[asked], refit.posterior.log_var[asked])
        bound, agree = _annealed(images.select(asked), fitted, generator)
        higher = bound > value[asked]
        value[asked] = torch.where(higher, bound, value[asked])
        annealed[asked] = higher
        passed[asked] = agree  # and where an importance sample is the higher bound, it lies within the chains' noise
    return FittedLogMarginal(
        value, refit.elbo_before, refit.elbo_after, found.khat, found.effective_samples, passed, annealed
    )


# --- the fit ----------------------------------------------------------------------------------------------------------


def _mode(images: ImageDistortion, encoded: Posterior) -> Mode:
    """The lower of two descents: from the encoder's mean, and from the likeliest of 0 and some other images' means."""
    others = torch.cat([encoded.mean[:_STARTS], torch.zeros_like(encoded.mean[:1])])
    z = others[:, None].expand(-1, len(images.x), -1)
    energy = images.at(z) + 0.5 * z.square().sum(dim=-1)
    mode = posterior_mode(images, encoded.mean, steps=_NEWTON_STEPS)
    lost = (energy.amin(dim=0) < mode.energy + _NEAR).nonzero()[:, 0]  # others begin about where it ended
    if not len(lost):
        return mode
    again = posterior_mode(images.select(lost), others[energy.argmin(dim=0)[lost]], steps=_NEWTON_STEPS)
    return mode.lower_of(again, lost)


def _refit(images: ImageDistortion, encoded: Posterior, mode: Mode, *, steps: int, generator: torch.Generator) -> Refit:
    """The best diagonal Gaussian, from the one that is best for a quadratic energy: its variances are 1 / precision.

    Where the steps from it lead to a worse one than the encoder's, it is the encoder's.
    """
    start = Posterior(mode.z, -mode.precision.diagonal(dim1=-2, dim2=-1).log())
    return refit_posterior(
        images,
        encoded,
        start=start,
        steps=steps,
        learning_rate=_REFIT_LEARNING_RATE,
        samples_per_step=_REFIT_SAMPLES,
        evaluation_samples=_ELBO_SAMPLES,
        generator=generator,
    )


# --- weights ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Weighted:
    """What the weights of each image say."""

    value: Tensor  # [image]: log of the mean smoothed weight
    khat: Tensor  # [image]
    effective_samples: Tensor  # [image]

    @property
    def reliable(self) -> Tensor:
        return (self.khat <= RELIABLE_KHAT) & (self.effective_samples >= LEAST_EFFECTIVE)

    def put(self, at: Tensor, later: "_Weighted") -> None:
        """Take the numbers of some images from a later round."""
        for name in _Weighted.__annotations__:
            getattr(self, name)[at] = getattr(later, name)


def _weighted(images: ImageDistortion, mode: Mode, *, samples: int, generator: torch.Generator) -> _Weighted:
    """Rounds of draws, the later ones for the images whose weights ask for them."""
    draws = [samples]
    components = [Student(mode.z, _WIDEN * torch.linalg.cholesky(torch.linalg.inv(mode.precision)))]
    z = components[0].sample(_noise(samples, components[0], generator))
    log_joint = _log_joint(images, z)
    weights = log_joint - components[0].log_density(z)
    found = _summary(weights)
    asking = torch.arange(len(images.x), device=z.device)
    for _ in range(_ROUNDS - 1):
        still = (~found.reliable[asking]).nonzero()[:, 0]
        if not len(still):
            break
        asking, images = asking[still], images.select(still)
        components = [component.select(still) for component in components]
        components.append(moment_matched(z[:, still], weights[:, still], fallback=components[0]))
        draws.append(_MORE * sum(draws))
        drawn = components[-1].sample(_noise(draws[-1], components[-1], generator))
        z = torch.cat([z[:, still], drawn])
        log_joint = torch.cat([log_joint[:, still], _log_joint(images, drawn)])
        weights = log_joint - mixture_log_density(components, draws, z)
        found.put(asking, _summary(weights))
    return found


def _noise(samples: int, component: Student, generator: torch.Generator) -> Tensor:
    images, latent = component.mean.shape
    return draw_noise(samples, component.mean.new_empty(images, latent + FREEDOM), generator)


def _log_joint(images: ImageDistortion, z: Tensor) -> Tensor:
    """The log of p(x, z), `[sample, image]`."""
    return -images.at(z) - 0.5 * (z.square() + LOG_2PI).sum(dim=-1)


def _summary(log_weights: Tensor) -> _Weighted:
    require_finite(log_weights, "log weights")
    smoothed = pareto_smoothed(log_weights)
    return _Weighted(log_mean_exp(smoothed.log_weights), smoothed.khat, summarize(log_weights).effective_samples)


# --- annealing --------------------------------------------------------------------------------------------------------


def _asking(found: _Weighted, most: int | None) -> Tensor:
    """The images that importance weights failed, the worst first."""
    failed = (~found.reliable).nonzero()[:, 0]
    return failed[found.khat[failed].argsort(descending=True)][:most]


def _annealed(images: ImageDistortion, initial: Posterior, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Annealed lower bounds `[image]`, and whether the chains of each agree."""
    path = tune_steps(
        images,
        initial,
        temperatures=sigmoidal_temperatures(_TEMPERATURES + 1),
        chains=_PILOT_CHAINS,
        leapfrog_steps=_LEAPFROG_STEPS,
        generator=generator,
    )
    chains = annealed_lower(images, initial, path, chains=_CHAINS, generator=generator)
    return chains.bound, summarize(chains.log_weights).effective_samples >= _AGREEING_CHAINS
