"""The rate without KL(q(z) ‖ p(z)), to see which part regularizes (paper, 4.5).

R = I_q[x; z] + KL(q(z) ‖ p(z)); the part is estimated from the batch that is trained on, with the aggregate
posterior of `rdstudy.measures.batch_estimate`.
"""

from torch import Tensor

from rdstudy.measures.aggregate import LOG_2PI
from rdstudy.measures.batch_estimate import batch_log_density
from rdstudy.model.gaussian import Posterior
from rdstudy.model.objective import ForwardPass
from rdstudy.training.objectives._objective import Objective

LEAST_BATCH = 2
"""Images of a batch from which the part can be estimated."""


def no_marginal_kl() -> Objective:
    """D + β (R - KL(q(z) ‖ p(z)))."""
    return Objective(removed=_marginal_kl)


def _marginal_kl(outputs: ForwardPass, images: int) -> Tensor:
    """Log q(z) - log p(z) of each image of a batch."""
    log_q = batch_log_density(outputs.z, Posterior.from_code(outputs.code), images=images)
    if outputs.log_prior is not None:
        return log_q - outputs.log_prior
    return log_q + 0.5 * (outputs.z.square() + LOG_2PI).sum(dim=-1)
