"""Tables as files for other tools: CSV with a head, and the declaration of a study as JSON."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pyarrow as pa

from rdstudy.results.chosen import TABLES, ChosenRows
from rdstudy.results.declaration import Declaration
from rdstudy.results.store import Store

Rows = Callable[[pd.DataFrame], pd.DataFrame]


def csv_of(table: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8: numbers to the last digit, nothing where a value is null, lists as JSON."""
    plain = table.copy()
    for name in table.columns[[dtype.kind == "O" for dtype in table.dtypes]]:
        plain[name] = [_plain(value) for value in table[name]]
    return plain.to_csv(index=False, lineterminator="\n").encode()


def _plain(value: Any) -> Any:
    """A list of numbers as JSON; NumPy's own text leaves the middle of a long one out."""
    if not hasattr(value, "tolist") or not getattr(value, "ndim", 0):
        return value
    return "[" + ",".join(str(number) for number in value) + "]"


def study_tables(store: Store, study: str, *, veiled: Rows = lambda table: table) -> Iterator[tuple[str, bytes]]:
    """The tables of a study as files: of each table of `rdstudy.load`, its name and contents.

    Of several trainings of a member the best is there, of several measurings the one that the study asks for.

    Args:
        store: the results.
        study: its name.
        veiled: what is done to the rows of a table before they are written.

    Raises:
        ValueError: no such study, or its declaration is damaged.
    """
    declaration = store.declarations.read(study)
    rows = ChosenRows(store.snapshot(TABLES), frozenset(declaration.members), declaration.measures_id)
    for name, read in (("members", rows.members), ("measures", rows.measures), ("trajectories", rows.trajectories)):
        yield f"{study}-{name}.csv", csv_of(veiled(_frame(read())))


def _frame(rows: pa.Table) -> pd.DataFrame:
    """Whole numbers stay whole, null or not."""
    frame: pd.DataFrame = rows.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


def declaration_json(declaration: Declaration) -> bytes:
    """A declaration as JSON."""
    return (json.dumps(declaration.to_dict(), indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
