"""Log p(x) with a proposal fitted to each image, and whether to believe it.

An encoder's posterior is a poor proposal: it is fitted to no image in particular, for β ≠ 1 to another objective, and
its tails are thin. Here each image gets its own, in steps that go as far as the image asks:

1. the mode of p(z|x), by Newton's method from the encoder's mean and from the likeliest of 0 and a few images' means,
   and the curvature there: a multivariate t of that shape (`posterior_mode`, `student_proposal`);
2. the best diagonal Gaussian, by Adam on the ELBO from the Gaussian that this curvature gives: its ELBO is a bound too,
   and no lower than the encoder's (`posterior_refit`);
3. K draws from the t, weights with a Pareto-smoothed tail (`pareto`). A prior given as a function may have several
   modes, and p(z|x) too: then a quarter of the draws comes from a t at each of four modes. Where k̂ is above 0.7, or
   fewer than `LEAST_EFFECTIVE` draws carry the weight, a component fitted to the weighted draws is added, and more
   draws are made from it. All draws are weighed under the mixture of all components;
4. where that fails: annealing (`annealing`) from the diagonal Gaussian, believed where its chains agree.

The value of an image is the highest of these bounds. Each is a lower bound in expectation, up to what smoothing does to
it, so that the highest may lie above log p(x) by their noise, some tenths of a nat. Where p(z|x) has a mode that no
step saw, the value is too low by any amount: a prior with several modes makes that likelier.
Axis order: `sample, image`, then features. Nats, float64.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.annealing import annealed_lower, sigmoidal_temperatures, tune_steps
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.importance import double_proposal, draw_noise, effective_samples, log_mean_exp, require_finite
from rdstudy.measures.noise import MemberNoise, Noise
from rdstudy.measures.pareto import RELIABLE_KHAT, pareto_smoothed
from rdstudy.measures.posterior_mode import Mode, posterior_mode
from rdstudy.measures.posterior_refit import Refit, refit_posterior
from rdstudy.measures.student_proposal import FREEDOM, Student, mixture_log_density, moment_matched
from rdstudy.model.gaussian import Posterior

LEAST_EFFECTIVE = 30.0
"""Effective draws below which an estimate is not believed whatever its k̂: its error is some 1/√30 of p(x), 0.2 nats."""

_NEWTON_STEPS = 15
_STARTS = 32
_MODES = 4  # under a prior given as a function
_NEAR = 5.0  # nats
_ROUNDS = 3
_MORE = 2  # times the draws before, in each further round
_WIDEN = 1.2  # of the scale at a mode, for what lies beyond the piece in which the decoder is linear
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

    def of(self, images: slice) -> "FittedLogMarginal":
        """What is said of some images."""
        return FittedLogMarginal(*(getattr(self, name)[images] for name in self.__annotations__))

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
    generator: Noise,
    most_annealed: int | None = None,
) -> FittedLogMarginal:
    """Estimate log p(x) of each image with a proposal of its own.

    Args:
        images: the images and the model, its prior among it; or those of several members.
        encoded: the encoder's q(z|x), `[image, latent]`.
        samples: K, draws of an image in the first round, the only one where its weights are reliable.
        refit_steps: of Adam, for the diagonal Gaussian.
        generator: of all noise.
        most_annealed: images of a member that are annealed at most, those with the largest k̂ first; None for all that
            fail.

    Raises:
        ValueError: no images, no samples, shapes that do not match, a posterior or a weight that is not finite.
    """
    if samples < 1:
        raise ValueError(f"{samples} importance samples; allowed: 1 or more")
    encoded = double_proposal(images, encoded)
    mode = _mode(images, encoded)
    refit = _refit(images, encoded, mode, steps=refit_steps, generator=generator)
    components = _components(images, encoded, mode)
    weighted = _weighted_by_member(images, components, samples=samples, generator=generator)
    value, passed = torch.maximum(weighted.value, refit.elbo_after), weighted.reliable
    annealed = torch.zeros_like(passed)
    by_member = [part.start + _failed(weighted.of(part), most_annealed) for part in images.members()]
    failed = torch.cat(by_member)
    if len(failed):
        fitted = Posterior(refit.posterior.mean[failed], refit.posterior.log_var[failed])
        noise = generator.of([len(part) for part in by_member]) if isinstance(generator, MemberNoise) else generator
        bound, agree = _annealed(images.select(failed), fitted, noise)
        higher = bound > value[failed]
        value[failed] = torch.where(higher, bound, value[failed])
        annealed[failed] = higher
        passed[failed] = agree  # and where an importance sample is the higher bound, it lies within the chains' noise
    return FittedLogMarginal(
        value, refit.elbo_before, refit.elbo_after, weighted.khat, weighted.effective_samples, passed, annealed
    )


# --- the fit ----------------------------------------------------------------------------------------------------------


def _mode(images: ImageDistortion, encoded: Posterior) -> Mode:
    """The lower of two descents: from the encoder's mean, and from the likeliest of 0 and a few other images' means."""
    z = _starts(images, encoded)
    energy = images.at(z) + images.prior.energy(z)
    mode = posterior_mode(images, encoded.mean, steps=_NEWTON_STEPS)
    in_doubt = (energy.amin(dim=0) < mode.energy + _NEAR).nonzero()[:, 0]  # a start lies about where the descent ended
    if not len(in_doubt):
        return mode
    likeliest = z[energy.argmin(dim=0)[in_doubt], in_doubt]
    second = posterior_mode(images.select(in_doubt), likeliest, steps=_NEWTON_STEPS)
    return mode.lower_of(second, in_doubt)


def _starts(images: ImageDistortion, encoded: Posterior) -> Tensor:
    """For each image the means of a few images of its member, and 0: `[start, image, latent]`."""
    means = [encoded.mean[part] for part in images.members()]
    starts = [torch.cat([mean[:_STARTS], torch.zeros_like(mean[:1])]) for mean in means]
    return torch.cat([of[:, None].expand(-1, len(mean), -1) for of, mean in zip(starts, means, strict=True)], dim=1)


def _components(images: ImageDistortion, encoded: Posterior, mode: Mode) -> list[Student]:
    """What to draw from first: a t at the mode, and under a prior given as a function at further modes.

    Each further mode is sought from the start with the largest importance weight under the components before it. Where
    these cover p(z|x), the descent ends at a mode that already has a component, which then counts twice.
    """
    components = [_student(mode)]
    if images.log_prior is None:
        return components
    z = _starts(images, encoded)
    log_joint, image = _log_joint(images, z), torch.arange(z.shape[1], device=z.device)
    while len(components) < _MODES:
        left_out = log_joint - mixture_log_density(components, [1] * len(components), z)
        components.append(_student(posterior_mode(images, z[left_out.argmax(dim=0), image], steps=_NEWTON_STEPS)))
    return components


def _student(mode: Mode) -> Student:
    return Student(mode.z, _WIDEN * torch.linalg.cholesky(torch.linalg.inv(mode.precision)))


def _refit(images: ImageDistortion, encoded: Posterior, mode: Mode, *, steps: int, generator: Noise) -> Refit:
    """The best diagonal Gaussian, from the one that is best for a quadratic energy, of variances 1 / precision.

    It is the encoder's where the steps end at a lower ELBO than the encoder's.
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

    @classmethod
    def joined(cls, parts: list["_Weighted"]) -> "_Weighted":
        """What the weights of several members say, side by side."""
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in cls.__annotations__))

    def of(self, images: slice) -> "_Weighted":
        """What those of some images say."""
        return _Weighted(*(getattr(self, name)[images] for name in self.__annotations__))

    def put(self, at: Tensor, later: "_Weighted") -> None:
        """Replace the numbers of the images `at` by those of a later round."""
        for name in _Weighted.__annotations__:
            getattr(self, name)[at] = getattr(later, name)


