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
    """Ask again and again; an AssertionError that says what did not come, or that `process` ended before."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        assert process is None or process.poll() is None, f"ended before it was true that {what}"
        time.sleep(pause)


def listens(port: int) -> bool:
    """Whether something on loopback listens there."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
