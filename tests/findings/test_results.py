"""A verdict can be recomputed from the contrasts that are shown: from their results, and these from their intervals."""

import functools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rdstudy.findings.evidence import ERROR, LEAST_SEEDS, Effect, Evidence, at_least
from rdstudy.findings.judge import judge
from rdstudy.findings.results import VERDICTS, Levels, combined, judged, whole
from rdstudy.findings.values import Values
from rdstudy.study.claims import Claim
from rdstudy.study.claims import at_least as at_least_of
from tests.findings.simulated import verdict_of
from tests.findings.test_contrasts import ARM, BETAS, ONE_OF_EACH, OTHER, SPLITS, tables

EFFECT = Effect(1.0, 0.5, 1.5, 0.0, above=True, label="rise", unit="nats", seeds=5)
P = st.one_of(st.just(1.0), st.floats(0, 1), st.floats(0, 3 * ERROR))


def single(p_for, p_against, seeds=5):
    effect = EFFECT if seeds >= LEAST_SEEDS else None
    return Evidence(p_for, p_against, effect, effect, seeds)


singles = st.builds(single, P, P, st.sampled_from([5, 5, 5, 1])).map(
    lambda part: part if part.seeds >= LEAST_SEEDS else single(1.0, 1.0, 1)
)
nested = st.lists(singles, min_size=1, max_size=4).flatmap(
    lambda parts: st.integers(1, len(parts)).map(lambda least: at_least(least, parts))
)


def by_p(held):
    """The verdict from the p of whole contrasts, without a look at their parts."""
    if min(part.p_against for part in held) * len(held) <= ERROR:
        return "contradicted"
    return "supported" if max(part.p_for for part in held) <= ERROR else "neither"


@given(st.lists(st.one_of(singles, nested), min_size=1, max_size=4))
def test_counting_results_is_comparing_the_p_of_the_whole(held):
    verdict = verdict_of(held)
    assert {"undecided": "neither", "not enough models": "neither"}.get(verdict, verdict) == by_p(held)


def recomputed(contrasts, least):
    """The result of a whole from what is shown of its parts, and of the parts of those."""
    results = []
    for contrast in contrasts:
        if contrast.parts:
            again = recomputed(contrast.parts, contrast.contrast.settings["least"])
            assert again == contrast.result
        results.append(contrast.result)
    assert sum(contrast.decides for contrast in contrasts) == 1
    return combined(results, least)


@functools.cache
def noisy(seed, *, spread, seeds=5):
    """Tables with other curves and noise for each number, which many claims are judged by."""
    rng = np.random.default_rng([seed, seeds])
    curves = {depth: tuple(rng.normal(20.0, 12.0, len(BETAS))) for depth in (1, 3)}
    planned, members, measures, near = tables(curves, splits=SPLITS, seeds=seeds)
    for name in ("distortion", "rate", "stop_distortion"):
        members[name] += rng.normal(0, spread, len(members))
    for name in ("mutual_information", "marginal_kl", "log_marginal"):
        measures[name] += rng.normal(0, spread, len(measures))
    return Values.of(planned, members, measures, near)


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda contrast: contrast.kind)
def test_the_verdict_on_every_kind_of_claim_follows_from_its_contrasts(contrast):
    pair = [contrast, ONE_OF_EACH[4]]
    claims = [
        Claim("alone", "A sentence.", "", [contrast]),
        Claim("two", "A sentence.", "", pair),
        Claim("some", "A sentence.", "", [at_least_of(1, pair), contrast]),
    ]
    for seed, (spread, seeds) in enumerate([(0.1, 5), (3.0, 5), (9.0, 5), (3.0, 7), (3.0, 2)]):
        for finding in judge(claims, noisy(seed, spread=spread, seeds=seeds)):
            assert len(finding.contrasts) == len(finding.claim.contrasts)
            result = recomputed(finding.contrasts, len(finding.contrasts))
            assert VERDICTS[result] == finding.verdict
            for part in (part for shown in finding.contrasts for part in shown.flat()):
                check_interval(part)


