"""Distances to the nearest training image: a distribution function with its marks."""

import altair as alt
import vl_convert

from rdstudy.report.figures import neighbours
from tests.report.conftest import tables_of


def test_distances_are_a_distribution_function_with_its_marks(pictured):
    tables = tables_of(pictured)
    curves, marks = neighbours.table(tables), neighbours.distance_marks(tables)
    assert curves["share"].is_monotonic_increasing
    assert curves["share"].iloc[-1] == 1.0
    assert dict(zip(marks["mark"], marks["distance"], strict=True)) == {"median": 3.0, "hard example": 4.0}
    chart = neighbours.FIGURE.drawn(tables, curves).vega_lite
    alt.TopLevelSpec.validate(chart)
    assert "<svg" in vl_convert.vegalite_to_svg(chart)
    assert neighbours.table(tables_of(pictured, neighbours=pictured.neighbours.iloc[:0])).empty
