"""Laws of the statistics: known means and deviations, what may enter a mean, and what an ELBO contour is."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rdstudy.findings.student import student_quantile
from rdstudy.report import statistics
from rdstudy.report.cells import grid_phrase, telling_factors, with_cells
from rdstudy.report.statistics import PlotDomain
from tests.report.conftest import Simulation


def rows_of(values, *, beta=1.0, subset="test", cell=0, floor=10.0):
    """Rows of `ok_rows` with these distortions, one per seed; the rate of seed i is i + 1."""
    seeds = range(len(values))
    return pd.DataFrame(
        {
            "member_id": [f"{cell}-{beta}-{seed}" for seed in seeds],
            "cell": cell,
            "panel": f"cell {cell}",
            "dataset": "tetrominoes",
            "likelihood": "bernoulli",
            "beta": beta,
            "seed": list(seeds),
            "subset": subset,
            "images": 97,
            "rate": [seed + 1.0 for seed in seeds],
            "distortion": values,
            "floor": floor,
            "excess": [value - floor for value in values],
            "elbo": [-value - seed - 1 for seed, value in zip(seeds, values, strict=True)],
        }
    )


def gaps_of(rows):
    return statistics.generalization_gap(statistics.member_gaps(rows))


def best_of(rows):
    return statistics.best_beta(rows, points=statistics.rate_distortion(rows))


def test_mean_and_sample_deviation_are_those_computed_by_hand():
    point = statistics.rate_distortion(rows_of([20.0, 23.0, 29.0])).iloc[0]
    assert point["distortion"] == 24.0
    assert point["distortion_sd"] == pytest.approx(math.sqrt((16 + 1 + 25) / 2))
    assert point["excess"] == 14.0
    assert point["rate"] == 2.0
    assert point["rate_sd"] == 1.0
    assert point["elbo"] == -26.0
    assert (point["models"], point["images"], point["floor"]) == (3, 97, 10.0)


def test_one_run_has_no_deviation():
    point = statistics.rate_distortion(rows_of([20.0])).iloc[0]
    assert point["models"] == 1
    assert pd.isna(point["distortion_sd"])


@settings(max_examples=29, deadline=None)
@given(st.lists(st.floats(1, 1e3), min_size=2, max_size=7), st.floats(-100, 100))
def test_a_shift_moves_the_mean_and_not_the_deviation(values, shift):
    before = statistics.rate_distortion(rows_of(values)).iloc[0]
    after = statistics.rate_distortion(rows_of([value + shift for value in values])).iloc[0]
    assert after["distortion"] == pytest.approx(before["distortion"] + shift, abs=1e-6)
    assert after["distortion_sd"] == pytest.approx(before["distortion_sd"], abs=1e-6)
    assert after["elbo"] == pytest.approx(-after["distortion"] - after["rate"], abs=1e-6)


def test_points_of_different_cells_betas_and_subsets_do_not_mix():
    parts = [
        rows_of([20.0, 22.0], beta=beta, subset=subset, cell=cell)
        for beta in (0.1, 1.0, 3.0)
        for subset in ("train", "test")
        for cell in range(5)
    ]
    points = statistics.rate_distortion(pd.concat(parts))
    assert len(points) == 3 * 2 * 5
    assert (points["models"] == 2).all()


def test_only_members_that_ended_well_enter_a_mean(simulate):
    good = simulate(Simulation(depths=[1], betas=[1.0], seeds=5, outcomes=["ok", "failed", "nonfinite", None]))
    rows = statistics.ok_rows(with_cells(good.planned), good.members)
    assert set(rows["seed"]) == {0, 4}
    assert (statistics.rate_distortion(rows)["models"] == 2).all()


def test_gap_is_between_subsets_of_one_member_each_above_its_own_floor():
    both = [rows_of([31.0, 35.0], subset="test", floor=11.0), rows_of([20.0, 20.0], subset="train", floor=10.0)]
    gap = gaps_of(pd.concat(both)).iloc[0]
    assert gap["gap"] == pytest.approx((20 + 24) / 2 - 10)
    assert gap["gap_sd"] == pytest.approx(math.sqrt(8))


def test_results_hold_both_subsets_side_by_side():
    both = [rows_of([31.0, 35.0], subset="test", floor=11.0), rows_of([20.0, 20.0], subset="train", floor=10.0)]
    rows = pd.concat(both)
    row = statistics.results(statistics.rate_distortion(rows), gaps_of(rows)).iloc[0]
    assert (row["distortion_test"], row["distortion_train"]) == (33.0, 20.0)
    assert (row["floor_test"], row["floor_train"]) == (11.0, 10.0)
    assert row["distortion_sd_test"] == pytest.approx(math.sqrt(8))
    assert row["models"] == 2


def test_best_beta_is_the_lowest_mean_and_compares_seeds_in_pairs():
    parts = [
        rows_of(values, beta=beta) for beta, values in ((0.1, [30.0, 33.0, 39.0]), (1.0, [20.0, 21.0]), (3.0, [25.0]))
    ]
    best = best_of(pd.concat(parts)).iloc[0]
    assert (best["beta"], best["distortion"], best["models"], best["place"]) == (1.0, 20.5, 2, "inside")
    assert (best["smallest"], best["largest"], best["betas"]) == (0.1, 3.0, 3)
    assert best["smallest_pairs"] == 2  # seed 2 was not trained at the best β
    assert best["smallest_rise"] == pytest.approx((10 + 12) / 2)
    half = student_quantile(1 - 0.025 / 2, 1) * math.sqrt(2) / math.sqrt(2)  # of two other β
    assert best["smallest_low"] == pytest.approx(11 - half)
    assert best["smallest_high"] == pytest.approx(11 + half)
    assert (best["largest_pairs"], best["largest_rise"]) == (1, 5.0)
    assert math.isnan(best["largest_low"])


def test_a_flat_curve_is_rarely_told_to_have_a_lowest_point():
    rng, many = np.random.default_rng(3), 300
    seeds, each = rng.normal(0, 5, 3 * many), np.arange(3 * many)  # of many cells; all β share them
    rows = [rows_of(list(50 + seeds + rng.normal(0, 1, 3 * many)), beta=beta) for beta in (0.01, 0.1, 1.0, 3.0)]
    best = best_of(pd.concat([table.assign(cell=each // 3, seed=each % 3) for table in rows]))
    assert len(best) == many
    assert (best["smallest_low"] > 0).mean() <= 0.05


def test_gap_of_the_elbo_is_above_the_floors_too():
    both = [rows_of([31.0, 35.0], subset="test", floor=11.0), rows_of([20.0, 20.0], subset="train", floor=10.0)]
    gap = gaps_of(pd.concat(both)).iloc[0]
    assert gap["elbo_gap"] == pytest.approx(gap["gap"])  # rates are equal
    assert gap["gap_models"] == 2


@pytest.mark.parametrize(("lowest", "place"), [(0.1, "smallest"), (1.0, "inside"), (3.0, "largest")])
def test_best_beta_says_where_it_lies(lowest, place):
    parts = [rows_of([10.0 if beta == lowest else 20.0], beta=beta) for beta in (0.1, 1.0, 3.0)]
    assert best_of(pd.concat(parts)).iloc[0]["place"] == place


def test_best_beta_of_one_beta_and_of_nothing():
    assert best_of(rows_of([20.0])).iloc[0]["place"] == "only"
    assert best_of(rows_of([])).empty


def test_pilot_numbers_show_a_minimum_at_depth_one_alone(simulate):
    study = simulate(Simulation())
    rows = statistics.ok_rows(with_cells(study.planned), study.members)
    best = best_of(rows).set_index("panel")
    assert list(best.loc["1 layer", ["beta", "place"]]) == [1.0, "inside"]
    assert best.loc["3 layers", "place"] == "smallest"


@settings(max_examples=53, deadline=None)
@given(st.floats(0, 50), st.floats(1, 900), st.floats(0, 300), st.floats(1, 300))
def test_contours_lie_in_the_domain_and_have_their_elbo(rate_min, rate_span, low, span):
    domain = PlotDomain(rate_min if rate_min >= 0.1 else 0.0, rate_min + rate_span, low, low + span)
    lines = statistics.elbo_contours(domain)
    np.testing.assert_allclose(lines["rate"] + lines["distortion"], -lines["elbo"], rtol=1e-9)
    assert lines["rate"].between(domain.rate_min - 1e-6, domain.rate_max + 1e-6).all()
    assert lines["distortion"].between(low - 1e-6, low + span + 1e-6).all()
    assert lines["label"].sum() == lines["elbo"].nunique() <= 25


@pytest.mark.parametrize(("lowest", "floor_is_shown"), [(16.0, True), (30.0, False)])
def test_domain_holds_every_error_bar_and_the_floor_unless_it_would_squeeze_them(lowest, floor_is_shown):
    points = statistics.rate_distortion(pd.concat([rows_of([lowest, lowest + 2]), rows_of([40.0, 41.0], beta=3.0)]))
    domain = statistics.plot_domain(points)
    assert (points["floor"] == 10.0).all()
    assert (domain.distortion_min < 10.0) == floor_is_shown
    assert domain.distortion_min < lowest + 1 - math.sqrt(2)
    assert domain.distortion_max > 41.0
    assert domain.rate_scale == "log"


def test_a_collapsed_posterior_gets_an_axis_that_shows_it():
    collapsed = rows_of([20.0]).assign(rate=1e-4)
    domain = statistics.plot_domain(statistics.rate_distortion(collapsed))
    assert (domain.rate_scale, domain.rate_min) == ("sqrt", 0.0)


def test_a_factor_that_another_determines_is_not_named(simulate):
    planned = simulate(Simulation(architectures=["mlp", "cnn"], splits=["cv(8192)", "cd(8192)"])).planned
    assert planned["width"].nunique() == 2
    assert telling_factors(planned) == ("split", "architecture", "depth")
    named = with_cells(planned)
    assert named["cell"].nunique() == named["panel"].nunique() == 8
    assert "constant volume, 8,192 training images, MLP, 1 layer" in set(named["panel"])
    assert grid_phrase(planned) == "2 splits × 2 architectures × 2 depths × 5 β × 3 seeds"


def test_panels_keep_the_order_in_which_the_study_names_levels(simulate):
    planned = with_cells(simulate(Simulation(depths=[3, 1])).planned)
    assert planned.drop_duplicates("cell").sort_values("cell")["panel"].to_list() == ["3 layers", "1 layer"]


def test_cells_are_in_the_order_of_their_factors_whatever_the_order_of_members(simulate):
    planned = simulate(Simulation(depths=[3, 1], splits=["checkerboard", "cv(8192)"], betas=[1.0], seeds=1)).planned
    assert with_cells(planned.iloc[[0, 3, 1, 2]])["cell"].to_list() == [0, 3, 1, 2]
