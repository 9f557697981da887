"""The rate without I_q[x; z], to see which part regularizes (paper, 4.5); see `no_marginal_kl`."""

from torch import Tensor

from rdstudy.measures.aggregate import log_density
from rdstudy.measures.batch_estimate import batch_log_density
from rdstudy.model.gaussian import Posterior
from rdstudy.model.objective import ForwardPass
from rdstudy.training.objectives._objective import Objective

LEAST_BATCH = 2
"""Images of a batch from which the part can be estimated."""


def no_mutual_information() -> Objective:
    """D + β (R - I_q[x; z])."""
    return Objective(removed=_mutual_information)


def _mutual_information(outputs: ForwardPass, images: int) -> Tensor:
    """Log q(z|x) - log q(z) of each image of a batch."""
    code = Posterior.from_code(outputs.code)
    log_q = batch_log_density(outputs.z, code, images=images)
    return log_density(outputs.z, code) - log_q
