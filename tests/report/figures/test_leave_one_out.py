"""Leave-one-out scores against `rdstudy.measures.memorization.leave_one_out`, and their intervals."""

import dataclasses
import functools
import itertools
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pytest
import torch
import vl_convert

from rdstudy.measures.memorization import leave_one_out as plain_scores
from rdstudy.report.cells import with_cells
from rdstudy.report.contents import page_of
from rdstudy.report.figures import leave_one_out
from rdstudy.report.read import read_study
from rdstudy.study import Member
from rdstudy.study.factors import FACTORS
from tests.report.conftest import BETAS, Simulation

SIZES = (1_009, 4_099, 16_411)
SPLITS = tuple(f"cv({size})" for size in SIZES)
RANKS = np.array([10, 50, 100, *range(1_500, 4_000, 300), *range(5_000, 16_000, 1_500), *range(90_000, 90_009)])
GAIN = 7.0


@functools.cache
def members_of(splits: tuple[str, ...]) -> tuple[Member, ...]:
    study = Simulation(splits=splits).study()
    return tuple(study.experiments[0].members(study))


def probe_rows(*, gain: float = GAIN, noise: float = 0.4, of_models: float = 0.0, study: int = 5) -> pd.DataFrame:
    """log p(x) of probes at `RANKS`: better with more images, by image and seed, and by `gain` where trained on."""
    rng, images, members = np.random.default_rng(study), len(RANKS), members_of(SPLITS)
    of_image, cells = rng.normal(0, 30, images), [(member.cell, member.beta) for member in members]
    of_cells = {cell: rng.normal(0, of_models, images) for cell in dict.fromkeys(cells)}  # shared by its models at a β
    sizes = np.array([int(member.split.split("(")[1][:-1]) for member in members])[:, None]
    in_train = sizes > RANKS  # model, image
    log_marginal = -300 + of_image + rng.normal(0, of_models, (len(members), 1)) + 9.0 * np.log(sizes) + gain * in_train
    log_marginal += np.stack([of_cells[cell] for cell in cells])
    log_marginal += rng.normal(0, noise, in_train.shape)
    return pd.DataFrame(
        {
            "member_id": np.repeat([member.member_id for member in members], images),
            "run_id": "0",
            "measures_id": SIMULATION.study().measures.measures_id,
            "dataset": members[0].dataset,
            "image": np.tile(RANKS, len(members)),
            "in_train": in_train.ravel(),
            "log_marginal": log_marginal.ravel(),
            "log_marginal_ess": 300.0,
            "log_marginal_passed": True,
        }
    )


def planned_of(splits: tuple[str, ...] = SPLITS) -> pd.DataFrame:
    names = [*FACTORS, "study_seed"]
    rows = [{"member_id": each.member_id, **{name: each.level(name) for name in names}} for each in members_of(splits)]
    return with_cells(pd.DataFrame(rows))


SIMULATION = Simulation(splits=SPLITS, measured=True, figures=("copied", "leave-one-out"))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return leave_one_out.leave_one_out(planned_of(), probe_rows())


def test_scores_are_those_of_consecutive_sizes(table):
    assert list(table.columns) == leave_one_out.SCORES
    assert len(table) == 2 * 2 * len(BETAS)  # depths, pairs, β
    assert set(zip(table["smaller"], table["larger"], strict=True)) == set(itertools.pairwise(SIZES))
    assert set(table["panel"]) == {"1 layer", "3 layers"}
    assert set(table["seeds"]) == {3}
    assert table["believed"].all()
    for row in table.to_dict("records"):
        inside = (row["smaller"] <= RANKS) & (row["larger"] > RANKS)
        assert row["probes"] == inside.sum()
        assert row["controls"] == (row["larger"] <= RANKS).sum()
        assert row["low"] < row["value"] < row["high"]
    assert ((table["low"] <= GAIN) & (table["high"] >= GAIN)).mean() > 0.8


def test_a_score_is_the_plain_score_less_that_of_the_controls(table):
    planned, probes = planned_of(), probe_rows()
    for row in table.to_dict("records")[::7]:
        alike = planned[(planned["panel"].str.endswith(row["panel"])) & (planned["beta"] == row["beta"])]
        pair = alike[alike["split"].isin([f"cv({row['smaller']})", f"cv({row['larger']})"])]
        rows = probes.merge(pair[["member_id", "split"]], on="member_id")
        rows["larger"] = rows["split"] == f"cv({row['larger']})"
        models = rows.pivot(index=["larger", "member_id"], columns="image", values="log_marginal")
        seen = rows.pivot(index=["larger", "member_id"], columns="image", values="in_train")
        log_marginal, in_train = torch.tensor(models.to_numpy()), torch.tensor(seen.to_numpy(dtype=bool))
        larger = torch.tensor(models.index.get_level_values("larger").to_numpy(dtype=bool))
        trained = (in_train[larger].all(dim=0)) & ~in_train[~larger].any(dim=0)
        outside = ~in_train.any(dim=0)
        plain = plain_scores(log_marginal[:, trained], in_train[:, trained]).score.mean()
        side = larger[:, None].expand_as(log_marginal[:, outside])  # by the side that they have in the comparison
        control = plain_scores(log_marginal[:, outside], side).score.mean()
        assert row["value"] == pytest.approx(float(plain - control))


