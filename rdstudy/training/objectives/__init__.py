"""Objectives, one file each: what is minimized, D + β R or something else (paper, equation 1)."""

import functools

from rdstudy.study import parts
from rdstudy.training.objectives._objective import Objective, Terms

__all__ = ["Objective", "Terms", "objective"]


@functools.cache
def objective(level: str) -> Objective:
    """What a level of the factor `objective` means.

    Raises:
        ValueError: there is none of that name, or a user's own is no `Objective`.
    """
    return parts.make("objective", level, Objective)
