"""Latent dimensions that are used."""

import torch
from torch import Tensor

from rdstudy.measures.active_units import active_units as count_active
from rdstudy.measuring.trained import TrainedMember
from rdstudy.study.seeds import derive_seed

_PRIOR_DRAWS = 10_000  # from which a prior's variance is known to 1.4 %


def active_units(trained: TrainedMember, subset: str) -> None:
    """How many have Var_x(E[z_j|x]) above a hundredth of what the prior has."""
    mean = trained.posterior(subset).mean
    trained.columns[subset]["active_units"] = count_active(mean, prior_variance=_prior_variance(trained))


def _prior_variance(trained: TrainedMember) -> Tensor | None:
    """Var(z_j) under a trained prior, `[latent]`; None for N(0, I), where it is 1."""
    if trained.log_prior is None:
        return None
    generator = torch.Generator(trained.device).manual_seed(derive_seed(trained.member.seed, "measure prior variance"))
    return trained.vae.prior.sample(_PRIOR_DRAWS, generator, trained.vae.encoder).double().var(dim=0)
