"""Checks of what a user declares: each returns the value as it is kept, or raises a line that says what is allowed.

An iterable that never ends, a text of a gigabyte and a number of a million digits are values too: nothing here reads
more of one than its bound.
"""

import difflib
import itertools
import math
import operator
import re
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from typing import Any

from rdstudy.study.bounds import MOST_NAME

_MOST_WHOLE = 2**63  # what a column of the tables can hold
_LEAST_SINGLE, _MOST_SINGLE = 2.0**-126, 2.0**128 * (1 - 2.0**-24)  # float32 at its full precision
_MOST_ITEMS = 30  # of a list or dictionary that is shown
_MOST_SHOWN = 300  # letters of one value
_MOST_IDS = 10  # that are listed
_ID_DIGITS = 16  # of the id of a model
_MOST_BITS = 10_000  # Python writes 4,300 digits at most


class _Shown(reprlib.Repr):
    """`repr`, cut where it is long; what raises an exception is shown by its type."""

    def __init__(self) -> None:
        super().__init__()
        self.maxtuple = self.maxlist = self.maxset = self.maxfrozenset = self.maxdeque = self.maxdict = _MOST_ITEMS
        self.maxarray = _MOST_ITEMS
        self.maxstring = self.maxother = self.maxlong = _MOST_SHOWN

    def repr_int(self, x: int, level: int) -> str:
        """Also of a number that Python refuses to write."""
        if x.bit_length() < _MOST_BITS:
            return super().repr_int(x, level)
        return f"a number of some {int(x.bit_length() * math.log10(2)):,} digits"

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        """In its own order."""
        if level <= 0 and x:
            return "{...}"
        items = [
            f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in itertools.islice(x, _MOST_ITEMS)
        ]
        return "{" + ", ".join([*items, "..."] if len(x) > _MOST_ITEMS else items) + "}"


def shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    return _Shown().repr(value)


def fail(where: str, value: object, allowed: str) -> ValueError:
    """The error that says in one line what is wrong: the value, where it stands and what is allowed."""
    return ValueError(f"{where} is {shown(value)}; allowed: {allowed}")


def fail_name(where: str, value: object, names: Iterable[str], *, also: str = "") -> ValueError:
    """The same of a value that is no name of these: it says which is nearest.

    Args:
        where: it stands.
        value: that was given.
        names: that are allowed.
        also: what else is allowed, in words.
    """
    listed = list(names)
    allowed = ", ".join([*listed, also] if also else listed)
    return ValueError(f"{where} is {shown(value)}{did_you_mean(value, listed)}; allowed: {allowed}")


