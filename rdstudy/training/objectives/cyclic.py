"""A cyclic schedule of β (Fu et al. 2019): in each period the weight of the rate rises from 0 to β, and stays there."""

from rdstudy.study.parts import Steps
from rdstudy.training.objectives._objective import Objective


def cyclic(*, period: Steps) -> Objective:
    """D + min(1, 2 (step mod period) / period) β R: the rise takes the first half of a period.

    A period that does not end with the training would leave β where it happens to be: after the last whole period the
    weight is β.
    """

    def scale(step: int, steps: int) -> float:
        whole = steps // period * period
        return 1.0 if step >= whole else min(1.0, 2 * (step % period) / period)

    return Objective(scale=scale)
