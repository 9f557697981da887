"""A certificate of log p(x): images simulated from the model, whose log p(x) annealing bounds from both sides."""

import torch

from rdstudy.measures.certificate import certify
from rdstudy.measures.estimate import estimate_mean
from rdstudy.measuring.importance import importance_of
from rdstudy.measuring.trained import TrainedMember
from rdstudy.study.seeds import derive_seed

_ANNEALING_CHAINS = 4
_LEAPFROG_STEPS = 10
_GAP_ERRORS = 4.0  # standard errors by which annealed bounds may cross


def annealing(trained: TrainedMember, subset: str) -> None:
    """Bounds from both sides on log p(x) of images simulated from the model, and what importance weighting says."""
    measures, member = trained.measures, trained.member
    images = measures.annealing_images
    generator = torch.Generator(trained.device).manual_seed(derive_seed(member.seed, "measure annealing"))
    z = trained.vae.prior.sample(images, generator, trained.vae.encoder)
    bounds = certify(
        trained.vae.decoder,
        z,
        encode=trained.vae.encoder,
        distortion=trained.likelihood.distortion,
        simulate=trained.likelihood.simulate,
        temperatures=torch.linspace(0, 1, measures.annealing_temperatures + 1, device=trained.device),
        chains=_ANNEALING_CHAINS,
        leapfrog_steps=_LEAPFROG_STEPS,
        generator=generator,
        memory_bytes=trained.memory_bytes,
        log_prior=trained.log_prior,
    )
    if bounds.gap.value < -_GAP_ERRORS * bounds.gap.standard_error:
        raise ValueError(
            f"the upper bound lies {-bounds.gap.value:.3g} ± {bounds.gap.standard_error:.2g} nats below the lower one; "
            "allowed: bounds in their order, up to their errors"
        )
    importance = importance_of(trained, bounds.x, "annealing importance")
    trained.columns[subset]["annealing_images"] = images
    trained.put(
        subset,
        annealed_lower=bounds.lower,
        annealed_upper=bounds.upper,
        annealed_importance=estimate_mean(importance.log_marginal),
    )
