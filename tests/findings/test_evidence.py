"""Laws of the statistics: Student's t against an independent reference, and what seeds say about simple numbers."""

import dataclasses
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, Effect, Evidence, Sample, at_least, decide
from rdstudy.findings.student import student_cdf, student_quantile
from tests.findings.simulated import verdict_of

SEEDS, CANDIDATES, PARTS = 5, 3, 2


def sample(values, *, thresholds=0.0, below=False, never=False):
    values = np.asarray(values, float)
    labels = [[f"candidate {c} part {p}" for p in range(values.shape[2])] for c in range(values.shape[1])]
    limits = np.broadcast_to(thresholds, values.shape)
    return Sample(values, limits, labels, "nats", below=below, never=never)


def integrated(t, df):
    """P(T <= t): the density from 0 to t by Simpson's rule on 20,000 intervals, and one half."""
    scale = math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    at = np.linspace(0.0, t, 20_001)
    density = scale * (1 + at**2 / df) ** (-(df + 1) / 2)
    return 0.5 + (density[0] + density[-1] + 4 * density[1::2].sum() + 2 * density[2:-1:2].sum()) * t / 60_000


def plain(numbers, **options):
    return decide(sample(np.asarray(numbers, float)[:, None, None], **options))


@pytest.mark.parametrize("df", [1, 2, 3, 4, 5, 9, 30, 101])
@pytest.mark.parametrize("t", [-9.5, -1.3, 0.0, 0.2, 2.7764, 40.0])
def test_students_distribution_is_the_integral_of_its_density(t, df):
    assert student_cdf(np.array(t), df) == pytest.approx(integrated(t, df), abs=1e-10)


def test_students_quantiles_are_those_of_the_tables():
    tabled = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042}
    for df, value in tabled.items():
        assert student_quantile(0.975, df) == pytest.approx(value, abs=5e-4)
    ends = student_cdf(np.array([-math.inf, math.inf]), 4)
    assert ends.tolist() == [0.0, 1.0]


def test_an_interval_is_that_of_a_textbook():
    """Five numbers worked by hand: mean 3, standard deviation sqrt(2.5), t(0.975, 4) = 2.776."""
    decided = plain([1, 2, 3, 4, 5], thresholds=0.5)
    half = 2.7764451 * math.sqrt(2.5 / 5)
    effect = decided.weakest
    assert (effect.mean, effect.threshold, effect.seeds) == (3.0, 0.5, 5)
    assert (effect.low, effect.high) == (pytest.approx(3 - half), pytest.approx(3 + half))
    t = 2.5 / math.sqrt(0.5)
    assert decided.p_against == pytest.approx(integrated(t, 4), abs=1e-10)
    assert decided.p_for == pytest.approx(1 - integrated(t, 4), abs=1e-10)


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=9), st.floats(-20, 20))
def test_the_verdict_is_where_the_interval_lies(numbers, threshold):
    decided = plain(numbers, thresholds=threshold)
    verdict, effect = verdict_of([decided]), decided.weakest
    if min(abs(effect.low - threshold), abs(effect.high - threshold)) < 1e-6:
        return
    side = "supported" if effect.low > threshold else "contradicted" if effect.high < threshold else "undecided"
    assert verdict == side
    mirrored = verdict_of([plain(numbers, thresholds=threshold, below=True)])
    assert mirrored == {"supported": "contradicted", "contradicted": "supported"}.get(verdict, verdict)


def test_seeds_that_agree_to_the_bit_decide_by_their_sign_and_ties_decide_nothing():
    assert verdict_of([plain([0.25] * 5)]) == "supported"
    assert verdict_of([plain([-0.25] * 5)]) == "contradicted"
    assert verdict_of([plain([0.0] * 5)]) == "undecided"


@pytest.mark.parametrize("seeds", range(LEAST_SEEDS))
def test_too_few_seeds_are_not_enough_however_clear_they_are(seeds):
    assert verdict_of([plain(100.0 + np.arange(seeds))]) == "not enough models"


def test_nothing_to_compare_decides_nothing():
    assert verdict_of([decide(sample(np.zeros((5, 0, 2))))]) == "undecided"