def did_you_mean(value: object, names: Iterable[str]) -> str:
    """Such as ` (did you mean quick?)`; empty where no name is near. `steps` is near to `recipe.steps`."""
    if not isinstance(value, str) or not value:
        return ""
    listed = list(names)
    inner = [name for name in listed if name.endswith(f".{value}")]
    nearest = inner or difflib.get_close_matches(value[:MOST_NAME], listed, n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def id_beginning(given: str, ids: Iterable[str], *, where: str) -> str:
    """The only id that begins so.

    Args:
        given: the first digits of an id, or all of them.
        ids: of models.
        where: these are, such as `in results`.

    Raises:
        ValueError: there is none, or there are several.
    """
    known = set(ids)
    matching = [given] if given in known else sorted(each for each in known if each.startswith(given))
    if len(matching) == 1:
        return matching[0]
    begins = f"{where} with an id that begins with {shown(given)}"
    if not matching:
        hint = did_you_mean(given, known) if len(given) == _ID_DIGITS else ""
        raise ValueError(f"no model {begins}{hint}; allowed: the id of one, or its first digits")
    listed = f"{', '.join(matching[:_MOST_IDS])}{', ...' if len(matching) > _MOST_IDS else ''}"
    raise ValueError(f"{len(matching)} models {begins}: {listed}; allowed: more digits of one")


def whole(where: str, value: object, *, least: int, most: int = _MOST_WHOLE - 1) -> int:
    """A whole number from `least` to `most`."""
    try:
        number = operator.index(value) if _is_number(value) else least - 1  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        upto = "below 2^63" if most == _MOST_WHOLE - 1 else f"up to {most:,}"
        raise fail(where, value, f"a whole number, {least} or more and {upto}")
    return number


def number(where: str, value: object, *, zero: bool, most: float = math.inf) -> float:
    """A finite number above 0, or 0 too, up to `most`."""
    try:
        number = float(value) if _is_number(value) else math.nan  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or not 0 <= number <= most or (number == 0 and not zero):
        allowed = "a finite number, 0 or more" if zero else "a finite number above 0"
        raise fail(where, value, allowed if most == math.inf else f"{allowed}, up to {most:g}")
    return number + 0.0  # -0.0 is 0.0: equal members have equal ids


def single(where: str, value: object, *, zero: bool) -> float:
    """A number that enters a model, whose arithmetic is float32: others would be infinite there, or 0."""
    checked = number(where, value, zero=zero)
    if checked and not _LEAST_SINGLE <= checked <= _MOST_SINGLE:
        allowed = "a finite number, 0 or more," if zero else "a finite number above 0"
        raise fail(where, value, f"{allowed} that float32 holds: from {_LEAST_SINGLE:.2g} to {_MOST_SINGLE:.2g}")
    return checked


def _is_number(value: object) -> bool:
    """Whether a value is one number, of Python, NumPy or another library; texts of digits and truth values are none."""
    kind, dtype = type(value), str(getattr(value, "dtype", ""))
    if isinstance(value, bool | str | bytes) or "bool" in dtype or "time" in dtype:
        return False
    return (hasattr(kind, "__float__") or hasattr(kind, "__index__")) and getattr(value, "shape", ()) == ()


def text(where: str, value: object, *, most: int = MOST_NAME) -> str:
    """A name, or other text, that is not empty."""
    if not isinstance(value, str) or not value:
        raise fail(where, value, f"a name in quotes, up to {most:,} letters")
    return words(where, value, most=most)


def words(where: str, value: object, *, most: int) -> str:
    """Text of up to so many letters, perhaps none."""
    if not isinstance(value, str) or len(value) > most or not is_unicode(value):
        raise fail(where, value, f"text in quotes, up to {most:,} letters of Unicode")
    return str.__str__(value)  # of a subclass, such as NumPy's, the plain text


def check_name(what: str, name: object) -> None:
    """Refuse what is no name of a study, or of a part of it: it stands in addresses and in names of files."""
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name):
        raise fail(f"{what} name", name, "up to 64 letters, digits, - and _")


def is_unicode(value: str) -> bool:
    """Whether a file can hold a text: half of a pair of surrogates is no letter."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def items(where: str, value: object, *, most: int, allowed: str) -> tuple[Any, ...]:
    """What an iterable holds.

    Raises:
        ValueError: it is no list, holds more than `most`, or never ends.
    """
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise fail(where, value, allowed)
    try:
        listed = tuple(itertools.islice(value, most + 1))
    except TypeError:  # an array without a dimension
        raise fail(where, value, allowed) from None
    if len(listed) > most:
        count = f"{len(value):,}" if isinstance(value, Sized) else f"more than {most:,}"
        raise ValueError(f"{where} has {count} items; allowed: {allowed}, {most:,} at most")
    return listed


def in_order(given: object, checked: Iterable[Any]) -> tuple[Any, ...]:
    """Checked items of what was given: those of a set sorted, whose own order is another one in each process."""
    return tuple(sorted(checked) if isinstance(given, set | frozenset) else checked)


def repeated(values: Iterable[Any]) -> Any | None:
    """The first of some values that stands there a second time; None where there is none."""
    seen: set[Any] = set()
    return next((value for value in values if value in seen or seen.add(value)), None)  # type: ignore[func-returns-value]


def one_of(names: Sequence[str]) -> Callable[[str, object], str]:
    """The check that a value is one of these."""

    def check(where: str, value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise fail_name(where, value, names)
        return str.__str__(value)

    return check


def set_field(instance: object, name: str, value: object) -> None:
    """Normalize a field of a frozen instance while it is being built."""
    object.__setattr__(instance, name, value)
