"""What the commands share: bad input, and storage that fails, are one line on standard error and an exit status."""

import argparse
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from rdstudy.checks import one_line

STORAGE_FAILED = 1
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


def answer(command: Callable[[], int], *, storage_failed: int = STORAGE_FAILED) -> int:
    """Run a command; what its user can mend is told in one line, and all else is raised.

    Args:
        command: returns its exit status.
        storage_failed: the exit status where a results folder cannot be read or written.
    """
    try:
        return command()
    except ValueError as error:
        if not _is_users_mistake(error):
            raise
        return refuse(error)
    except OSError as error:
        from rdstudy.results.files import StorageError  # heavy, and loaded by whoever raised it

        if not isinstance(error, StorageError):
            raise
        refuse(error)
        return storage_failed


def _is_users_mistake(error: ValueError) -> bool:
    """Whether a ValueError was raised by this package itself: those of libraries are a program's fault."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and Path(frames[-1].filename).resolve().is_relative_to(Path(__file__).resolve().parent)