def _weighted_by_member(
    images: ImageDistortion, components: list[Student], *, samples: int, generator: Noise
) -> _Weighted:
    """Member by member: draws of many members at once would need as many times the memory, and are no faster."""
    parts = images.members()
    generators = generator.generators if isinstance(generator, MemberNoise) else [generator]
    return _Weighted.joined(
        [
            _weighted(images.select(part), [of.select(part) for of in components], samples=samples, generator=own)
            for part, own in zip(parts, generators, strict=True)
        ]
    )


def _weighted(
    images: ImageDistortion, components: list[Student], *, samples: int, generator: torch.Generator
) -> _Weighted:
    """Rounds of draws, the later ones for the images whose weights are not reliable yet."""
    draws = [math.ceil(samples / len(components))] * len(components)
    z = torch.cat([component.sample(_noise(draws[0], component, generator)) for component in components])
    log_joint = _log_joint(images, z)
    weights = log_joint - mixture_log_density(components, draws, z)
    result = _summary(weights)
    unreliable = torch.arange(len(images.x), device=z.device)
    for _ in range(_ROUNDS - 1):
        kept = (~result.reliable[unreliable]).nonzero()[:, 0]  # of those of the round before
        if not len(kept):
            break
        unreliable, images = unreliable[kept], images.select(kept)
        components = [component.select(kept) for component in components]
        components.append(moment_matched(z[:, kept], weights[:, kept], fallback=components[0]))
        draws.append(_MORE * sum(draws))
        drawn = components[-1].sample(_noise(draws[-1], components[-1], generator))
        z = torch.cat([z[:, kept], drawn])
        log_joint = torch.cat([log_joint[:, kept], _log_joint(images, drawn)])
        weights = log_joint - mixture_log_density(components, draws, z)
        result.put(unreliable, _summary(weights))
    return result


def _noise(samples: int, component: Student, generator: torch.Generator) -> Tensor:
    images, latent = component.mean.shape
    return draw_noise(samples, component.mean.new_empty(images, latent + FREEDOM), generator)


def _log_joint(images: ImageDistortion, z: Tensor) -> Tensor:
    """The log of p(x, z), `[sample, image]`."""
    return images.prior.log_density(z) - images.at(z)


def _summary(log_weights: Tensor) -> _Weighted:
    require_finite(log_weights, "log weights")
    smoothed = pareto_smoothed(log_weights)
    return _Weighted(log_mean_exp(smoothed.log_weights), smoothed.khat, effective_samples(log_weights))


# --- annealing --------------------------------------------------------------------------------------------------------


def _failed(weighted: _Weighted, most: int | None) -> Tensor:
    """The images whose importance weights are not reliable, the worst first."""
    failed = (~weighted.reliable).nonzero()[:, 0]
    return failed[weighted.khat[failed].argsort(descending=True)][:most]


def _annealed(images: ImageDistortion, initial: Posterior, generator: Noise) -> tuple[Tensor, Tensor]:
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
    return chains.bound, effective_samples(chains.log_weights) >= _AGREEING_CHAINS
