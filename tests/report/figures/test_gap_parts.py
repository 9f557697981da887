"""The parts of the generalization gap: what they add up to, what their intervals hold, and what is doubted."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.figures import gap_parts, log_marginal
from tests.report.conftest import Simulation, tables_of

LISTS = ["image_log_marginal", "image_elbo", "image_refit_elbo"]


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True))


def without(table, columns, members=None):
    """The table with null in these columns, of some members or all."""
    chosen = table["member_id"].isin(members if members is not None else table["member_id"])
    return table.assign(**{column: table[column].where(~chosen, None) for column in columns})


def parts_of(study, measures=None):
    """The table without the gap over all images, with some measures in place of those of the study."""
    table = gap_parts.table(tables_of(study, measures=study.measures if measures is None else measures))
    return table[table["series"] != gap_parts.WHOLE].reset_index(drop=True)


def test_the_parts_of_the_gap_add_up_and_ignore_easier_images(study):
    table = parts_of(study)
    wide = table.pivot_table(index=["cell", "beta"], columns="series", values="value")
    np.testing.assert_allclose(wide[gap_parts.DECODER] + wide[gap_parts.ENCODER], wide[gap_parts.GAP])
    np.testing.assert_allclose(wide[gap_parts.ENCODER], 1.0)
    np.testing.assert_allclose(wide[gap_parts.REFITTED], 0.5)
    easier = study.measures.copy()
    train = easier["subset"] == "train"
    easier.loc[train, "log_marginal"] += 50.0
    easier.loc[train, "log_marginal_floor"] -= 50.0
    again = parts_of(study, easier)
    np.testing.assert_allclose(again["value"], table["value"])


def test_intervals_of_the_parts_are_around_their_means(study):
    table = parts_of(study)
    assert table["of_images"].all()
    np.testing.assert_allclose((table["low"] + table["high"]) / 2, table["value"], atol=1e-3)
    widths = table.assign(width=table["high"] - table["low"]).groupby("series")["width"].min()
    assert widths[gap_parts.GAP] > 6  # of 199 images each that differ by 20 nats
    assert widths[gap_parts.ENCODER] == pytest.approx(0.0, abs=1e-3)  # which is 1 nat on all of them


def test_only_what_is_made_of_a_doubted_log_p_is_doubted(study):
    table = parts_of(study)
    made = table["series"].isin([gap_parts.DECODER, gap_parts.ENCODER])
    assert (table.loc[made, "believed"] == (table.loc[made, "beta"] >= 0.05)).all()
    assert table.loc[~made, "believed"].all()
    of_seed = study.measures["member_id"].isin(study.planned.loc[study.planned["seed"] == 1, "member_id"])
    passed = np.where((study.measures["subset"] == "train") & of_seed, 0.8, 1.0)
    doubted = parts_of(study, study.measures.assign(log_marginal_passed=passed))
    assert not doubted.loc[doubted["series"] == gap_parts.DECODER, "believed"].any()


@pytest.mark.parametrize("missing", ["all", "one member"])
def test_without_numbers_of_images_bars_are_deviations_over_seeds(study, missing):
    members = None if missing == "all" else study.planned.loc[study.planned["seed"] == 1, "member_id"]
    bare = without(study.measures, LISTS, members)
    for table in (log_marginal.table(tables_of(study, measures=bare)), parts_of(study, bare)):
        assert not table["of_images"].any()
        np.testing.assert_allclose(table["high"] - table["value"], table["sd"])


def test_the_gap_over_all_images_is_of_the_members_table(study):
    parts = gap_parts.table(tables_of(study))
    assert list(dict.fromkeys(parts["series"]))[:2] == [gap_parts.GAP, gap_parts.WHOLE]
    table = parts[parts["series"] == gap_parts.WHOLE].set_index(["cell", "beta"])["value"]
    seen = statistics.ok_rows(with_cells(study.planned), study.members)
    seen = seen.assign(above=seen["elbo"] + seen["floor"])
    means = seen.pivot_table(index=["cell", "beta"], columns="subset", values="above")
    pd.testing.assert_series_equal(table, means["train"] - means["test"], check_names=False)


def test_the_note_says_what_the_bars_hold(study):
    for measures, phrase in (
        (study.measures, "95 % intervals that hold the choice of images"),
        (without(study.measures, LISTS), "numbers of single images are not stored"),
    ):
        tables = tables_of(study, measures=measures)
        assert phrase in gap_parts.FIGURE.words(tables, gap_parts.table(tables))
