"""Each measure of a member: what it is computed on, and the columns that it fills."""

import math

import numpy as np
import torch
from torch import Tensor

from rdstudy.measures.active_units import active_units
from rdstudy.measures.batch_estimate import batch_rate_parts
from rdstudy.measures.certificate import certify
from rdstudy.measures.estimate import estimate_mean
from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.memorization import copied_fraction, nearest_in_blocks, three_sample
from rdstudy.measures.neighbours import Neighbours
from rdstudy.measures.optimal_decoder import optimal_distortion
from rdstudy.measures.rate_parts import cross_rate, mean_rate, rate_parts
from rdstudy.seeds import derive_seed
from rdstudy.training.measuring.closed_form import closed_form
from rdstudy.training.measuring.images import control_index, image_blocks, note_reconstructions, probe_index
from rdstudy.training.measuring.subject import Measure, Subject
from rdstudy.training.subsets import BLOCK_IMAGES, to_unit

_ANNEALED_SHARE = 0.1
"""Of images, those that are annealed at most: each costs as much as importance weights of twenty."""
_MOST_IMAGES = 0.95  # of images have a Pareto k̂ of at most what the row says
_LEAST_KHAT = -1.0  # of weights that are all equal, whose k̂ is -inf
_ANNEALING_CHAINS = 4
_LEAPFROG_STEPS = 10
_BATCH_SIZE = 512  # of the paper's estimate (paper, 4.5)
_BATCHES = 8  # of it at most
_GAP_ERRORS = 4.0  # standard errors by which annealed bounds may cross


def _rate_parts(subject: Subject, subset: str) -> None:
    posterior, measures = subject.posterior(subset), subject.measures
    chosen = subject.chosen(len(posterior.mean), measures.latent_samples, f"latent {subset}")
    noise = subject.noise(len(chosen), f"latent {subset}")
    parts = rate_parts(posterior, chosen=chosen, noise=noise, memory_bytes=subject.memory_bytes)
    subject.columns[subset] |= {
        "aggregate_images": parts.images,
        "latent_samples": len(chosen),
        "aggregate_rate": mean_rate(posterior, memory_bytes=subject.memory_bytes),
    }
    subject.put(
        subset,
        mutual_information=parts.mutual_information,
        marginal_kl=parts.marginal_kl,
        total_correlation=parts.total_correlation,
        dimension_kl=parts.dimension_kl,
    )


def _batch_rate_parts(subject: Subject, subset: str) -> None:
    posterior = subject.posterior(subset)
    order = subject.chosen(len(posterior.mean), _BATCHES * _BATCH_SIZE, f"batches {subset}")
    parts = batch_rate_parts(
        posterior,
        order=order,
        noise=subject.noise(len(order), f"batches {subset}"),
        batch_size=_BATCH_SIZE,
        memory_bytes=subject.memory_bytes,
    )
    subject.put(subset, mutual_information_b512=parts.mutual_information, marginal_kl_b512=parts.marginal_kl)


def _cross_rate(subject: Subject, subset: str) -> None:
    test, train = subject.posterior("test"), subject.posterior("train")
    chosen = subject.chosen(len(test.mean), subject.measures.latent_samples, "latent test")
    noise = subject.noise(len(chosen), "latent test")
    value = cross_rate(test, train_posterior=train, chosen=chosen, noise=noise, memory_bytes=subject.memory_bytes)
    subject.put(subset, cross_rate=value)


def _active_units(subject: Subject, subset: str) -> None:
    subject.columns[subset]["active_units"] = active_units(subject.posterior(subset).mean)


def _log_marginal(subject: Subject, subset: str) -> None:
    sample = subject.sample(subset, subject.measures.importance_images, "importance")
    pixels = subject.images(sample.index)
    found = _importance(subject, to_unit(pixels), f"importance {subset}")
    floors = subject.likelihood.floor(to_unit(pixels)).double()
    subject.put(
        subset,
        log_marginal=estimate_mean(found.log_marginal),
        inference_gap=estimate_mean(found.inference_gap),
        refit_elbo_before=estimate_mean(found.elbo),
        refit_elbo_after=estimate_mean(found.refit_elbo),
        refit_gain=estimate_mean(found.refit_gain),
    )
    khat = found.khat.clamp(min=_LEAST_KHAT).quantile(_MOST_IMAGES).item()
    subject.columns[subset] |= {
        "importance_images": len(sample),
        "importance_samples": subject.measures.importance_samples,
        "refit_images": len(sample),
        "log_marginal_floor": floors.mean().item(),
        "log_marginal_ess": found.effective_samples.mean().item(),
        "log_marginal_khat": khat if math.isfinite(khat) else None,
        "log_marginal_passed": found.passed.double().mean().item(),
        "log_marginal_annealed": found.annealed.double().mean().item(),
        "image_log_marginal": (found.log_marginal + floors).tolist(),
        "image_elbo": (found.elbo + floors).tolist(),
        "image_refit_elbo": (found.refit_elbo + floors).tolist(),
    }


def _importance(subject: Subject, x: Tensor, purpose: str) -> FittedLogMarginal:
    """Log p(x) of images `[image, pixel]` in [0, 1], with a proposal fitted to each."""
    images = ImageDistortion(subject.vae.decoder, subject.likelihood.distortion, x, memory_bytes=subject.memory_bytes)
    return fitted_log_marginal(
        images,
        images.posterior(subject.vae.encoder),
        samples=subject.measures.importance_samples,
        refit_steps=subject.measures.refit_steps,
        most_annealed=max(1, round(_ANNEALED_SHARE * len(x))),
        generator=subject.generator(purpose),
    )