def test_the_seed_that_chooses_a_candidate_does_not_judge_it():
    values = np.full((SEEDS, CANDIDATES, PARTS), -1.0) + 0.01 * np.arange(SEEDS)[:, None, None]
    values[0, 2] = 1_000.0  # one seed is enthusiastic about the last candidate, and no other is about any
    decided = decide(sample(values))
    assert decided.weakest is not None
    assert decided.weakest.label.startswith("candidate 2")
    assert decided.weakest.seeds == SEEDS - 1
    assert decided.p_for > 0.99
    assert decided.weakest.high < 0


def test_how_a_number_was_chosen_is_said():
    values = np.random.default_rng(6).normal(1.0, 1.0, (11, CANDIDATES, PARTS))
    named = dataclasses.replace(sample(values), seeds=range(3, 14), candidates=("β = 0.1", "β = 1", "β = 3"))
    decided = decide(named)
    assert decided.weakest is not None
    assert decided.refuted is not None
    chosen = decided.weakest.label.split()[1]
    expected = f"seeds 3, 4 chose {named.candidates[int(chosen)]} and are not in the interval"
    assert decided.weakest.chosen == expected
    assert re.fullmatch(r"of 3, β = [\d.]+ is the hardest to refute", decided.refuted.chosen)
    five = decide(sample(np.ones((SEEDS, 1, 8)) + np.random.default_rng(1).standard_normal((SEEDS, 1, 8))))
    assert five.refuted is not None
    assert five.refuted.chosen == "seed 0 chose this comparison of 8 and is not in the interval"
    images = dataclasses.replace(named, images=(np.ones((*values.shape, 7)),))
    shared, alone = decide(images).weakest, plain(np.arange(5.0)).weakest
    assert shared is not None
    assert shared.chosen.endswith("is the best of 3, for which the verdict is corrected")
    assert alone is not None
    assert alone.chosen == ""


@pytest.mark.parametrize(("above", "sides"), [(True, [1, -1, 0]), (False, [-1, 1, 0])])
def test_an_interval_lies_where_it_is_needed_or_not(above, sides):
    ends = [(1.0, 2.0), (-2.0, -1.0), (-1.0, 1.0)]
    effects = [Effect(0.0, low, high, 0.0, above=above, label="", unit="", seeds=5) for low, high in ends]
    assert [effect.side for effect in effects] == sides


def test_a_handicap_changes_the_choice_and_no_number():
    values = np.full((SEEDS, 2, 1), 5.0) + 0.01 * np.arange(SEEDS)[:, None, None]
    values[:, 1] += 2.0
    free, held = (
        decide(dataclasses.replace(sample(values), handicaps=handicaps))
        for handicaps in (None, np.array([[0.0, 3.0]] * SEEDS))
    )
    assert free.weakest is not None
    assert held.weakest is not None
    assert free.weakest.label.startswith("candidate 1")
    assert held.weakest.label.startswith("candidate 0")
    assert held.weakest.mean == pytest.approx(5.0 + 0.025)


@pytest.mark.parametrize("never", [False, True])
def test_numbers_in_doubt_speak_for_neither_side_and_are_not_too_few(never):
    doubted = dataclasses.replace(sample(np.ones((SEEDS, 2, 1)), never=never), doubts=("log p(x) is in doubt",))
    decided = decide(doubted)
    assert (decided.p_for, decided.p_against, decided.weakest, decided.seeds) == (1.0, 1.0, None, SEEDS)
    assert decided.notes == ("log p(x) is in doubt",)
    assert verdict_of([decided]) == "undecided"
    assert verdict_of([decided, plain(-np.arange(3.0, 8.0))]) == "contradicted"


def test_seeds_that_share_images_do_not_choose_for_each_other():
    """The candidate is corrected for instead: all seeds judge it, at p times the number of candidates."""
    rng = np.random.default_rng(8)
    values = rng.normal(1.0, 1.0, (SEEDS, CANDIDATES, PARTS))
    flat = np.broadcast_to(values[..., None], (*values.shape, 7))
    decided = decide(dataclasses.replace(sample(values), images=(flat,)))
    single = min(max(plain(values[:, c, p]).p_for for p in range(PARTS)) for c in range(CANDIDATES))
    assert decided.weakest is not None
    assert (decided.weakest.seeds, decided.weakest.images) == (SEEDS, 7)
    assert decided.p_for == pytest.approx(min(1.0, CANDIDATES * single))


