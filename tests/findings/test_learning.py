"""Still learning: the fall of the training distortion over the last quarter of training, against its noise."""

import numpy as np
import pandas as pd
import pytest

from rdstudy.findings.learning import still_learning

STEPS = [1, 10, 100, 250, 500, 750, 1000]
FLOOR = 40.0


def tables(curves):
    """Curves of D above its floor at `STEPS`: (β, seed) -> values."""
    planned, rows = [], []
    for (beta, seed), curve in curves.items():
        name = f"{beta}/{seed}"
        planned.append({"member_id": name, "dataset": "d", "depth": 3, "beta": beta, "seed": seed})
        for subset, shift in (("train", 0.0), ("test", 7.0)):
            rows += [
                {"member_id": name, "subset": subset, "step": step, "distortion": FLOOR + shift + value}
                for step, value in zip(STEPS, curve, strict=True)
            ]
    return pd.DataFrame(planned), pd.DataFrame(rows).assign(distortion_floor=FLOOR)


def curve(end, fall):
    return [500.0, 300.0, 200.0, 150.0, 2 * end, end + fall, end]


def test_the_fall_is_that_of_the_last_quarter():
    table = still_learning(*tables({(0.1, seed): curve(80.0, 6.0 + seed) for seed in range(3)}))
    row = table.iloc[0]
    assert (row["fall"], row["left"], row["seeds"], row["depth"]) == (7.0, 80.0, 3, 3)
    assert row["error"] == pytest.approx(1 / np.sqrt(3))
    assert row["learning"]


@pytest.mark.parametrize(
    ("falls", "learning"),
    [
        ([6.0, 6.5, 7.0], True),
        ([1.0, 1.1, 1.2], False),  # sure, and less than a fiftieth
        ([12.0, -6.0, 0.5], False),  # a fortieth on average, and within the noise
        ([6.0], True),  # one seed has no noise that is known
        ([-6.0, -5.0, -6.0], False),
    ],
)
def test_a_small_fall_or_one_within_its_noise_is_no_learning(falls, learning):
    table = still_learning(*tables({(0.1, seed): curve(80.0, fall) for seed, fall in enumerate(falls)}))
    assert table["learning"].tolist() == [learning]


def test_each_beta_is_told_apart_and_a_single_point_says_nothing():
    planned, rows = tables({(0.1, 0): curve(80.0, 6.0), (1.0, 0): curve(80.0, 0.0), (3.0, 0): curve(80.0, 9.0)})
    rows = rows[~((rows["member_id"] == "3.0/0") & (rows["step"] < STEPS[-1]))]
    table = still_learning(planned, rows)
    assert dict(zip(table["beta"], table["learning"], strict=True)) == {0.1: True, 1.0: False}


def test_nothing_stored_is_no_finding():
    planned, rows = tables({(0.1, 0): curve(80.0, 6.0)})
    assert still_learning(planned, rows.iloc[:0]).empty