def _optimal_decoder(subject: Subject, subset: str) -> None:
    if subject.likelihood.name != "bernoulli":
        raise ValueError(f"the likelihood is {subject.likelihood.name}; allowed: bernoulli")
    sample = subject.sample(subset, subject.measures.memorization_images, "memorization")
    pixels = subject.images(sample.index)
    value = optimal_distortion(
        subject.encode(pixels).sample(subject.noise(len(sample), f"optimal {subset}")),
        images=pixels,
        train_posterior=subject.posterior("train"),
        train_images=subject.train_images,
        memory_bytes=subject.memory_bytes,
    )
    subject.columns[subset]["memorization_images"] = len(sample)
    subject.put(subset, optimal_distortion=value)


def _memorization(subject: Subject, subset: str) -> None:
    sample = subject.sample(subset, subject.measures.memorization_images, "memorization")
    pixels, memory_bytes = subject.images(sample.index), subject.memory_bytes
    made = subject.reconstruct(pixels)
    copies = copied_fraction(made, images=pixels, train=subject.train_images, memory_bytes=memory_bytes)
    subject.columns[subset]["memorization_images"] = len(sample)
    subject.put(subset, copied_fraction=copies.copied_fraction)
    controls = control_index(subject)  # after what needs none is noted
    train = Neighbours(copies.nearest_distance, copies.nearest_index)
    if len(controls) < len(subject.train_images):  # equally many on both sides
        train = _nearest_of_fewer(subject, made, train, size=len(controls))
    found = three_sample(train, nearest_in_blocks(made, image_blocks(subject, controls), memory_bytes=memory_bytes))
    subject.columns[subset] |= {"memorization_answers": found.answers, "memorization_controls": len(controls)}
    subject.put(subset, memorization=found.share)


def _nearest_of_fewer(subject: Subject, made: Tensor, train: Neighbours, *, size: int) -> Neighbours:
    """The nearest of a random `size` of the training images; only what is nearest to one of the others is sought again.

    Args:
        subject: the member.
        made: reconstructions, `[image, pixel]`.
        train: the nearest of all training images.
        size: how many are left.
    """
    chosen = subject.chosen(len(subject.train_images), size, "controls train")
    again = ~torch.isin(train.index, chosen)
    if not again.any():
        return train
    blocks = (subject.train_images[part] for part in torch.split(chosen, BLOCK_IMAGES))
    found = nearest_in_blocks(made[again], blocks, memory_bytes=subject.memory_bytes)
    distance, index = train.distance.clone(), train.index.clone()
    distance[again], index[again] = found.distance, chosen[found.index]
    return Neighbours(distance, index)


def _probe(subject: Subject, _: str) -> None:
    """Log p(x) of each of a few images of the whole data set, in the training subset or not."""
    index = probe_index(subject)
    found = _importance(subject, to_unit(subject.images(index)), "probe")
    rows = {
        "image": index.tolist(),
        "in_train": np.isin(index, subject.subsets.whole["train"].index).tolist(),
        "log_marginal": found.log_marginal.tolist(),
        "log_marginal_ess": found.effective_samples.tolist(),
        "log_marginal_passed": found.passed.tolist(),
    }
    subject.probes = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]


def annealing(subject: Subject, subset: str) -> None:
    """Bounds from both sides on log p(x) of images simulated from the model, and what importance weighting says."""
    measures, member = subject.measures, subject.member
    images = measures.annealing_images
    generator = torch.Generator(subject.device).manual_seed(derive_seed(member.seed, "measure annealing"))
    z = torch.randn(images, member.latent_dim, generator=generator, device=subject.device)
    found = certify(
        subject.vae.decoder,
        z,
        encode=subject.vae.encoder,
        distortion=subject.likelihood.distortion,
        simulate=subject.likelihood.simulate,
        temperatures=torch.linspace(0, 1, measures.annealing_temperatures + 1, device=subject.device),
        chains=_ANNEALING_CHAINS,
        leapfrog_steps=_LEAPFROG_STEPS,
        generator=generator,
        memory_bytes=subject.memory_bytes,
    )
    if found.gap.value < -_GAP_ERRORS * found.gap.standard_error:
        raise ValueError(
            f"the upper bound lies {-found.gap.value:.3g} ± {found.gap.standard_error:.2g} nats below the lower one; "
            "allowed: bounds in their order, up to their errors"
        )
    importance = _importance(subject, found.x, "annealing importance")
    subject.columns[subset]["annealing_images"] = images
    subject.put(
        subset,
        annealed_lower=found.lower,
        annealed_upper=found.upper,
        annealed_importance=estimate_mean(importance.log_marginal),
    )


ON_TEST_ONLY = frozenset({"cross_rate", "memorization", "probe", "reconstructions", "annealing"})
"""Measures that mean nothing for training images, or are of no subset at all: they stand in the row of test."""

PIECES: dict[str, Measure] = {
    "rate_parts": _rate_parts,
    "batch_rate_parts": _batch_rate_parts,
    "cross_rate": _cross_rate,
    "active_units": _active_units,
    "log_marginal": _log_marginal,
    "optimal_decoder": _optimal_decoder,
    "memorization": _memorization,
    "probe": _probe,
    "reconstructions": note_reconstructions,
    "closed_form": closed_form,
}
"""By name, in the order in which they are taken."""
