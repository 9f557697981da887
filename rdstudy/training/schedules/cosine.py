"""Half a cosine, almost to 0 at the end (Loshchilov and Hutter 2017), after a linear warm-up if there is one."""

import math
from collections.abc import Callable

from rdstudy.study.parts import Steps


def cosine(*, warmup: Steps = 0) -> Callable[[int, int], float]:  # type: ignore[assignment]
    """(step + 1) / warmup for the steps of the warm-up, then ½ (1 + cos(π t)), t from 0 to 1 over the other steps."""

    def factor(step: int, steps: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

    return factor
