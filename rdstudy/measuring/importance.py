"""Importance weights of a trained member, which several measures need."""

from torch import Tensor

from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measuring.trained import TrainedMember

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
    return fitted_log_marginal(
        images,
        images.posterior(trained.vae.encoder),
        samples=trained.measures.importance_samples,
        refit_steps=trained.measures.refit_steps,
        most_annealed=max(1, round(_ANNEALED_SHARE * len(x))),
        generator=trained.generator(purpose),
    )
