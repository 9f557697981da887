"""A verdict on networks that were still learning says so: which, by how much, and only of those that it is about."""

import pandas as pd
import pytest

from rdstudy.findings.judge import judge
from rdstudy.findings.values import Values
from rdstudy.study.claims import Claim, distances_alike, interior_minimum, lower_everywhere
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
    (finding,) = judge([Claim("c", "A sentence.", "", list(contrasts))], values)
    return finding.learning.words


ARM, OTHER = ({"split": "cv(97)", "depth": depth} for depth in (1, 3))


def deep(row):
    """The deep ones fall by some 9 nats at β = 3, by 5 elsewhere, a little more for each seed."""
    return (row["depth"] == 3) * (5.0 + 4.0 * (row["beta"] == 3.0) + 0.1 * row["seed"])


def test_the_cell_is_named_by_the_factor_in_which_arms_differ_at_the_beta_where_it_falls_the_most():
    words = learning(deep, lower_everywhere(OTHER, than=ARM, value="rate"))
    expected = "3 layers, train D fell by 9.1 ± 0.058 nats in the last quarter at β = 3"
    assert words == f"on networks still learning: {expected}"


def test_networks_of_other_claims_do_not_count():
    assert learning(deep, interior_minimum(ARM)).startswith("on networks that were not found still learning: ")
    ended = learning(lambda _: 0.0, interior_minimum(OTHER))
    assert ended.endswith("at most, train D fell by 0.0 ± 0 nats in the last quarter at β = 0.01")
    assert learning(deep, interior_minimum(OTHER)).startswith("on networks still learning: 3 layers, train D fell")


def test_two_are_named_and_the_rest_counted():
    arms = [{"split": split, "depth": depth} for split in SPLITS for depth in (1, 3)]
    words = learning(lambda row: 5.0 + row["depth"] + 0.1 * row["seed"], *(interior_minimum(arm) for arm in arms))
    assert words.count("train D fell by") == 2
    assert words.count("3 layers") == 2
    assert words.endswith("; and 2 more")
    assert "constant volume, 97 training images, 3 layers" in words
    assert "constant volume, 194 training images, 3 layers" in words


MINIMUM = interior_minimum(ARM)


def judged(curves, contrast=MINIMUM):
    planned, members, measures, near = tables({1: (20.0,) * 4})
    kept = trajectories(planned, lambda _: 0.0)
    values = Values.of(planned, members, measures, near, trajectories=curves(kept))
    return judge([Claim("c", "A sentence.", "", [contrast])], values)[0].learning


@pytest.mark.parametrize("curves", [lambda _: None, lambda _: pd.DataFrame(), lambda kept: kept.iloc[:0]])
def test_without_trajectories_it_is_said_that_nothing_is_known(curves):
    learning = judged(curves)
    assert learning.state == "unknown"
    assert learning.words == (
        "whether its networks were still learning is not known: no training curve is stored of any of its 12 models"
    )


def test_models_without_their_trajectory_are_counted():
    lost = judged(lambda kept: kept[~kept["member_id"].str.endswith("/0")])
    assert lost.state == "unknown"
    assert lost.words.endswith("is not known: no training curve is stored of 4 of its 12 models")
    one_point = judged(lambda kept: kept[kept["step"] == 1000])
    assert one_point.words.endswith("of any of its 12 models")


def test_those_that_are_known_to_learn_are_named_beside_those_that_are_not_followed():
    planned, members, measures, near = tables({1: (20.0,) * 4})
    kept = trajectories(planned, lambda row: 9.0 + 0.1 * row["seed"])
    values = Values.of(planned, members, measures, near, trajectories=kept[~kept["member_id"].str.contains("/3.0/")])
    (finding,) = judge([Claim("c", "A sentence.", "", [interior_minimum(ARM)])], values)
    assert finding.learning.state == "still learning"
    assert finding.learning.words.endswith("3 of its 12 models, and nothing is known of those")


def test_a_claim_about_images_alone_rests_on_no_network():
    learning = judged(lambda kept: kept, distances_alike("d", split="a", to="b", apart=("b", "c")))
    assert (learning.state, learning.words) == ("no networks", "")
