"""log p(x): what its intervals hold, and where it is not to be believed."""

import dataclasses

import numpy as np
import pytest

from rdstudy.measures.fitted_importance import LEAST_EFFECTIVE
from rdstudy.measures.pareto import RELIABLE_KHAT
from rdstudy.report.density import crossed_interval
from rdstudy.report.figures import log_marginal
from tests.report.conftest import BETAS, Simulation, tables_of
from tests.report.figures.test_gap_parts import LISTS, without


@pytest.fixture
def study(simulate):
    return simulate(Simulation(measured=True))


def table_of(study, **columns):
    """The table of a figure with some columns of its measures replaced."""
    return log_marginal.table(tables_of(study, measures=study.measures.assign(**columns)))


def test_log_p_is_believed_where_enough_images_pass(study):
    table = table_of(study)
    assert len(table) == 2 * 2 * len(BETAS)
    assert {row["beta"]: row["believed"] for row in table.to_dict("records")} == {beta: beta >= 0.05 for beta in BETAS}
    assert set(table["log_marginal_khat"]) == {1.2, 0.3}
    unsaid = table_of(study, log_marginal_passed=float("nan"))
    assert not unsaid["believed"].any()


def test_log_p_has_the_interval_of_its_seeds_and_images(study):
    rows, table = tables_of(study).measured, table_of(study)
    for point in table.to_dict("records"):
        same = rows[(rows["cell"] == point["cell"]) & (rows["subset"] == point["subset"])]
        same = same[same["beta"] == point["beta"]]
        assert point["value"] == pytest.approx((-same["log_marginal"] - same["log_marginal_floor"]).mean())
        interval = crossed_interval([-np.stack(same["image_log_marginal"])])
        assert (point["low"], point["high"]) == pytest.approx((interval.low, interval.high))
        assert point["high"] - point["low"] > 2 * 2 * 20 / 199**0.5 * 0.8  # the images differ by 20 nats


def test_images_that_differ_between_members_are_not_crossed(study):
    shorter = study.measures.copy()
    first = shorter.index[0]
    for column in LISTS:
        shorter.at[first, column] = shorter.at[first, column][:-1]
    table = log_marginal.table(tables_of(study, measures=shorter))
    assert (~table["of_images"]).sum() == 1


def note_of(study):
    tables = tables_of(study)
    return log_marginal.FIGURE.words(tables, log_marginal.table(tables))


def test_the_note_says_how_log_p_was_estimated_and_what_the_bars_hold(study):
    note = note_of(study)
    for phrase in ("997 samples", "199 images", "50 % to 100 % of the images pass", "0.30 to 1.20", "3 to 300"):
        assert phrase in note
    assert "95 % intervals that hold the choice of images" in note
    bare = note_of(dataclasses.replace(study, measures=without(study.measures, LISTS)))
    assert "numbers of single images are not stored" in bare


def test_one_run_has_an_interval_of_its_images_alone(simulate):
    assert "images alone, as there is one model" in note_of(simulate(Simulation(measured=True, seeds=1)))


def test_what_says_whether_to_believe_is_drawn_below(study):
    tables = tables_of(study)
    spec = log_marginal.chart(tables, log_marginal.table(tables)).vega_lite
    for panel in spec["concat"]:
        (_, *checks) = panel["vconcat"]
        drawn = {check["layer"][-1]["encoding"]["y"]["field"] for check in checks}
        assert drawn == {"log_marginal_ess", "log_marginal_passed", "log_marginal_khat"}
        rows = spec["datasets"][checks[0]["data"]["name"]]
        assert {row["log_marginal_ess"] for row in rows} == {3.0, 300.0}
    limits = {check.column: check.limit for check in log_marginal._checks(log_marginal.table(tables))}
    assert limits["log_marginal_khat"] == RELIABLE_KHAT
    assert limits["log_marginal_ess"] == LEAST_EFFECTIVE


def test_a_doubted_log_p_is_hollow_for_each_seed_too(study):
    of_seed = study.measures["member_id"].isin(study.planned.loc[study.planned["seed"] == 1, "member_id"])
    table = table_of(study, log_marginal_passed=np.where(of_seed, 0.5, 1.0))
    assert not table["believed"].any()
    for point in table.to_dict("records"):
        assert {seed: believed for seed, _, believed in point["seeds"]} == {0: True, 1: False, 2: True}
