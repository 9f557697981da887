"""A terminal of a given width, and what a person sees on it."""

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Terminal:
    """The two ends of a pseudo-terminal: `stream` is written to, `seen` is what its screen has shown."""

    def __init__(self, stream: TextIO, reader: int, columns: int) -> None:
        self.stream, self.columns = stream, columns
        self._reader = reader

    def written(self) -> str:
        """All that was written since the last call."""
        self.stream.flush()
        os.set_blocking(self._reader, False)
        parts = []
        while True:
            try:
                parts.append(os.read(self._reader, 65536))
            except BlockingIOError:
                return b"".join(parts).decode()

    def screen(self) -> list[str]:
        """The lines that stand on an endless screen in the end; what is too long for a line wraps, as it does there."""
        return screen(self.written(), self.columns)


@contextmanager
def terminal(columns: int) -> Iterator[Terminal]:
    """A terminal that says that it is so wide."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield Terminal(stream, reader, columns)
    os.close(reader)


def screen(text: str, columns: int) -> list[str]:
    """What a terminal of so many columns shows of a text with these movements: to the left, up, and erasing."""
    rows, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[\d*[A-Za-z]|[\s\S]", text):
        if token == "\r":
            column = 0
        elif token == "\n":
            row += 1
        elif token == "\x1b[2K":
            rows[row] = ""
        elif token in ("\x1b[J", "\x1b[0J"):
            rows[row:] = [rows[row][:column]]
        elif token.endswith("A") and token.startswith("\x1b["):
            row = max(0, row - int(token[2:-1] or 1))
        else:
            assert not token.startswith("\x1b"), f"a movement that this screen does not know: {token!r}"
            if column == columns:
                row, column = row + 1, 0
            while len(rows) <= row:
                rows.append("")
            rows[row] = rows[row][:column].ljust(column) + token + rows[row][column + 1 :]
            column += 1
        while len(rows) <= row:
            rows.append("")
    return rows
