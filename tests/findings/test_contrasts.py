"""From tables to samples: which rows count, what each kind of contrast computes, and what a study file may say."""

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import pytest

from rdstudy.findings.arms import grouped
from rdstudy.findings.belief import LEAST_PASSED
from rdstudy.findings.contrasts import _SAMPLES, evidence
from rdstudy.findings.judge import judge
from rdstudy.findings.values import Values
from rdstudy.study.claims import (
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
    mean_above,
    monotone,
    rises_apart,
    rises_less_apart,
)
from rdstudy.study.claims.contrasts import KINDS, RETIRED

ARM, OTHER = {"split": "cv(97)", "depth": 1}, {"split": "cv(97)", "depth": 3}
SPLITS = ["cv(97)", "cv(194)"]
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
    mean_above(ARM, value="memorization_excess", subset="test", least=0.05, betas=Betas(least=1)),
    rises_apart({"depth": 1}, than={"depth": 3}, split="cv(97)"),
    rises_less_apart({"depth": 1}, than={"depth": 3}, split="cv(97)", beside="cv(194)"),
    distances_alike("tetrominoes", split="checkerboard", to="cv(97)", apart=("cv(97)", "cv(997)")),
]
BETAS = (0.01, 0.1, 1.0, 3.0)


def tables(curves, *, seeds=3, splits=("cv(97)",), passed=1.0):
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
                        last |= {"memorization": 0.625, "memorization_se": 0.03, "memorization_images": 499}
                        row = {"member_id": name, "subset": subset, "outcome": "ok", "log_marginal_passed": passed}
                        single = stop["log_marginal"] + own["distortion_floor"] + np.arange(-3.0, 4.0)
                        lists = {"image_log_marginal": single, "importance_images": 7, "images": 4001}
                        rows.append({**row, **own, **stop, **more, **last, **lists})
    both = pd.DataFrame(rows)
    measured = ["distortion", "distortion_floor", "stop_distortion", "rate", "outcome", "images"]
    return (
        pd.DataFrame(planned),
        both,
        both.drop(columns=measured),
        pd.DataFrame(columns=["dataset", "split", "image", "distance"]),
    )


def values(*given, **options):
    return Values.of(*tables(*given, **options))


def sample(contrast, known):
    return _SAMPLES[contrast.kind](contrast, known)


SHALLOW, DEEP = (20.0, 10.0, 12.0, 30.0), (5.0, 8.0, 9.0, 14.0)
BOTH = {1: SHALLOW, 3: DEEP}


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda contrast: contrast.kind)
def test_a_contrast_survives_json(contrast):
    claim = Claim("c", "a sentence", "somewhere", [at_least(1, [contrast]), contrast], "figure")
    back = Claim.from_dict(json.loads(json.dumps(claim.to_dict())))
    assert json.loads(json.dumps(back.to_dict())) == json.loads(json.dumps(claim.to_dict()))
    known = values(BOTH)
    for before, after in zip(claim.contrasts, back.contrasts, strict=True):
        assert evidence(before, known) == evidence(after, known)


def test_there_is_one_of_each_kind():
    assert {contrast.kind for contrast in ONE_OF_EACH} | {"at_least"} == set(KINDS) == set(_SAMPLES) | {"at_least"}


def test_values_lie_above_the_floors_of_their_own_images():
    known = values(BOTH)
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
        ("memorization_excess", "test"): 0.125,
        ("information_share", "train"): 4 / np.log(97),
    }
    for (name, subset), value in expected.items():
        assert known.curve(ARM, name, subset).table.loc[0, 0.01] == pytest.approx(value), name
    assert len(known.used) == len(BETAS) * 3


