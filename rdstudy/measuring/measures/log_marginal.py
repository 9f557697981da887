"""Log p(x) of images of a subset, by importance weights with a proposal fitted to each."""

import math

from rdstudy.measures.estimate import estimate_mean
from rdstudy.measuring.importance import shared_importance
from rdstudy.measuring.trained import TrainedMember
from rdstudy.training.subsets import to_unit

_MOST_IMAGES = 0.95  # of images have a Pareto k̂ of at most what the row says
_LEAST_KHAT = -1.0  # of weights that are all equal, whose k̂ is -inf


def log_marginal(trained: TrainedMember, subset: str) -> None:
    """Log p(x), and what a posterior fitted to each image gains over the encoder's."""
    sample = trained.sample(subset, trained.measures.importance_images, "importance")
    pixels = trained.images(sample.index)
    importance = shared_importance(trained, to_unit(pixels), f"importance {subset}")
    floors = trained.likelihood.floor(to_unit(pixels)).double()
    trained.put(
        subset,
        log_marginal=estimate_mean(importance.log_marginal),
        inference_gap=estimate_mean(importance.inference_gap),
        refit_elbo_before=estimate_mean(importance.elbo),
        refit_elbo_after=estimate_mean(importance.refit_elbo),
        refit_gain=estimate_mean(importance.refit_gain),
    )
    khat = importance.khat.clamp(min=_LEAST_KHAT).quantile(_MOST_IMAGES).item()
    trained.columns[subset] |= {
        "importance_images": len(sample),
        "importance_samples": trained.measures.importance_samples,
        "refit_images": len(sample),
        "log_marginal_floor": floors.mean().item(),
        "log_marginal_ess": importance.effective_samples.mean().item(),
        "log_marginal_khat": khat if math.isfinite(khat) else None,
        "log_marginal_passed": importance.passed.double().mean().item(),
        "log_marginal_annealed": importance.annealed.double().mean().item(),
        "image_log_marginal": (importance.log_marginal + floors).tolist(),
        "image_elbo": (importance.elbo + floors).tolist(),
        "image_refit_elbo": (importance.refit_elbo + floors).tolist(),
    }
