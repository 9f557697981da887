"""Contrasts in words: every kind has its sentence, models are named by what tells them apart, β by their bounds."""

import pandas as pd
import pytest

from rdstudy.findings.clauses import betas_words, clause, shared_levels, telling, value_name
from rdstudy.study.claims import Betas, Claim, Contrast, at_least, exceeds, interior_minimum
from rdstudy.study.claims.contrasts import KINDS, VALUES
from tests.findings.test_contrasts import ONE_OF_EACH

SHALLOW, DEEP = ({"dataset": "tetrominoes", "split": "cv(1024)", "depth": depth} for depth in (1, 3))


def words(contrast):
    return clause(contrast, telling(Claim("c", "s", "", [contrast])))


WORDS = {
    "interior_minimum": "test distortion has a minimum inside the range of β, below both ends by 5 % of the other's "
    "height",
    "monotone": "test distortion falls as β gets smaller, without a rise above 10 % of its whole fall",
    "falls": "train marginal KL falls from each β to the next larger one at β ≤ 1",
    "above": "train mutual information over log N is above 0.95 at β < 1, at every β",
    "lower_everywhere": "test rate of 1 layer is below that of 3 layers at every β",
    "exceeds": "mean test share of copied reconstructions of 1 layer at β ≥ 1 exceeds 2 times that of 3 layers at "
    "β ≤ 0.1",
    "best_near": "test −ELBO is lowest within half a decade of β = 0.1",
    "mean_above": "mean test memorization above chance at β ≥ 1 is above 0.05",
    "distances_alike": "distances to the nearest training image of checkerboard differ from those of constant "
    "volume, 97 training images by less than 50 % of what constant volume, 97 training images and constant volume, "
    "997 training images differ by",
}


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda contrast: contrast.kind)
def test_every_kind_has_its_sentence(contrast):
    assert words(contrast) == WORDS.get(contrast.kind, words(contrast))
    assert words(contrast) != contrast.kind
    assert len(words(contrast)) > 30


def test_there_are_words_for_every_kind_and_value():
    assert {contrast.kind for contrast in ONE_OF_EACH} | {"at_least"} == set(KINDS)
    assert words(at_least(2, ONE_OF_EACH[:3])) == "at least 2 of these hold"
    names = {value: value_name(value) for value in (*VALUES, "own:sharpness")}
    assert len(set(names.values())) == len(names)
    assert not any("_" in name for name in names.values())


def test_a_kind_of_an_older_version_has_its_name():
    old = {"kind": "widens", "arms": {"arm": {"depth": 1}}, "settings": {}, "parts": ()}
    assert words(Contrast.from_dict(old)) == "widens"


def test_models_are_named_by_what_differs_among_the_arms_of_the_claim():
    two = Claim("c", "s", "", [interior_minimum(SHALLOW), interior_minimum(DEEP)])
    assert telling(two) == ("depth",)
    assert [clause(contrast, telling(two))[:25] for contrast in two.contrasts] == [
        "test distortion of 1 laye",
        "test distortion of 3 laye",
    ]
    planned = pd.DataFrame({"dataset": ["tetrominoes"] * 2, "split": ["cv(1024)", "cv(97)"], "depth": [1, 3]})
    assert (
        shared_levels(two, planned) == "constant volume, 1,024 training images"
    )  # the study has another split, and no other data set
    one = Claim("c", "s", "", [interior_minimum(DEEP)])
    assert (telling(one), shared_levels(one, planned)) == ((), "constant volume, 1,024 training images, 3 layers")


def test_one_arm_at_two_ranges_is_named_once():
    contrast = exceeds(SHALLOW, over=SHALLOW, value="distortion_gap", betas=Betas(most=0.1), over_betas=Betas(least=1))
    assert words(contrast) == "mean gap in distortion at β ≤ 0.1 exceeds that at β ≥ 1"


@pytest.mark.parametrize(
    ("betas", "expected"),
    [
        (Betas(), ""),
        (Betas(least=1, most=1), " at β = 1"),
        (Betas(above=0.1, most=3), " at β > 0.1 and ≤ 3"),
    ],
)
def test_bounds_of_beta_in_words(betas, expected):
    assert betas_words(betas.__dict__) == expected
