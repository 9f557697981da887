"""A learning rate that falls by a factor every so many steps."""

from collections.abc import Callable

from rdstudy.study.parts import Steps


def step_decay(*, every: Steps, factor: float = 0.1) -> Callable[[int, int], float]:
    """Factor ^ ⌊step / every⌋."""
    return lambda step, steps: factor ** (step // every)  # noqa: ARG005