def test_a_minimum_is_told_by_the_rises_to_both_edges():
    drawn = sample(interior_minimum(ARM, share=0.1), values(BOTH))
    assert drawn.effects.shape == (3, 2, 2)  # seeds, inner β, edges
    assert drawn.effects[0].tolist() == [[10.0, 20.0], [8.0, 18.0]]
    assert drawn.thresholds[0] == pytest.approx(np.array([[2.0, 1.0], [1.8, 0.8]]))
    assert drawn.labels[0] == ["rise from β = 0.1 to 0.01", "rise from β = 0.1 to 3"]


def test_every_pair_of_betas_may_break_monotony():
    drawn = sample(monotone(ARM, share=0.5), values(BOTH))
    assert drawn.never
    assert drawn.effects[0, :, 0].tolist() == [10.0, 8.0, -10.0, -2.0, -20.0, -18.0]
    assert drawn.thresholds[0, :, 0].tolist() == [5.0] * 6


def test_curves_that_differ_less_than_half_as_much_are_alike():
    far = {**ARM, "depth": 2}
    drawn = sample(alike(ARM, to=OTHER, apart=(ARM, far)), values({**BOTH, 2: (60.0, 50.0, 52.0, 70.0)}))
    assert (drawn.effects[0].item(), drawn.thresholds[0].item()) == (9.0, 20.0)
    assert drawn.below


def test_near_is_within_half_a_decade():
    drawn = sample(best_near(ARM, value="distortion", beta=0.02), values(BOTH))
    assert drawn.effects.shape == (3, 1, 3)  # near: 0.01; far: 0.1, 1, 3
    assert drawn.effects[0].tolist() == [[-10.0, -8.0, 10.0]]
    wider = sample(best_near(ARM, value="distortion", beta=1.8), values(BOTH))
    assert wider.effects.shape == (3, 2, 2)  # near: 1, 3; far: 0.01, 0.1
    assert sample(best_near(ARM, value="distortion", beta=0.1), values(BOTH)).effects.shape == (3, 1, 3)


def test_means_over_ranges_of_beta():
    few = exceeds(ARM, over=OTHER, value="distortion", times=2, betas=Betas(above=0.1), over_betas=Betas(most=0.1))
    drawn = sample(few, values(BOTH))
    assert (drawn.effects[0].item(), drawn.thresholds[0].item()) == (21.0, 13.0)


def test_a_rise_is_compared_with_every_rise_of_the_other_arm():
    known = values(BOTH, splits=SPLITS)
    drawn = sample(rises_apart({"depth": 1}, than={"depth": 3}, split="cv(97)", share=0.1), known)
    assert drawn.effects.shape == (3, 4, 4)  # seeds, lowest β of the one, of the other
    assert drawn.effects[0, 1].tolist() == [10.0, 13.0, 14.0, 19.0]
    assert drawn.thresholds[0, 1].tolist() == [2.0] * 4
    less = sample(rises_less_apart({"depth": 1}, than={"depth": 3}, split="cv(97)", beside="cv(194)"), known)
    assert less.effects.shape == (3, 16, 16)
    # candidate: lowest of `arm` beside and of `than` here; part: of `arm` here and of `than` beside
    assert (less.effects[0, 4 * 1 + 2, 4 * 2 + 3].item(), less.below) == (8.0 - -4.0, True)
    assert less.thresholds[0, 4 * 1 + 2, 4 * 2 + 3].item() == 0.5 * (10.0 - -9.0)


def test_betas_that_are_practically_one_make_a_group_and_do_not_chain():
    paper = [0.001, 0.005, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0, 2.0, 3.0, 5.0]
    assert grouped(paper) == [[0.001], [0.005], [0.01], [0.1], [0.3, 0.5], [0.7, 0.9, 1.0], [2.0, 3.0], [5.0]]
    chain = [10 ** (0.1 * n) for n in range(9)]
    assert [len(group) for group in grouped(chain)] == [3, 3, 3]
    assert grouped([0.0, 1.0]) == [[0.0], [1.0]]


