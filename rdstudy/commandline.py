"""What the commands share: bad input is one line on standard error, and exit status 2."""

import argparse
import sys
import traceback
from pathlib import Path

from rdstudy.checks import one_line

BAD_INPUT = 2


class Parser(argparse.ArgumentParser):
    """Refuses bad input in one line, without the usage."""

    def error(self, message: str) -> None:  # type: ignore[override]
        """Say what is wrong, and end the process."""
        sys.exit(refuse(message))


def refuse(error: Exception | str) -> int:
    """Say in one line what is wrong with the input; returns the exit status."""
    print(f"error: {one_line(error)}", file=sys.stderr)
    return BAD_INPUT


def is_users_mistake(error: ValueError) -> bool:
    """Whether a ValueError was raised by this package itself: those of libraries are a program's fault."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(Path(__file__).resolve().parent)
