"""Numbers and tables as a reader sees them. Text only: the template escapes it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

_SEEN_AT_ONCE = 12  # rows


@dataclass(frozen=True)
class Entry:
    """One entry of a table: what is shown, and the number it is sorted by, if it is one."""

    text: str
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        heads: name its columns.
        hints: say what they mean; empty where that is plain.
        rows: an entry a column.
        title: what the table shows, in a few words.
    """

    heads: tuple[str, ...]
    hints: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    title: str = ""

    @property
    def caption(self) -> str:
        """Its title, and how many rows it has where they are not seen at once: "Results: 1,296 rows"."""
        return f"{self.title}: {len(self.rows):,} rows" if len(self.rows) > _SEEN_AT_ONCE else self.title


def number(value: Any, *, digits: int = 4) -> Entry:
    """A value to some significant digits, never in powers of ten where it can be read without."""
    if value is None or pd.isna(value):
        return Entry("–", None)
    decimals = 0 if value == 0 else max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return Entry(_signed(f"{value:,.{min(decimals, 6)}f}"), float(value))


def count(value: Any) -> Entry:
    """A whole number."""
    return Entry("–", None) if value is None or pd.isna(value) else Entry(f"{int(value):,}", float(value))


def plain(value: float) -> Entry:
    """A level that is a number, such as β, as it was written."""
    return Entry(f"{value:g}", float(value))


def mean_sd(mean: Any, deviation: Any) -> Entry:
    """Mean ± standard deviation, both to the second significant digit of the deviation."""
    if mean is None or pd.isna(mean):
        return Entry("–", None)
    if deviation is None or pd.isna(deviation) or deviation == 0:
        return number(mean)
    decimals = min(max(0, 1 - math.floor(math.log10(deviation))), 4)
    return Entry(_signed(f"{mean:,.{decimals}f} ± {deviation:,.{decimals}f}"), float(mean))


def table(heads: Sequence[tuple[str, str]], rows: Sequence[Sequence[Entry]], *, title: str = "") -> Table:
    """A table from (head, hint) pairs and rows of entries."""
    names, hints = zip(*heads, strict=True)
    return Table(names, hints, tuple(tuple(row) for row in rows), title)


def models(how_many: int) -> str:
    """1 model, 2 models."""
    return f"{how_many:,} model" if how_many == 1 else f"{how_many:,} models"


def joined(*sentences: str) -> str:
    """Sentences with a space between them; empty ones are left out."""
    return " ".join(sentence for sentence in sentences if sentence)


def enumerated(names: Sequence[str]) -> str:
    """Such as "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def listed(names: Sequence[str], *, most: int = 6) -> str:
    """Names with semicolons between them, as they may hold commas; beyond `most`, how many more there are."""
    more = len(names) - most
    return "; ".join([*names[:most], *([f"and {more} more"] if more > 0 else [])])


def span(values: pd.Series) -> str:
    """The least and the most of some counts, as whole numbers; one where they are equal."""
    least, most = round(float(values.min())), round(float(values.max()))
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _signed(text: str) -> str:
    return text.replace("-", "−")