def test_what_two_models_differ_by_anyway_is_no_memorization():
    rows = probe_rows(gain=0.0)
    table = leave_one_out.leave_one_out(planned_of(), rows)
    assert ((table["low"] <= 0) & (table["high"] >= 0)).mean() > 0.8


def test_what_cannot_be_believed_is_told():
    planned, probes = planned_of(), probe_rows()
    first = probes["in_train"]
    for rows in (
        probes.assign(log_marginal_passed=~first),
        probes.assign(log_marginal_passed=None),  # older rows do not say
    ):
        assert not leave_one_out.leave_one_out(planned, rows)["believed"].any()
    few = probes[~probes["image"].between(2_000, 3_000)]  # 4 of 9 between the first sizes are left
    few = leave_one_out.leave_one_out(planned, few)
    assert dict(zip(few["smaller"], few["believed"], strict=True)) == {SIZES[0]: True, SIZES[1]: True}
    fewer = probes[~probes["image"].between(2_000, 3_300)]
    fewer = leave_one_out.leave_one_out(planned, fewer)
    assert dict(zip(fewer["smaller"], fewer["believed"], strict=True)) == {SIZES[0]: False, SIZES[1]: True}


def test_one_image_has_no_interval():
    probes = probe_rows()
    few = leave_one_out.leave_one_out(planned_of(), probes[~probes["image"].between(1_600, 16_000)])
    assert set(few["smaller"]) == {SIZES[0]}
    assert (few["low"] == few["high"]).all()
    assert not few["believed"].any()


def test_splits_without_sizes_have_no_score():
    for splits in (("cv(16411)",), ("cd(1009)", "cd(4099)"), ("checkerboard", "cv(16411)")):
        planned = planned_of(splits)
        rows = probe_rows().assign(member_id=planned["member_id"].iloc[0])
        assert leave_one_out.leave_one_out(planned, rows).empty
        assert not leave_one_out.leave_one_out(planned, rows).size


def test_intervals_hold_the_gain_in_95_of_100_studies():
    """Studies of three seeds whose models differ too: the controls take what they differ by, and no more."""
    held, planned = [], planned_of()
    for study in range(8):
        table = leave_one_out.leave_one_out(planned, probe_rows(noise=1.0, of_models=3.0, study=study))
        held.append((table["low"] <= GAIN) & (table["high"] >= GAIN))
    assert len(np.concatenate(held)) == 160
    assert np.concatenate(held).mean() >= 0.93


@pytest.fixture
def study(tmp_path):
    store = SIMULATION.write(tmp_path / "results")
    runs = {row["member_id"]: row["run_id"] for row in store.snapshot().table("members").to_pylist()}
    rows = probe_rows().assign(run_id=lambda table: table["member_id"].map(runs))
    probes: list[Any] = rows.to_dict("records")
    store.rows.write_measured({"probes": probes})
    return read_study(store, SIMULATION.name)


def test_the_page_draws_both_figures_and_says_what_chance_is(study):
    test = study.measures["subset"] == "test"
    stored = study.measures.copy()
    for column, value in (("memorization", 0.96), ("memorization_se", 0.08), ("memorization_answers", 23.4)):
        stored.loc[test, column] = value
    stored.loc[test, ["memorization_images", "memorization_controls"]] = [97.0, 1_009.0]
    figures = {figure.key: figure for figure in page_of(dataclasses.replace(study, measures=stored)).figures}
    copied_figure, left_out = figures["depth-copied"], figures["depth-leave-one-out"]
    assert copied_figure.title == "Memorization"
    for words in ("97 test images", "1,009 on either side", "Chance is 1/2", "23 effective answers", "blur"):
        assert words in copied_figure.note
    assert "leave-one-out" not in copied_figure.note
    rows = [row for name, rows in copied_figure.spec.vega_lite["datasets"].items() for row in rows if "high" in row]
    assert max(row["high"] for row in rows) == 1.0
    assert "9 images in the larger set" in left_out.note or "8 to 9 images" in left_out.note
    for figure in (copied_figure, left_out):
        alt.TopLevelSpec.validate(figure.spec.vega_lite)
        assert "<svg" in vl_convert.vegalite_to_svg(figure.spec.vega_lite)
