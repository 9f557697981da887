"""The paper's estimate of the parts of the rate, from batches (paper, 4.5)."""

from rdstudy.measures.batch_estimate import batch_rate_parts as parts_of_rate
from rdstudy.measuring.trained import TrainedMember

_BATCH_SIZE = 512  # of the paper's estimate
_BATCHES = 8  # of it at most


def batch_rate_parts(trained: TrainedMember, subset: str) -> None:
    """I_q[x; z] and KL(q(z) ‖ p(z)) as the paper estimates them."""
    posterior = trained.posterior(subset)
    order = trained.chosen(len(posterior.mean), _BATCHES * _BATCH_SIZE, f"batches {subset}")
    parts = parts_of_rate(
        posterior,
        order=order,
        noise=trained.noise(len(order), f"batches {subset}"),
        batch_size=_BATCH_SIZE,
        memory_bytes=trained.memory_bytes,
        log_prior=trained.log_prior,
    )
    trained.put(subset, mutual_information_b512=parts.mutual_information, marginal_kl_b512=parts.marginal_kl)
