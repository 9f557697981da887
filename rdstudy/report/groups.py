"""The rows of tables together, and those of a table by one of its columns. Knows no figure.

A mask over all rows, or a frame of pandas' own groups, costs a page of hundreds of panels seconds.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd


def together(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All rows of tables, one at least: pandas takes the types of empty ones for those of values."""
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


class Groups:
    """A table by its column `cell`, which has no null: the rows of each cell, in their order, are a slice.

    Iterating gives cell and rows, in ascending order of the cells.
    """

    def __init__(self, table: pd.DataFrame) -> None:
        values = table["cell"].to_numpy()
        order = np.argsort(values, kind="stable")
        self._table = table.take(order)
        distinct, starts = np.unique(values[order], return_index=True)
        ends = [*starts.tolist(), len(table)]
        self._slices = {value: slice(ends[at], ends[at + 1]) for at, value in enumerate(distinct.tolist())}

    def rows(self, value: Any) -> pd.DataFrame:
        """The rows of a cell; none where it has none."""
        return self._table.iloc[self._slices.get(value, slice(0, 0))]

    def __iter__(self) -> Iterator[tuple[Any, pd.DataFrame]]:
        return ((value, self.rows(value)) for value in self._slices)