def test_curves_are_compared_by_the_means_of_groups_and_say_so():
    planned, members, measures, near = tables({1: SHALLOW})
    for table in (planned,):
        table["beta"] = table["beta"].replace({0.1: 0.9})
    drawn = sample(interior_minimum(ARM), Values.of(planned, members, measures, near))
    assert drawn.labels == [["rise from β = 0.9 to 1 to 0.01", "rise from β = 0.9 to 1 to 3"]]
    assert drawn.effects[0] == pytest.approx(np.array([[9.0, 19.0]]))


def verdict(contrast, *changed):
    (finding,) = judge([Claim("c", "a sentence", "", [contrast])], Values.of(*changed))
    return finding


def test_a_seed_with_a_gap_is_left_out_and_counted():
    planned, members, measures, near = tables(BOTH, seeds=5)
    whole = verdict(interior_minimum(ARM), planned, members, measures, near)
    assert (whole.verdict, whole.effect.seeds, whole.behind.models) == ("supported", 4, 20)
    members.loc[members["member_id"] == "cv(97)/1/0.1/4", "outcome"] = "failed"
    less = verdict(interior_minimum(ARM), planned, members, measures, near)
    assert (less.verdict, less.effect.seeds, less.behind.models) == ("supported", 3, 19)


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
    finding = verdict(contrast, planned, members, measures, near)
    assert (finding.verdict, finding.effect) == ("not enough models", None)
    assert re.search("[012] complete seeds? where 3 are needed", finding.notes[-1])
    assert ("no models with split cv(97), depth 7" in finding.notes[0]) == (lost == "no such models")


@pytest.mark.parametrize("contrast", ONE_OF_EACH, ids=lambda contrast: contrast.kind)
@pytest.mark.parametrize("missing", [1, 3])
def test_every_kind_is_short_of_runs_without_one_of_its_arms(contrast, missing):
    planned, members, measures, near = tables(BOTH, splits=SPLITS, seeds=5)
    stays = ~planned["member_id"].str.contains(f"/{missing}/")
    lacking = verdict(contrast, planned, members[~members["member_id"].str.contains(f"/{missing}/")], measures, near)
    none = verdict(contrast, planned[stays], members, measures, near)
    needs_no_seed = contrast.kind == "distances_alike"
    uses = needs_no_seed or any(arm["depth"] == missing for arm in contrast.arms.values())
    for finding in (lacking, none):
        assert (finding.verdict == "not enough models") == uses


def test_an_arm_of_two_cells_is_said_and_not_judged():
    finding = verdict(interior_minimum({"split": "cv(97)"}), *tables(BOTH))
    assert finding.verdict == "not enough models"
    assert "2 cells, which differ in depth" in finding.notes[0]


def doubt(measures, *, beta, subset="test"):
    """Measures in which log p(x) at a β is not to be believed, of one seed's model."""
    low = measures["member_id"].str.endswith(f"/{beta}/0") & (measures["subset"] == subset)
    assert low.any()
    return measures.assign(log_marginal_passed=np.where(low, LEAST_PASSED - 0.01, LEAST_PASSED))


@pytest.mark.parametrize("value", ["negative_log_marginal", "log_marginal_gap"])
@pytest.mark.parametrize("subset", ["test", "train"])
def test_a_contrast_with_a_beta_whose_log_marginal_is_in_doubt_is_undecided(value, subset):
    """Nothing is left out and the rest judged: log p(x) may be best, or worst, at that very β."""
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrast = best_near(ARM, value=value, beta=0.1)
    doubted = doubt(measures, beta=0.01, subset=subset)
    finding = verdict(contrast, planned, members, doubted, near)
    looked_at = subset == "test" or value == "log_marginal_gap"
    assert (finding.effect is None) == looked_at
    if looked_at:
        assert finding.verdict == "undecided"
        assert "split cv(97), depth 1 is not to be believed at β = 0.01, where fewer than 90 %" in finding.notes[0]
    else:
        assert finding.notes == ()


