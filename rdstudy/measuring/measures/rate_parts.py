"""What the rate is made of, with the exact aggregate posterior of a subset."""

from rdstudy.measures.rate_parts import NO_DIMENSION_KL
from rdstudy.measures.rate_parts import rate_parts as parts_of_rate
from rdstudy.measuring.trained import TrainedMember


def rate_parts(trained: TrainedMember, subset: str) -> None:
    """I_q[x; z], KL(q(z) ‖ p(z)), the total correlation and Σ_j KL(q(z_j) ‖ p(z_j))."""
    posterior, measures = trained.posterior(subset), trained.measures
    chosen = trained.chosen(len(posterior.mean), measures.latent_samples, f"latent {subset}")
    noise = trained.noise(len(chosen), f"latent {subset}")
    parts = parts_of_rate(
        posterior, chosen=chosen, noise=noise, memory_bytes=trained.memory_bytes, log_prior=trained.log_prior
    )
    trained.columns[subset] |= {
        "aggregate_images": parts.images,
        "latent_samples": len(chosen),
        "aggregate_rate": parts.rate.value,
    }
    trained.put(
        subset,
        mutual_information=parts.mutual_information,
        marginal_kl=parts.marginal_kl,
        total_correlation=parts.total_correlation,
    )
    if parts.dimension_kl is None:
        raise ValueError(NO_DIMENSION_KL)  # after what needs no factorized prior is noted
    trained.put(subset, dimension_kl=parts.dimension_kl)
