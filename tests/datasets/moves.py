"""A process that is killed when files are moved into place."""

import os
import signal
from typing import Any


def die_at_move(number: int) -> None:
    """Let this process be killed where it is to move a file into place for the first time, or the second."""
    moved = []

    def replace(source: Any, target: Any, replace: Any = os.replace) -> None:
        moved.append(target)
        if len(moved) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = replace  # type: ignore[assignment]
