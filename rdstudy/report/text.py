"""Numbers and tables as a reader sees them. Text only: the template escapes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd


@dataclass(frozen=True)
class Entry:
    """One entry of a table: what is shown, and the number it is sorted by, if it is one."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page: `heads` name its columns, `hints` say what they mean (empty where that is plain)."""

    heads: tuple[str, ...]
    hints: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]


def number(value: Any, *, digits: int = 4) -> Entry:
    """A value to some significant digits, never in powers of ten where it can be read without."""
    if value is None or pd.isna(value):
        return Entry("–", None)
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return Entry(_signed(f"{value:,.{min(decimals, 6)}f}"), float(value))


def count(value: Any) -> Entry:
    """A whole number."""
    return Entry("–", None) if value is None or pd.isna(value) else Entry(f"{int(value):,}", float(value))


def beta(value: float) -> Entry:
    """β as it was written."""
    return Entry(f"{value:g}", float(value))


def mean_sd(mean: Any, deviation: Any) -> Entry:
    """Mean ± standard deviation, both to the second significant digit of the deviation."""
    if mean is None or pd.isna(mean):
        return Entry("–", None)
    if deviation is None or pd.isna(deviation) or deviation == 0:
        return number(mean)
    decimals = min(max(0, 1 - math.floor(math.log10(deviation))), 4)
    return Entry(_signed(f"{mean:,.{decimals}f} ± {deviation:,.{decimals}f}"), float(mean))


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[Entry]]) -> Table:
    """A table from (head, hint) pairs and rows of entries."""
    names, hints = zip(*heads, strict=True)
    return Table(names, hints, tuple(tuple(row) for row in rows))


def models(how_many: int) -> str:
    """1 model, 2 models."""
    return f"{how_many:,} model" if how_many == 1 else f"{how_many:,} models"


def duration(seconds: float) -> str:
    """Seconds in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def _signed(text: str) -> str:
    return text.replace("-", "−")
