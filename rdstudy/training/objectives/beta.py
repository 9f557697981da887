"""D + β R (paper, equation 1)."""

from rdstudy.training.objectives._objective import Objective


def beta() -> Objective:
    """The objective of a β-VAE."""
    return Objective()
