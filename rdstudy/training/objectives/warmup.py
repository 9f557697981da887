"""β warm-up: the weight of the rate rises from 0 to β (Bowman et al. 2016, Sønderby et al. 2016)."""

from rdstudy.study.parts import Steps
from rdstudy.training.objectives._objective import Objective


def warmup(*, steps: Steps) -> Objective:
    """D + min(1, step / steps) β R."""
    return Objective(scale=lambda step, _: min(1.0, step / steps))