def test_of_many_parts_seeds_choose_the_one_that_refutes():
    values = np.full((SEEDS, 1, 8), 5.0) + np.random.default_rng(9).standard_normal((SEEDS, 1, 8))
    values[:, :, 3] -= 12.0
    decided = decide(sample(values))
    assert decided.refuted is not None
    assert (decided.refuted.label, decided.refuted.seeds) == ("candidate 0 part 3", SEEDS - 1)
    assert decided.p_against == pytest.approx(plain(values[1:, 0, 3]).p_against)


def test_all_parts_of_one_candidate_must_hold():
    """Each part holds at some candidate, both at none."""
    noise = 0.01 * np.random.default_rng(2).standard_normal((SEEDS, 2, 2))
    values = np.array([[1.0, -1.0], [-1.0, 1.0]]) + noise
    assert verdict_of([decide(sample(values))]) == "contradicted"
    assert verdict_of([decide(sample(np.abs(values)))]) == "supported"


def test_a_candidate_with_two_parts_is_not_refuted_twice_as_easily():
    numbers = np.array([-1.0, -2.0, -3.0, -4.0, -0.5])
    alone, both = (decide(sample(np.stack([numbers, *more], axis=1)[:, None])) for more in ([], [10.0 + numbers]))
    assert both.p_against == pytest.approx(2 * alone.p_against)


def test_never_is_the_reverse():
    values = np.random.default_rng(4).normal(np.array([[2.0], [9.0], [-1.0]]), 1.0, (SEEDS, CANDIDATES, PARTS))
    rising, never = decide(sample(values)), decide(sample(values, never=True))
    assert (rising.p_for, rising.p_against) == (never.p_against, never.p_for)
    assert rising.weakest is not None
    assert never.refuted is not None
    assert (rising.weakest.above, never.refuted.above) == (True, False)


def test_one_refuted_candidate_does_not_speak_against_the_others():
    values = np.full((SEEDS, 2, 1), -5.0) + 0.01 * np.arange(SEEDS)[:, None, None]
    values[:, 1] = np.array([-1.0, 1.0, -2.0, 2.0, 0.1])[:, None]
    assert verdict_of([decide(sample(values))]) == "undecided"


def evidence(p_for, p_against, seeds=5):
    enough = plain(np.arange(5.0)).weakest if seeds >= LEAST_SEEDS else None
    return Evidence(p_for, p_against, enough, enough, seeds)


SURE, REFUTED, OPEN, FEW = evidence(1e-4, 1), evidence(1, 1e-4), evidence(0.5, 0.5), evidence(1, 1, seeds=1)


@pytest.mark.parametrize(
    ("held", "verdict"),
    [
        ([SURE, SURE], "supported"),
        ([SURE, OPEN], "undecided"),
        ([SURE, REFUTED], "contradicted"),
        ([OPEN, REFUTED], "contradicted"),
        ([SURE, FEW], "not enough models"),
        ([REFUTED, FEW], "contradicted"),
        ([evidence(1, ERROR * 0.9), SURE], "undecided"),  # two contrasts: each may err half as often
        ([evidence(1, ERROR * 0.4), SURE], "contradicted"),
    ],
)
def test_a_claim_needs_all_of_its_contrasts_and_falls_with_one(held, verdict):
    assert verdict_of(held) == verdict


@pytest.mark.parametrize(
    ("least", "parts", "verdict"),
    [
        (3, [SURE, SURE, SURE, REFUTED], "supported"),
        (3, [SURE, SURE, REFUTED, REFUTED], "contradicted"),
        (3, [SURE, SURE, OPEN, REFUTED], "undecided"),
        (3, [SURE, SURE, SURE, FEW], "supported"),
        (3, [SURE, SURE, FEW, REFUTED], "not enough models"),
        (3, [SURE, SURE, REFUTED, FEW], "not enough models"),
        (3, [SURE, SURE, OPEN, FEW], "not enough models"),  # as of a claim that needs all of them
        (1, [REFUTED, REFUTED], "contradicted"),
        (2, [evidence(1, ERROR * 0.7), SURE], "undecided"),
        (2, [evidence(1, ERROR * 0.4), SURE], "contradicted"),
        (2, [evidence(ERROR * 0.7, 1)] * 3, "undecided"),  # one of three may be left out: Bonferroni
    ],
)
def test_at_least_so_many_of_some_contrasts(least, parts, verdict):
    assert verdict_of([at_least(least, parts)]) == verdict
