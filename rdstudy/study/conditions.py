"""What a user types for a value: on a command line, and in `FACTOR=LEVEL`, by which models are chosen."""

import ast
from collections.abc import Collection, Iterable
from typing import Any

from rdstudy.study.checks import fail, fail_name
from rdstudy.study.factors import FACTORS


def typed(text: str) -> Any:
    """A value as Python writes it; the text itself where it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text


def levels_asked(conditions: Iterable[str], *, factors: Collection[str] = FACTORS) -> dict[str, list[Any]]:
    """Factor -> its levels, of the conditions after `--where`: one of several levels of a factor, and all factors.

    Args:
        conditions: `FACTOR=LEVEL`.
        factors: that may be named; the levels of what is no factor are texts.

    Raises:
        ValueError: no such condition, factor or level.
    """
    asked: dict[str, list[Any]] = {}
    for condition in conditions:
        name, equals, text = (part.strip() for part in condition.partition("="))
        if not equals:
            raise fail("--where", condition, "FACTOR=LEVEL, such as depth=3")
        if name not in factors:
            raise fail_name("--where", name, factors)
        asked.setdefault(name, []).append(_level(name, text))
    return asked


def _level(name: str, text: str) -> Any:
    if name not in FACTORS:
        return text
    return FACTORS[name].check(f"--where {name}", text if FACTORS[name].kind is str else typed(text))
