"""The learning rate of each step: a pure function of the recipe and the step, so that resuming needs no state of it."""

import math

from rdstudy.study import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step, counted from 0: that of the recipe; of `cosine`, times ½ (1 + cos(π step / steps))."""
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
