"""A verdict on networks that were still learning says so: which, by how much, and only of those that it is about."""

import pandas as pd
import pytest

from rdstudy.claims import Claim, interior_minimum, lower_everywhere
from rdstudy.findings.judge import judge
from rdstudy.findings.values import Values
from tests.findings.test_contrasts import tables

SPLITS = ("cv(97)", "cv(194)")


def trajectories(planned, fall):
    """Train D that falls over the last quarter by `fall` of a row of `planned`, from 80 nats above its floor."""
    rows = []
    for row in planned.to_dict("records"):
        for step, excess in ((10, 300.0), (750, 80.0 + fall(row)), (1000, 80.0)):
            own = {"member_id": row["member_id"], "subset": "train", "step": step}
            rows.append({**own, "distortion": 40.0 + excess, "distortion_floor": 40.0})
    return pd.DataFrame(rows)


def learning(fall, *contrasts):
    planned, members, measures, near = tables({1: (20.0,) * 4, 3: (10.0,) * 4}, seeds=3, splits=SPLITS)
    curves = trajectories(planned, fall)
    values = Values.of(planned, members, measures, near, trajectories=curves)
    (found,) = judge([Claim("c", "A sentence.", "", list(contrasts))], values)
    return found.learning


ARM, OTHER = ({"split": "cv(97)", "depth": depth} for depth in (1, 3))


def deep(row):
    """The deep ones fall by some 9 nats at β = 3, by 5 elsewhere, a little more for each seed."""
    return (row["depth"] == 3) * (5.0 + 4.0 * (row["beta"] == 3.0) + 0.1 * row["seed"])


def test_the_cell_is_named_by_the_factor_in_which_arms_differ_at_the_beta_where_it_falls_the_most():
    told = learning(deep, lower_everywhere(OTHER, than=ARM, value="rate"))
    expected = "3 layers, train D fell by 9.1 ± 0.058 nats in the last quarter at β = 3"
    assert told == f"on networks still learning: {expected}"


def test_networks_of_other_claims_do_not_count():
    assert learning(deep, interior_minimum(ARM)) == ""
    assert learning(lambda _: 0.0, interior_minimum(OTHER)) == ""
    assert learning(deep, interior_minimum(OTHER)).startswith("on networks still learning: 3 layers, train D fell")


def test_two_are_named_and_the_rest_counted():
    arms = [{"split": split, "depth": depth} for split in SPLITS for depth in (1, 3)]
    told = learning(lambda row: 5.0 + row["depth"] + 0.1 * row["seed"], *(interior_minimum(arm) for arm in arms))
    assert told.count("train D fell by") == 2
    assert told.count("3 layers") == 2
    assert told.endswith("; and 2 more")
    assert "cv(97), 3 layers" in told
    assert "cv(194), 3 layers" in told


@pytest.mark.parametrize("curves", [None, pd.DataFrame()])
def test_without_trajectories_nothing_is_known(curves):
    planned, members, measures, near = tables({1: (20.0,) * 4})
    values = Values.of(planned, members, measures, near, trajectories=curves)
    assert judge([Claim("c", "A sentence.", "", [interior_minimum(ARM)])], values)[0].learning == ""