def test_only_betas_that_are_compared_put_a_contrast_in_doubt():
    planned, members, measures, near = tables(BOTH, seeds=5)
    doubted = doubt(measures, beta=0.01)
    contrast = exceeds(ARM, over=OTHER, value="negative_log_marginal", betas=Betas(least=1.0))
    assert verdict(contrast, planned, members, doubted, near).notes == ()
    whole = exceeds(ARM, over=OTHER, value="negative_log_marginal")
    assert verdict(whole, planned, members, doubted, near).verdict == "undecided"


@pytest.mark.parametrize("lost", ["null", "no column"])
def test_rows_that_do_not_say_how_many_passed_are_not_believed(lost):
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrast = best_near(ARM, value="negative_log_marginal", beta=0.1)
    old = measures.drop(columns="log_marginal_passed")
    measures = old if lost == "no column" else old.assign(log_marginal_passed=None)
    assert verdict(contrast, planned, members, measures, near).verdict == "undecided"
    assert verdict(best_near(ARM, value="rate", beta=0.1), planned, members, measures, near).effect is not None


def test_a_claim_with_a_contrast_in_doubt_falls_with_another_and_never_stands():
    planned, members, measures, near = tables(BOTH, seeds=5)
    known = Values.of(planned, members, doubt(measures, beta=0.01), near)
    doubted = best_near(ARM, value="negative_log_marginal", beta=0.1)
    true, false = (interior_minimum({**ARM, "depth": depth}) for depth in (1, 3))
    with_true, with_false = judge([Claim("a", "s", "", [doubted, true]), Claim("b", "s", "", [doubted, false])], known)
    assert (with_true.verdict, with_false.verdict) == ("undecided", "contradicted")
    assert with_true.effect is None


def test_a_beta_near_which_there_is_none_is_said():
    finding = verdict(best_near(ARM, value="rate", beta=1e-9), *tables(BOTH, seeds=5))
    assert (finding.verdict, finding.effect) == ("undecided", None)
    assert finding.notes[-1] == "no test rate at a β near 1e-09"


def test_single_images_go_where_their_value_goes():
    """log p(x) of 7 images that all members share: what they add to a contrast's distances is the same linear rule."""
    known = values(BOTH, splits=SPLITS)
    drawn = sample(interior_minimum(ARM, value="negative_log_marginal"), known)
    (images,) = drawn.images
    assert images.shape == (3, 2, 2, 7)
    assert images.mean(axis=-1) == pytest.approx(drawn.values)
    gap = sample(exceeds(ARM, over=OTHER, value="log_marginal_gap"), known)
    assert len(gap.images) == 2  # of train and of test
    assert sum(part.mean(axis=-1) for part in gap.images) == pytest.approx(gap.values)
    apart = exceeds(ARM, over={**OTHER, "split": "cv(194)"}, value="negative_log_marginal")
    assert len(sample(apart, known).images) == 2  # two splits have two samples of images
    assert sample(interior_minimum(ARM), known).images == ()


def test_images_that_differ_make_an_interval_wider_only_where_they_do_not_cancel():
    planned, members, measures, near = tables(BOTH, seeds=5)
    level = exceeds(ARM, over=OTHER, value="negative_log_marginal")
    same = verdict(level, planned, members, measures, near).effect
    deep = measures["member_id"].str.contains("/3/")
    flipped = measures.assign(
        image_log_marginal=[
            list(numbers[::-1]) if turn else numbers
            for numbers, turn in zip(measures["image_log_marginal"], deep, strict=True)
        ]
    )
    differ = verdict(level, planned, members, flipped, near).effect
    assert (same.images, differ.images, same.seeds) == (7, 7, 5)
    assert differ.high - differ.low > 10 * (same.high - same.low)
    assert differ.mean == pytest.approx(same.mean)


