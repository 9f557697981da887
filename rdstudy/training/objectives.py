"""Objectives with a part of the rate taken out, to see which part regularizes (paper, 4.5).

R = I_q[x; z] + KL(q(z) ‖ p(z)); an objective is D + β (R - part), R as a closed form and the part as estimated from
the batch that is trained on, with the aggregate posterior of `rdstudy.measures.batch_estimate`.
"""

from torch import Tensor

from rdstudy.measures.aggregate import LOG_2PI, log_density
from rdstudy.measures.batch_estimate import batch_log_density
from rdstudy.model.gaussian import Posterior
from rdstudy.model.objective import ForwardPass


def removed_term(objective: str, outputs: ForwardPass, *, images: int) -> Tensor | None:
    """The part of the rate that an objective leaves out, for each image of a batch; None for "beta".

    Args:
        objective: a level of the factor `objective`.
        outputs: of a batch of two or more images, `[..., batch, ...]`.
        images: of the training subset, N.

    Returns:
        `[..., batch]`, nats, differentiable in the code and in z.
    """
    if objective == "beta":
        return None
    code = Posterior.from_code(outputs.code)
    log_q = batch_log_density(outputs.z, code, images=images)
    if objective == "no_marginal_kl":
        return log_q + 0.5 * (outputs.z.square() + LOG_2PI).sum(dim=-1)  # log q(z) - log p(z)
    assert objective == "no_mutual_information", objective
    return log_density(outputs.z, code) - log_q
