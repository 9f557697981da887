"""Samples and traversals: whose they are, what a page has room for, and what a reader without eyes for them is told."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import vl_convert

from rdstudy.report.contents import page_of
from rdstudy.report.figures import samples
from rdstudy.report.page import render
from rdstudy.report.pictures import Album
from rdstudy.report.strips import sample_sheets
from rdstudy.results import schema
from tests.report.conftest import WHOLE, Simulation, tables_of

SHAPE = {"channels": 3, "height": 5, "width": 7}
VALUES = (-1.5, 0.0, 1.5)
DRAWS, DIMENSIONS = 11, 2


def stored(planned) -> pa.Table:
    rows: list[dict[str, Any]] = []
    for number, member_id in enumerate(planned["member_id"]):
        picture = {"pixels": np.full((3, 5, 7), number, np.uint8).tobytes(), **SHAPE}
        common = {"member_id": member_id, "dataset": "tetrominoes", **picture}
        rows += [{**common, "kind": "prior", "position": position} for position in range(DRAWS)]
        rows += [
            {**common, "kind": "traversal", "dimension": dimension, "value": value, "position": position}
            for dimension in range(DIMENSIONS)
            for position, value in enumerate(VALUES)
        ]
    return pa.Table.from_pylist(rows, schema=schema.SAMPLES)


@pytest.fixture
def sampled(simulate):
    study = simulate(Simulation(betas=[0.1, 0.7, 3.0], figures=("samples",)))
    return dataclasses.replace(study, samples=stored(study.planned))


def test_they_are_those_of_the_best_member_at_the_beta_nearest_one(sampled):
    tables = tables_of(sampled)
    table = samples.table(tables)
    rows = tables.rows[(tables.rows["subset"] == "test") & (tables.rows["beta"] == 0.7)]
    best = rows.loc[rows.groupby("cell")["elbo"].idxmax(), "member_id"].tolist()
    assert table.drop_duplicates("cell")["member_id"].tolist() == best
    assert len(table) == 2 * (samples.PRIOR_PICTURES + DIMENSIONS * len(VALUES))
    note = samples.note(tables, table)
    assert note.startswith("Of each cell the model with the best test ELBO at the β nearest 1 (β = 0.7)")


def test_a_validation_subset_chooses_where_there_is_one(sampled):
    test = sampled.members[sampled.members["subset"] == "test"]
    ids = test["member_id"].tolist()
    worst_first = test.assign(subset="validation", elbo=-test["elbo"])
    tables = tables_of(sampled, members=pd.concat([sampled.members, worst_first]))
    table = samples.table(tables)
    rows = test.merge(tables.planned[["member_id", "cell"]], on="member_id")
    rows = rows[rows["beta"] == 0.7]
    worst = rows.loc[rows.groupby("cell")["elbo"].idxmin(), "member_id"].tolist()
    assert len(ids) == 18
    assert table.drop_duplicates("cell")["member_id"].tolist() == worst
    assert "the best validation ELBO at" in samples.note(tables, table)


def test_sheets_have_every_picture_in_order_with_words_for_each(sampled):
    table, album = samples.table(tables_of(sampled)), Album()
    sheets = sample_sheets(table, album)
    assert [sheet.panel for sheet in sheets] == ["1 layer", "3 layers"]
    assert len(album.sources) == 2  # one a model, as its pictures are alike
    for sheet in sheets:
        assert sheet.prior is not None
        assert len(sheet.prior.pictures) == samples.PRIOR_PICTURES
        assert sheet.moves == ("−1.5 sd", "+0 sd", "+1.5 sd")
        assert [line.name for line in sheet.traversals] == ["dimension 1", "dimension 2"]
        texts = [picture.text for picture in sheet.traversals[1].pictures]
        assert [text.partition(", β")[0] for text in texts] == [
            f"latent dimension 2 moved by {value} sd" for value in ("-1.5", "+0", "+1.5")
        ]
        assert sheet.prior.pictures[2].text.startswith("sample 3 from the prior, β = 0.7, seed ")


def test_the_page_shows_them_and_the_chart_compiles(sampled):
    page = page_of(sampled)
    text = render(page)
    assert 'id="figure-depth-samples"' in text
    assert text.count("from the prior, β = 0.7") == 2 * 2 * samples.PRIOR_PICTURES  # alt and title
    tables = tables_of(sampled)
    spec = samples.chart(tables, samples.table(tables)).vega_lite
    assert vl_convert.vegalite_to_svg(spec).count("<image") == 2 * (samples.PRIOR_PICTURES + DIMENSIONS * len(VALUES))


def test_a_page_has_room_for_so_many_and_says_what_it_leaves_out(sampled, monkeypatch):
    monkeypatch.setattr(samples, "MOST_PICTURES", 20)
    tables = tables_of(sampled)
    table = samples.table(tables)
    assert table["cell"].unique().tolist() == [0]
    assert samples.note(tables, table).endswith("Left out to keep the page light: 1 cells.")


def test_without_pictures_there_is_no_such_figure(simulate):
    assert samples.table(tables_of(simulate(WHOLE))).empty
    assert simulate.page(WHOLE).experiments[0].sheets is None