def test_images_that_are_not_stored_are_missed_in_words():
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrast = best_near(ARM, value="negative_log_marginal", beta=0.1)
    finding = verdict(contrast, planned, members, measures.drop(columns="image_log_marginal"), near)
    assert finding.effect.images == 0
    assert "leaves out the choice of images" in finding.notes[0]


def test_an_error_of_shared_images_counts_once_a_sign():
    """Of a mean over β the errors add up as one; what is taken off is as uncertain, and independent of it at worst."""
    known = values(BOTH)
    mean = sample(mean_above(ARM, value="memorization_excess", subset="test", least=0.0), known)
    assert mean.shared.variance.item() == pytest.approx(0.03**2)
    twice = exceeds(
        ARM, over=OTHER, value="memorization_excess", times=2, betas=Betas(least=1), over_betas=Betas(most=1)
    )
    assert sample(twice, known).shared.variance.item() == pytest.approx((1 + 4) * 0.03**2)
    finding = verdict(mean_above(ARM, value="memorization_excess", subset="test", least=0.1), *tables(BOTH, seeds=5))
    assert (finding.verdict, finding.effect.images) == ("undecided", 499)  # 0.125 is above 0.1, by less than its error


@pytest.mark.parametrize("kind", RETIRED)
def test_a_declaration_of_an_older_version_is_read_and_not_judged(kind):
    old = {"kind": kind, "arms": {"arm": {"depth": 1}}, "settings": {"splits": SPLITS}, "parts": ()}
    finding = verdict(Contrast.from_dict(old), *tables(BOTH))
    assert (finding.verdict, finding.effect) == ("undecided", None)
    assert "start the study again" in finding.notes[0]


@pytest.mark.parametrize(("share", "expected"), [(0.9, "supported"), (1.0, "undecided"), (None, "supported")])
def test_where_no_codes_overlap_nothing_follows_from_what_does_not_change(share, expected):
    planned, members, measures, near = tables({**BOTH, 2: (60.0, 50.0, 52.0, 70.0)}, seeds=5)
    measures["mutual_information"] = np.nan if share is None else share * np.log(97)
    contrast = alike(ARM, to=OTHER, apart=(ARM, {**ARM, "depth": 2}), overlap=True)
    finding = verdict(contrast, planned, members, measures, near)
    assert finding.verdict == expected
    assert any("by construction" in note for note in finding.notes) == (share != 0.9)
    plain = alike(ARM, to=OTHER, apart=(ARM, {**ARM, "depth": 2}))
    assert verdict(plain, planned, members, measures, near).verdict == "supported"


def test_a_finding_says_what_stands_behind_it():
    planned, members, measures, near = tables(BOTH, seeds=5)
    contrasts = [interior_minimum(ARM), best_near(ARM, value="log_marginal_gap", beta=0.1)]
    (finding,) = judge(
        [Claim("c", "s", "", contrasts)], Values.of(planned.assign(dataset="d"), members, measures, near)
    )
    assert (finding.behind.datasets, finding.behind.models) == (1, 20)
    assert finding.behind.images == {("", "test"): 4001, ("log p(x)", "test"): 7, ("log p(x)", "train"): 7}


def test_distances_of_images_are_judged_without_seeds():
    planned, members, measures, _ = tables(BOTH)
    rng = np.random.default_rng(5)
    parts = [
        pd.DataFrame({"dataset": "d", "split": split, "image": range(400), "distance": rng.normal(centre, 1, 400)})
        for split, centre in {"one": 5.0, "same": 5.0, "far": 9.0}.items()
    ]
    contrast = distances_alike("d", split="one", to="same", apart=("same", "far"))
    finding = verdict(contrast, planned, members, measures, pd.concat(parts))
    assert (finding.verdict, finding.effect.seeds) == ("supported", 10)
    assert verdict(contrast, planned, members, measures, pd.concat(parts[:2])).verdict == "not enough models"
    assert verdict(contrast, planned, members, measures, pd.concat(parts).head(190)).verdict == "not enough models"


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
