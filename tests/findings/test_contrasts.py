"""From tables to samples: which rows count, what each kind of contrast computes, and what a study file may say."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from rdstudy.claims import (
    Betas,
    Claim,
    Contrast,
    above,
    alike,
    at_least,
    best_near,
    deeper_minimum,
    distances_alike,
    exceeds,
    falls,
    interior_minimum,
    lower_everywhere,
    monotone,
    widens,
    widens_less,
)
from rdstudy.claims.contrasts import KINDS
from rdstudy.findings.contrasts import _SAMPLES, evidence
from rdstudy.findings.judge import judge
from rdstudy.findings.values import LEAST_ESS, Values

ARM, OTHER = {"split": "cv(97)", "depth": 1}, {"split": "cv(97)", "depth": 3}
SPLITS, LESS = ["cv(97)", "cv(194)"], ["cd(97)", "cd(194)"]
ONE_OF_EACH = [
    interior_minimum(ARM),
    monotone(ARM, share=0.1),
    falls(ARM, value="marginal_kl", subset="train", betas=Betas(most=1)),
    above(ARM, value="information_share", subset="train", least=0.95, betas=Betas(below=1)),
    lower_everywhere(ARM, than=OTHER, value="rate"),
    exceeds(ARM, over=OTHER, value="copied_fraction", times=2, betas=Betas(least=1), over_betas=Betas(most=0.1)),
    alike(ARM, to=OTHER, apart=(ARM, OTHER)),
    best_near(ARM, value="negative_elbo", beta=0.1),
    deeper_minimum(ARM, than=OTHER),
    widens({"depth": 1}, to={"depth": 3}, splits=SPLITS),
    widens_less({"depth": 1}, to={"depth": 3}, splits=LESS, than=SPLITS),
    distances_alike("tetrominoes", split="checkerboard", to="cv(97)", apart=("cv(97)", "cv(997)")),
]
BETAS = (0.01, 0.1, 1.0, 3.0)


def tables(curves, *, seeds=3, splits=("cv(97)",), ess=50.0):
    """A tiny study: `curves` maps depth -> test distortion above the floor at `BETAS`; seeds differ by a shift.

    The floor is 100 on train and 110 on test images; rate = 5/β; train lies 2 below test.
    """
    planned, rows = [], []
    for split in splits:
        for depth, curve in curves.items():
            for beta, excess in zip(BETAS, curve, strict=True):
                for seed in range(seeds):
                    name = f"{split}/{depth}/{beta}/{seed}"
                    planned.append({"member_id": name, "split": split, "depth": depth, "beta": beta, "seed": seed})
                    for subset, floor in (("train", 98.0), ("test", 110.0)):
                        distortion = floor + excess + 0.5 * seed + 1e-3 * seed * beta
                        own = {"distortion": distortion, "distortion_floor": floor + 2.0 * (subset == "train")}
                        stop = {"stop_distortion": distortion - 1, "rate": 5 / beta, "log_marginal": -distortion - 1}
                        more = {"mutual_information": 4.0, "marginal_kl": 1 / beta, "aggregate_images": 97}
                        last = {"copied_fraction": 0.25, "log_marginal_floor": own["distortion_floor"]}
                        row = {"member_id": name, "subset": subset, "outcome": "ok", "log_marginal_ess": ess}
                        rows.append({**row, **own, **stop, **more, **last})
    both = pd.DataFrame(rows)
    measured = ["distortion", "distortion_floor", "stop_distortion", "rate", "outcome"]
    return (
        pd.DataFrame(planned),
        both,
        both.drop(columns=measured),
        pd.DataFrame(columns=["dataset", "split", "image", "distance"]),
    )


def values(*given, **options):
    return Values.of(*tables(*given, **options))


def sample(contrast, some):
    return _SAMPLES[contrast.kind](contrast, some)


SHALLOW, DEEP = (20.0, 10.0, 12.0, 30.0), (5.0, 8.0, 9.0, 14.0)
BOTH = {1: SHALLOW, 3: DEEP}


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda one: one.kind)
def test_a_contrast_survives_json(contrast):
    claim = Claim("c", "a sentence", "somewhere", [at_least(1, [contrast]), contrast], "figure")
    back = Claim.from_dict(json.loads(json.dumps(claim.to_dict())))
    assert json.loads(json.dumps(back.to_dict())) == json.loads(json.dumps(claim.to_dict()))
    some = values(BOTH)
    for one, other in zip(claim.contrasts, back.contrasts, strict=True):
        assert evidence(one, some) == evidence(other, some)


def test_there_is_one_of_each_kind():
    assert {one.kind for one in ONE_OF_EACH} | {"at_least"} == set(KINDS) == set(_SAMPLES) | {"at_least"}


def test_values_lie_above_the_floors_of_their_own_images():
    some = values(BOTH)
    expected = {
        ("distortion", "test"): 20.0,
        ("distortion", "train"): 18.0,
        ("distortion_gap", "test"): 2.0,
        ("stopped_distortion", "test"): 19.0,
        ("negative_elbo", "test"): 520.0,
        ("negative_log_marginal", "test"): 21.0,
        ("log_marginal_gap", "test"): 2.0,
        ("rate", "test"): 500.0,
        ("marginal_kl", "train"): 100.0,
        ("copied_fraction", "test"): 0.25,
        ("information_share", "train"): 4 / np.log(97),
    }
    for (name, subset), value in expected.items():
        assert some.curve(ARM, name, subset).table.loc[0, 0.01] == pytest.approx(value), name
    assert len(some.used) == len(BETAS) * 3


def test_a_minimum_is_told_by_the_rises_to_both_edges():
    found = sample(interior_minimum(ARM, share=0.1), values(BOTH))
    assert found.effects.shape == (3, 2, 2)  # seeds, inner β, edges
    assert found.effects[0].tolist() == [[10.0, 20.0], [8.0, 18.0]]
    assert found.thresholds[0] == pytest.approx(np.array([[2.0, 1.0], [1.8, 0.8]]))
    assert found.labels[0] == ["rise from β = 0.1 to 0.01", "rise from β = 0.1 to 3"]


def test_every_pair_of_betas_may_break_monotony():
    found = sample(monotone(ARM, share=0.5), values(BOTH))
    assert found.never
    assert found.effects[0, :, 0].tolist() == [10.0, 8.0, -10.0, -2.0, -20.0, -18.0]
    assert found.thresholds[0, :, 0].tolist() == [5.0] * 6


def test_curves_that_differ_less_than_half_as_much_are_alike():
    far = {**ARM, "depth": 2}
    found = sample(alike(ARM, to=OTHER, apart=(ARM, far)), values({**BOTH, 2: (60.0, 50.0, 52.0, 70.0)}))
    assert (found.effects[0].item(), found.thresholds[0].item()) == (9.0, 20.0)
    assert found.below


def test_near_is_within_half_a_decade():
    found = sample(best_near(ARM, value="distortion", beta=0.02), values(BOTH))
    assert found.effects.shape == (3, 1, 3)  # near: 0.01; far: 0.1, 1, 3
    assert found.effects[0].tolist() == [[-10.0, -8.0, 10.0]]
    wider = sample(best_near(ARM, value="distortion", beta=1.8), values(BOTH))
    assert wider.effects.shape == (3, 2, 2)  # near: 1, 3; far: 0.01, 0.1
    assert sample(best_near(ARM, value="distortion", beta=0.1), values(BOTH)).effects.shape == (3, 1, 3)


def test_means_over_ranges_of_beta():
    few = exceeds(ARM, over=OTHER, value="distortion", times=2, betas=Betas(above=0.1), over_betas=Betas(most=0.1))
    found = sample(few, values(BOTH))
    assert (found.effects[0].item(), found.thresholds[0].item()) == (21.0, 13.0)


def test_growth_is_per_halving_of_the_training_set():
    some = values(BOTH, splits=(*SPLITS, *LESS))
    near = some.rows["member_id"].str.startswith("cv(97)/1")
    some.rows.loc[near, "distortion"] += 100.0
    found = sample(widens({"depth": 1}, to={"depth": 3}, splits=SPLITS), some)
    apart = np.abs(np.subtract(SHALLOW, DEEP)).mean()
    near_apart = np.abs(np.subtract(SHALLOW, DEEP) + 100).mean()
    assert found.effects.ravel() == pytest.approx(near_apart - apart)
    less = sample(widens_less({"depth": 1}, to={"depth": 3}, splits=LESS, than=SPLITS), some)
    assert less.effects == pytest.approx(0.0)
    assert less.thresholds == pytest.approx(found.effects[0].item() / 2)


def verdict(contrast, *changed):
    (found,) = judge([Claim("c", "a sentence", "", [contrast])], Values.of(*changed))
    return found


def test_a_seed_with_a_gap_is_left_out_and_counted():
    planned, members, measures, near = tables(BOTH, seeds=5)
    whole = verdict(interior_minimum(ARM), planned, members, measures, near)
    assert (whole.verdict, whole.effect.seeds, whole.runs) == ("supported", 4, 20)
    members.loc[members["member_id"] == "cv(97)/1/0.1/4", "outcome"] = "failed"
    less = verdict(interior_minimum(ARM), planned, members, measures, near)
    assert (less.verdict, less.effect.seeds, less.runs) == ("supported", 3, 19)


@pytest.mark.parametrize(
    "lost",
    ["a β not trained", "all but two seeds", "not finite", "nothing stored", "no such models"],
)
def test_what_is_missing_is_not_made_up(lost):
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrast = interior_minimum(ARM)
    if lost == "a β not trained":
        members = members[~members["member_id"].str.contains("/1/3.0/")]
    elif lost == "all but two seeds":
        members = members[members["member_id"].str.endswith(("/0", "/1"))]
    elif lost == "not finite":
        members.loc[members["member_id"].str.contains("/1/0.01/"), "distortion"] = np.nan
    elif lost == "nothing stored":
        members = members.iloc[:0]
    else:
        contrast = interior_minimum({"split": "cv(97)", "depth": 7})
    found = verdict(contrast, planned, members, measures, near)
    assert (found.verdict, found.effect) == ("not enough runs", None)
    assert re.search("[012] complete seeds where 3 are needed", found.notes[-1])
    assert ("no models with split cv(97), depth 7" in found.notes[0]) == (lost == "no such models")


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda one: one.kind)
@pytest.mark.parametrize("missing", [1, 3])
def test_every_kind_is_short_of_runs_without_one_of_its_arms(contrast, missing):
    planned, members, measures, near = tables(BOTH, splits=(*SPLITS, *LESS), seeds=5)
    stays = ~planned["member_id"].str.contains(f"/{missing}/")
    some = verdict(contrast, planned, members[~members["member_id"].str.contains(f"/{missing}/")], measures, near)
    none = verdict(contrast, planned[stays], members, measures, near)
    needs_no_seed = contrast.kind == "distances_alike"
    uses = needs_no_seed or any(arm["depth"] == missing for arm in contrast.arms.values())
    for found in (some, none):
        assert (found.verdict == "not enough runs") == uses


def test_an_arm_of_two_cells_is_said_and_not_judged():
    found = verdict(interior_minimum({"split": "cv(97)"}), *tables(BOTH))
    assert found.verdict == "not enough runs"
    assert "2 cells, which differ in depth" in found.notes[0]


def test_log_marginals_that_rest_on_few_draws_are_left_out_and_told():
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrast = best_near(ARM, value="negative_log_marginal", beta=0.1)
    assert verdict(contrast, planned, members, measures, near).notes == ()
    low = measures["member_id"].str.contains("/0.01/") & (measures["subset"] == "test")
    measures.loc[low, "log_marginal_ess"] = LEAST_ESS - 1
    found = verdict(contrast, planned, members, measures, near)
    assert found.verdict == "supported"
    assert "left out at β = 0.01" in found.notes[0]
    measures["log_marginal_ess"] = np.where(measures["member_id"].str.contains("/0.1/"), 1.0, LEAST_ESS + 1)
    found = verdict(contrast, planned, members, measures, near)
    assert (found.verdict, found.effect) == ("undecided", None)  # no other β takes the place of the one asked for
    assert found.notes[-1] == "no negative log marginal at a β near 0.1"
    measures["log_marginal_ess"] = np.where(measures["subset"] == "test", LEAST_ESS - 1, 1000.0)
    assert "left out at β = 0.01, 0.1, 1, 3" in verdict(contrast, planned, members, measures, near).notes[0]
    measures["log_marginal_ess"] = 1.0
    found = verdict(contrast, planned, members, measures, near)
    assert (found.verdict, found.effect) == ("undecided", None)


def test_distances_of_images_are_judged_without_seeds():
    planned, members, measures, _ = tables(BOTH)
    rng = np.random.default_rng(5)
    parts = [
        pd.DataFrame({"dataset": "d", "split": split, "image": range(400), "distance": rng.normal(centre, 1, 400)})
        for split, centre in {"one": 5.0, "same": 5.0, "far": 9.0}.items()
    ]
    contrast = distances_alike("d", split="one", to="same", apart=("same", "far"))
    found = verdict(contrast, planned, members, measures, pd.concat(parts))
    assert (found.verdict, found.effect.seeds) == ("supported", 10)
    assert verdict(contrast, planned, members, measures, pd.concat(parts[:2])).verdict == "not enough runs"
    assert verdict(contrast, planned, members, measures, pd.concat(parts).head(190)).verdict == "not enough runs"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: interior_minimum(ARM, value="loss"), "contrast: value is 'loss'; allowed: distortion, "),
        (lambda: interior_minimum(ARM, subset="all"), "contrast: subset is 'all'; allowed: train, test"),
        (lambda: interior_minimum({}), "contrast 'interior_minimum': arm is {}; allowed: a dictionary"),
        (lambda: monotone(ARM, share=-1), "contrast: share is -1; allowed: a finite number, 0 or more"),
        (lambda: best_near(ARM, value="rate", beta=0), "beta is 0; allowed: a finite number above 0"),
        (
            lambda: Betas(least="1"),  # type: ignore[arg-type]
            "betas.least is '1'; allowed: a finite number, 0 or more",
        ),
        (lambda: at_least(3, [interior_minimum(ARM)]), "at_least is 3; allowed: 1 to 1, the number of contrasts"),
        (lambda: widens(ARM, to=OTHER, splits=["cv(9)"]), "contrast: splits is ['cv(9)']; allowed: two or more splits"),
        (lambda: Contrast("looks nice"), "contrast is 'looks nice'; allowed: interior_minimum, "),
        (lambda: Claim("a b", "s", "", [monotone(ARM)]), "claim name is 'a b'; allowed: up to 64 letters"),
        (lambda: Claim("a", "", "", [monotone(ARM)]), "claim 'a': sentence is ''; allowed: a name in quotes"),
        (lambda: Claim("a", "s", "", []), "claim 'a': contrasts is []; allowed: a list of one or more contrasts"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line(make, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_claims_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        interior_minimum(ARM).kind = "monotone"  # type: ignore[misc]
