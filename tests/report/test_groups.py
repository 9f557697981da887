"""Rows by the value of a column, against pandas' own groups; lines of several curves, against each alone."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.report import labels
from rdstudy.report.groups import Groups


@given(st.lists(st.integers(-3, 5), max_size=30))
def test_groups_are_those_of_pandas_with_rows_in_their_order(cells):
    table = pd.DataFrame({"cell": cells, "at": range(len(cells))}, dtype=int)
    groups, expected = Groups(table), dict(list(table.groupby("cell", sort=True)))
    assert [value for value, _ in groups] == list(expected)
    for value, rows in groups:
        pd.testing.assert_frame_equal(rows, expected[value])
    assert groups.rows(7).empty
    assert list(groups.rows(7)) == ["cell", "at"]


def test_a_table_without_rows_has_no_groups():
    assert list(Groups(pd.DataFrame(columns=["cell", "value"]))) == []


def test_several_curves_are_felt_as_each_alone_is():
    rng = np.random.default_rng(3)
    points, curve = rng.uniform(0, 50, (23, 2)), rng.integers(0, 3, 23)
    points[[4, 11]] = np.nan
    alone = np.concatenate([labels.along(points[curve == number]) for number in range(3)])
    together = labels.along(points, curve)
    assert sorted(map(tuple, together)) == sorted(map(tuple, alone))
    assert len(together) > 23