def check_interval(part):
    """The interval of the number that is shown lies where the result says."""
    expected = {"held": 1, "not held": -1}
    if part.result in expected:
        assert part.parts or part.effect.side == expected[part.result]
    elif part.result == "not told apart" and not part.parts:
        assert part.effect.side == 0 or part.corrected
    else:
        assert part.effect is None


def test_every_kind_comes_out_in_more_than_one_way():
    """Else the test above would say little."""
    results = {
        contrast.kind: {
            judge([Claim("c", "s", "", [contrast])], noisy(seed, spread=spread))[0].contrasts[0].result
            for seed in range(8)
            for spread in (0.1, 9.0)
        }
        for contrast in ONE_OF_EACH
    }
    assert {result for per_kind in results.values() for result in per_kind} >= {"held", "not held", "not told apart"}


@pytest.mark.parametrize(
    ("results", "least", "expected"),
    [
        (["held", "held", "not held"], 2, "held"),
        (["held", "not held", "not held"], 2, "not held"),
        (["held", "not held", "not told apart"], 2, "not told apart"),
        (["held", "not held", "not enough models"], 2, "not enough models"),
        (["held", "not told apart", "nothing follows"], 3, "nothing follows"),
        (["not held", "not enough models"], 2, "not held"),
    ],
)
def test_results_are_counted(results, least, expected):
    assert combined(results, least) == expected


def test_the_number_shown_of_an_open_contrast_is_one_whose_interval_is_open():
    """A candidate that one seed chose may be refuted where another is not: what is shown is the other."""
    refuted = Effect(-5.0, -6.0, -4.0, 0.0, above=True, label="the chosen one", unit="nats", seeds=4)
    open_one = Effect(0.1, -1.0, 1.2, 0.0, above=True, label="the hardest", unit="nats", seeds=5)
    part = judged(Evidence(0.99, 0.4, refuted, open_one, 5), Levels())
    assert (part.result, part.effect) == ("not told apart", open_one)
    assert judged(Evidence(0.99, 0.4, refuted, refuted, 5), Levels()).effect == refuted


def test_the_part_that_decides_is_the_last_that_is_needed():
    weak, strong, refuted = single(0.02, 1.0), single(1e-5, 1.0), single(1.0, 1e-5)
    places = [[part.decides for part in whole(held).parts] for held in ([strong, weak], [weak, refuted, strong])]
    assert places == [[False, True], [False, True, False]]
    few = whole([strong, single(1.0, 1.0, 2), single(1.0, 1.0, 1)])
    assert [part.decides for part in few.parts] == [False, False, True]
    (inner,) = whole([at_least(2, [strong, weak, single(1e-3, 1.0)])]).parts
    assert [part.decides for part in inner.parts] == [False, False, True]


def test_contrasts_are_those_of_the_claim_in_its_order_and_say_how_the_number_was_chosen():
    curves = {1: (20.0, 10.0, 12.0, 30.0), 3: (5.0, 8.0, 9.0, 14.0)}
    planned, members, measures, near = tables(curves, seeds=5)
    seeds = planned.assign(seed=planned["seed"] + 3)
    claim = Claim("c", "s", "", [ONE_OF_EACH[0], ONE_OF_EACH[4]])
    (finding,) = judge([claim], Values.of(seeds, members, measures, near))
    assert [contrast.contrast for contrast in finding.contrasts] == list(claim.contrasts)
    first, second = (contrast.effect for contrast in finding.contrasts)
    assert first is not None
    assert second is not None
    assert (first.chosen, first.seeds) == ("seed 3 chose β = 0.1 and is not in the interval", 4)
    assert second.chosen == ""


def test_an_arm_of_two_cells_leaves_the_other_contrasts_judged():
    known = noisy(1, spread=0.1)
    claim = Claim("c", "s", "", [ONE_OF_EACH[0], at_least_of(1, [ONE_OF_EACH[4], ONE_OF_EACH[0]])])
    mistaken = json.loads(json.dumps(claim.to_dict()))
    del mistaken["contrasts"][0]["arms"]["arm"]["depth"]
    (finding,) = judge([Claim.from_dict(mistaken)], known)
    assert finding.verdict == "not enough models"
    assert "2 cells, which differ in depth" in finding.contrasts[0].notes[0]
    assert finding.contrasts[1].result in ("held", "not held", "not told apart")
    assert ARM != OTHER
