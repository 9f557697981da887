"""What must come is waited for, on a machine however slow: only a hang takes `PATIENCE_SECONDS`."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

PATIENCE_SECONDS = 900.0


def wait_until(
    condition: Callable[[], Any],
    what: str | Callable[[], str],
    *,
    process: subprocess.Popen[Any] | None = None,
    pause: float = 0.1,
) -> None:
    """Ask again and again whether what must come is there.

    Args:
        condition: true when it is.
        what: names it, or tells what a log says of it.
        process: what brings it; without this process it never comes.
        pause: between two looks, in seconds.

    Raises:
        AssertionError: it did not come, or the process ended before; with what the process said into its pipes.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        late, ended = time.monotonic() > deadline, process is not None and process.poll() is not None
        if late or ended:
            said = process.communicate() if process is not None and ended else ""
            why = "its process ended before" if ended else f"not in {PATIENCE_SECONDS:g} s"
            raise AssertionError(f"never came: {what if isinstance(what, str) else what()}; {why} {said}")
        time.sleep(pause)


def listens(port: int) -> bool:
    """Whether something on loopback listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
