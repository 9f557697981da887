"""Checks of what a user declares: each returns the value as it is kept, or raises a line that says what is allowed."""

import math
import operator
from collections.abc import Callable, Sequence

_MOST_WHOLE = 2**63  # what a column of the tables can hold


def fail(where: str, value: object, allowed: str) -> ValueError:
    """The error that says in one line what is wrong: the value, where it stands and what is allowed."""
    return ValueError(f"{where} is {value!r}; allowed: {allowed}")


def one_line(error: BaseException | str) -> str:
    """What an exception says, without line breaks."""
    return " ".join(str(error).split())


def one_line_with_type(error: BaseException) -> str:
    """`RuntimeError: a bug`, without line breaks."""
    return one_line(f"{type(error).__name__}: {error}").removesuffix(":")


def whole(where: str, value: object, *, least: int) -> int:
    """A whole number of at least `least`."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number < _MOST_WHOLE:
        raise fail(where, value, f"a whole number, {least} or more and below 2^63")
    return number


def number(where: str, value: object, *, zero: bool) -> float:
    """A finite number above 0, or 0 too."""
    try:
        number = math.nan if isinstance(value, bool | str) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise fail(where, value, "a finite number, 0 or more" if zero else "a finite number above 0")
    return number + 0.0  # -0.0 is 0.0: equal members have equal ids


def text(where: str, value: object) -> str:
    """A name that is not empty."""
    if not isinstance(value, str) or not value:
        raise fail(where, value, "a name in quotes")
    return value


def one_of(names: Sequence[str]) -> Callable[[str, object], str]:
    """The check that a value is one of these."""

    def check(where: str, value: object) -> str:
        if value not in names:
            raise fail(where, value, ", ".join(names))
        return str(value)

    return check


def set_field(instance: object, name: str, value: object) -> None:
    """Normalize a field of a frozen instance while it is being built."""
    object.__setattr__(instance, name, value)
