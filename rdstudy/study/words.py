"""What messages are made of: an exception in one line, a time in words, what a docstring says of a setting."""

import inspect
import re

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


def attribute_meanings(kind: type) -> dict[str, str]:
    """Attribute -> what the docstring of its class says of it, in its order; none where Python keeps no docstrings."""
    return {name: " ".join(text.split()) for name, text in _ATTRIBUTE.findall(inspect.getdoc(kind) or "")}
