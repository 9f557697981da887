"""Schedules of the learning rate, one file each: pure functions of (step, steps), so that resuming needs no state.

A schedule is called with its arguments and gives a function (step from 0, steps of training) -> the factor by which
the learning rate of the recipe is multiplied. Standard library alone.
"""

import functools
from collections.abc import Callable

from rdstudy.study import parts

Schedule = Callable[[int, int], float]


@functools.cache
def schedule(level: str) -> Schedule:
    """What a level of the factor `schedule` means."""
    made: Schedule = parts.load("schedule", parts.check("schedule")("recipe.schedule", level))()
    return made
