"""log p(x) and the parts of the gap: what they add up to, what their intervals hold, and what is not to be believed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from rdstudy.report import density, measures, statistics
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.crossed import crossed_interval
from tests.report.conftest import BETAS, Simulation

LISTS = ["image_log_marginal", "image_elbo", "image_refit_elbo"]


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True))


@pytest.fixture
def rows(study):
    return measures.with_planned(with_cells(study.planned), study.measures)


def without(table, columns, members=None):
    """The table with null in these columns, of some members or all."""
    chosen = table["member_id"].isin(members if members is not None else table["member_id"])
    return table.assign(**{column: table[column].where(~chosen, None) for column in columns})


def test_log_p_is_believed_where_enough_images_pass(rows):
    table = density.log_marginals(rows)
    assert len(table) == 2 * 2 * len(BETAS)
    assert {row["beta"]: row["believed"] for row in table.to_dict("records")} == {beta: beta >= 0.05 for beta in BETAS}
    assert set(table["log_marginal_khat"]) == {1.2, 0.3}
    unsaid = density.log_marginals(rows.assign(log_marginal_passed=float("nan")))
    assert not unsaid["believed"].any()


def test_log_p_has_the_interval_of_its_seeds_and_images(rows):
    table = density.log_marginals(rows)
    for point in table.to_dict("records"):
        same = rows[(rows["cell"] == point["cell"]) & (rows["subset"] == point["subset"])]
        same = same[same["beta"] == point["beta"]]
        assert point["value"] == pytest.approx((-same["log_marginal"] - same["log_marginal_floor"]).mean())
        found = crossed_interval([-np.stack(same["image_log_marginal"])])
        assert (point["low"], point["high"]) == pytest.approx((found.low, found.high))
        assert point["high"] - point["low"] > 2 * 2 * 20 / 199**0.5 * 0.8  # the images differ by 20 nats


def test_the_parts_of_the_gap_add_up_and_ignore_easier_images(rows):
    table = density.gap_parts(rows)
    wide = table.pivot_table(index=["cell", "beta"], columns="series", values="value")
    np.testing.assert_allclose(wide[density.DECODER] + wide[density.ENCODER], wide[density.GAP])
    np.testing.assert_allclose(wide[density.ENCODER], 1.0)
    np.testing.assert_allclose(wide[density.REFITTED], 0.5)
    easier = rows.copy()
    train = easier["subset"] == "train"
    easier.loc[train, "log_marginal"] += 50.0
    easier.loc[train, "log_marginal_floor"] -= 50.0
    again = density.gap_parts(easier)
    np.testing.assert_allclose(again["value"], table["value"])


def test_intervals_of_the_parts_are_around_their_means(rows):
    table = density.gap_parts(rows)
    assert table["of_images"].all()
    np.testing.assert_allclose((table["low"] + table["high"]) / 2, table["value"], atol=1e-3)
    widths = table.assign(width=table["high"] - table["low"]).groupby("series")["width"].min()
    assert widths[density.GAP] > 6  # of 199 images each that differ by 20 nats
    assert widths[density.ENCODER] == pytest.approx(0.0, abs=1e-3)  # which is 1 nat on all of them


def test_only_what_is_made_of_a_doubted_log_p_is_doubted(rows):
    table = density.gap_parts(rows)
    made = table["series"].isin([density.DECODER, density.ENCODER])
    assert (table.loc[made, "believed"] == (table.loc[made, "beta"] >= 0.05)).all()
    assert table.loc[~made, "believed"].all()
    one = rows.assign(log_marginal_passed=np.where((rows["subset"] == "train") & (rows["seed"] == 1), 0.8, 1.0))
    doubted = density.gap_parts(one)
    assert not doubted.loc[doubted["series"] == density.DECODER, "believed"].any()


@pytest.mark.parametrize("missing", ["all", "one member"])
def test_without_numbers_of_images_bars_are_deviations_over_seeds(rows, missing):
    members = None if missing == "all" else rows.loc[rows["seed"] == 1, "member_id"]
    for table in (
        density.log_marginals(without(rows, LISTS, members)),
        density.gap_parts(without(rows, LISTS, members)),
    ):
        assert not table["of_images"].any()
        np.testing.assert_allclose(table["high"] - table["value"], table["sd"])


def test_images_that_differ_between_members_are_not_crossed(rows):
    shorter = rows.copy()
    first = shorter.index[0]
    for column in LISTS:
        shorter.at[first, column] = shorter.at[first, column][:-1]
    table = density.log_marginals(shorter)
    assert (~table["of_images"]).sum() == 1


def test_the_gap_over_all_images_is_of_the_members_table(study, rows):
    planned = with_cells(study.planned)
    cells = planned[["cell", "panel", "dataset"]].drop_duplicates("cell")
    gaps = statistics.generalization_gap(statistics.ok_rows(planned, study.members)).merge(cells, on="cell")
    parts = density.with_whole_gap(density.gap_parts(rows), gaps)
    assert list(dict.fromkeys(parts["series"]))[:2] == [density.GAP, density.WHOLE]
    table = parts[parts["series"] == density.WHOLE].set_index(["cell", "beta"])["value"]
    seen = statistics.ok_rows(planned, study.members).assign(above=lambda rows: rows["elbo"] + rows["floor"])
    means = seen.pivot_table(index=["cell", "beta"], columns="subset", values="above")
    pd.testing.assert_series_equal(table, means["train"] - means["test"], check_names=False)


def notes(study):
    return {figure.key.removeprefix("depth-"): figure.note for figure in page_of(study).figures}


def test_the_notes_say_how_log_p_was_estimated_and_what_the_bars_hold(study):
    found = notes(study)
    for phrase in ("997 samples", "199 images", "50 % to 100 % of the images pass", "0.30 to 1.20", "3 to 300"):
        assert phrase in found["log-marginal"]
    for key in ("log-marginal", "gap-parts"):
        assert "95 % intervals that hold the choice of images" in found[key]
    bare = notes(dataclasses.replace(study, measures=without(study.measures, LISTS)))
    assert "numbers of single images are not stored" in bare["gap-parts"]


def test_one_run_has_an_interval_of_its_images_alone(simulate):
    assert "images alone, as there is one run" in notes(simulate(Simulation(measured=True, seeds=1)))["log-marginal"]
