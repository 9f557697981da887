"""A contender that does nothing and imports nothing: what a test of processes needs."""

import sys

from benchmarks.contenders import Task


class Idle:
    models = 3
    parameter_count = 5

    def take_steps(self, steps: int) -> None:
        print(f"{steps} steps: a library that prints does no harm")


def build(task: Task) -> Idle:
    if task.threads == 13:
        sys.exit("no more than 12 threads")
    return Idle()
