"""Importance weights of trained members, which several measures need."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.layout import even
from rdstudy.measures.noise import MemberNoise, Noise
from rdstudy.measures.stacked_distortion import StackedDistortion
from rdstudy.measuring.stacked import StackedVae
from rdstudy.measuring.trained import TrainedMember
from rdstudy.model.gaussian import Posterior

_ANNEALED_SHARE = 0.1
"""Of images, those that are annealed at most: each costs as much as importance weights of twenty."""


def importance_of(trained: TrainedMember, x: Tensor, purpose: str) -> FittedLogMarginal:
    """Log p(x) of images `[image, pixel]` in [0, 1], with a proposal fitted to each."""
    images = ImageDistortion(
        trained.vae.decoder,
        trained.likelihood.distortion,
        x,
        memory_bytes=trained.memory_bytes,
        log_prior=trained.log_prior,
    )
    return _fitted(trained, images, images.posterior(trained.vae.encoder), trained.generator(purpose))


def shared_importance(trained: TrainedMember, x: Tensor, purpose: str) -> FittedLogMarginal:
    """`importance_of` images that all members of its group are asked for: for all of them at once."""
    return trained.shared(f"importance {purpose}", lambda members: _importance_of_each(members, x, purpose))


def _importance_of_each(members: Sequence[TrainedMember], x: Tensor, purpose: str) -> list[FittedLogMarginal]:
    first = members[0]
    if len(members) == 1:
        return [importance_of(first, x, purpose)]
    stacked, layout = StackedVae([member.vae for member in members]), even(members, len(x))
    images = StackedDistortion.of(
        stacked.networks,
        first.likelihood.distortion,
        x.repeat(len(members), 1),
        layout=layout,
        memory_bytes=first.memory_bytes,
    )
    with torch.no_grad():
        rows = max(1, images.rows_at_once // len(members))
        code = torch.cat([stacked.encode(part) for part in torch.split(x, rows)], dim=1).flatten(0, 1)
    noise = MemberNoise(tuple(member.generator(purpose) for member in members), layout.counts)
    together = _fitted(first, images, Posterior.from_code(code), noise)
    return [together.of(part) for part in layout.slices()]


def _fitted(trained: TrainedMember, images: ImageDistortion, encoded: Posterior, noise: Noise) -> FittedLogMarginal:
    of_a_member = images.members()[0]
    return fitted_log_marginal(
        images,
        encoded,
        samples=trained.measures.importance_samples,
        refit_steps=trained.measures.refit_steps,
        most_annealed=max(1, round(_ANNEALED_SHARE * (of_a_member.stop - of_a_member.start))),
        generator=noise,
    )
