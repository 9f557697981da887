"""The rows of a table by one of its columns. A mask over all rows, or a frame of pandas' own groups, costs a page of
hundreds of panels seconds. Knows no figure.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd


class Groups:
    """A table by the values of a column: the rows of each value, in their order, are a slice.

    Iterating gives value and rows, in ascending order of the values.

    Args:
        table: whose column has no null.
        by: the column.
    """

    def __init__(self, table: pd.DataFrame, by: str = "cell") -> None:
        values = table[by].to_numpy()
        order = np.argsort(values, kind="stable")
        self._table = table.take(order)
        distinct, starts = np.unique(values[order], return_index=True)
        ends = [*starts.tolist(), len(table)]
        self._slices = {value: slice(ends[at], ends[at + 1]) for at, value in enumerate(distinct.tolist())}

    def rows(self, value: Any) -> pd.DataFrame:
        """The rows of a value; none where it has none."""
        return self._table.iloc[self._slices.get(value, slice(0, 0))]

    def __iter__(self) -> Iterator[tuple[Any, pd.DataFrame]]:
        return ((value, self.rows(value)) for value in self._slices)
