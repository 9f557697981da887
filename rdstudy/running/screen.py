"""A terminal: how large it is, and a few lines at its end that are written anew in place."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from typing import TextIO


def size_of(stream: TextIO) -> os.terminal_size:
    """Columns and lines of what shows a stream: COLUMNS and LINES, else what it says of itself, else 80 and 24."""
    columns = lines = 0
    with contextlib.suppress(OSError, ValueError, AttributeError):  # of a notebook, or closed
        columns, lines = os.get_terminal_size(stream.fileno())
    size = shutil.get_terminal_size(fallback=(columns or 80, lines or 24))
    return os.terminal_size((max(2, size.columns), max(2, size.lines)))


class Screen:
    """Text that scrolls, and lines below it that are replaced; plain text alone where no terminal shows it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.is_live = stream, stream.isatty()
        self._shown: tuple[str, ...] = ()

    def say(self, text: str) -> None:
        """Write whole lines above those that are replaced."""
        self._write(text, self._shown)

    def show(self, lines: Sequence[str]) -> None:
        """Replace the lines at the end, each of which must fit; none where no terminal shows them."""
        if self.is_live and tuple(lines) != self._shown:
            self._write("", tuple(lines))

    def _write(self, text: str, lines: tuple[str, ...]) -> None:
        back = f"\x1b[{len(self._shown)}A\r\x1b[J" if self._shown else ""
        self._shown = lines
        self.stream.write(back + text + "".join(f"{line}\n" for line in lines))
        self.stream.flush()
