"""What messages are made of: an exception in one line, a time in words, a table, what a docstring says of a setting."""

import inspect
import re
from collections.abc import Sequence

_MOST_LINE = 2_000  # letters of a line
_ATTRIBUTE = re.compile(r"^    (\w+): ((?:.|\n {8})*)", re.MULTILINE)


def one_line(error: BaseException | str) -> str:
    """What an exception says, without line breaks; cut where it is long."""
    try:
        line = " ".join(str(error)[: 10 * _MOST_LINE].split())
    except Exception:  # its own text raises another one
        line = f"{type(error).__name__} without a text"
    return line if len(line) <= _MOST_LINE else f"{line[: _MOST_LINE - 3]}..."


def one_line_with_type(error: BaseException) -> str:
    """`RuntimeError: a bug`, without line breaks."""
    return f"{type(error).__name__}: {one_line(error)}".removesuffix(": ")


def duration(seconds: float) -> str:
    """Seconds in words: `45 s`, `3 min`, `2.5 h`, `3.1 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} d"


def aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """The rows of a table as lines, the first `left` columns flush left and the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    pads = [str.ljust] * left + [str.rjust] * (len(widths) - left)
    return [
        "  ".join(pad(cell, width) for pad, cell, width in zip(pads, row, widths, strict=True)).rstrip() for row in rows
    ]


def attribute_meanings(kind: type) -> dict[str, str]:
    """Attribute -> what the docstring of its class says of it, in its order; none where Python keeps no docstrings."""
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(inspect.getdoc(kind) or "")}
