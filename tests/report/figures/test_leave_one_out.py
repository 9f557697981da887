"""Leave-one-out scores against `rdstudy.measures.memorization.leave_one_out`, and their intervals."""

import dataclasses
import itertools

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
from rdstudy.study.factors import FACTORS
from tests.report.conftest import BETAS, Simulation

SIZES = (1_009, 4_099, 16_411)
SPLITS = tuple(f"cv({size})" for size in SIZES)
IMAGES, TOTAL = 29, 100_003
RANKS = np.array([10, 50, 100, *range(1_500, 4_000, 300), *range(5_000, 16_000, 1_500), *range(90_000, 90_009)])
GAIN = 7.0


def probe_rows(
    simulation: Simulation, *, gain: float = GAIN, noise: float = 0.4, of_models: float = 0.0, study: int = 5
) -> pd.DataFrame:
    """log p(x) of probes at `RANKS`: better with more images, by image and seed, and by `gain` where trained on."""
    rng, measures_id = np.random.default_rng(study), simulation.study().measures.measures_id
    of_image, rows = rng.normal(0, 30, TOTAL), []
    of_cells: dict[object, np.ndarray] = {}  # what all models of a cell and β make of an image
    for member in simulation.study().experiments[0].members(simulation.study()):
        of_model, cell = rng.normal(0, of_models), (member.cell, member.beta)
        of_split = of_cells.setdefault(cell, rng.normal(0, of_models, TOTAL))
        size = int(member.split.split("(")[1][:-1])
        for rank in RANKS:
            value = (
                -300
                + of_image[rank]
                + of_model
                + of_split[rank]
                + 9.0 * np.log(size)
                + gain * (rank < size)
                + rng.normal(0, noise)
            )
            rows.append(
                {
                    "member_id": member.member_id,
                    "run_id": "0",
                    "measures_id": measures_id,
                    "dataset": member.dataset,
                    "image": int(rank),
                    "in_train": bool(rank < size),
                    "log_marginal": value,
                    "log_marginal_ess": 300.0,
                    "log_marginal_passed": True,
                }
            )
    return pd.DataFrame(rows)


def planned_of(simulation: Simulation) -> pd.DataFrame:
    study = simulation.study()
    members = study.experiments[0].members(study)
    names = [*FACTORS, "study_seed"]
    return with_cells(
        pd.DataFrame(
            [{"member_id": member.member_id, **{name: member.level(name) for name in names}} for member in members]
        )
    )


SIMULATION = Simulation(splits=SPLITS)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return leave_one_out.leave_one_out(planned_of(SIMULATION), probe_rows(SIMULATION))


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
    planned, probes = planned_of(SIMULATION), probe_rows(SIMULATION)
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
    rows = probe_rows(SIMULATION, gain=0.0)
    table = leave_one_out.leave_one_out(planned_of(SIMULATION), rows)
    assert ((table["low"] <= 0) & (table["high"] >= 0)).mean() > 0.8


def test_what_cannot_be_believed_is_told():
    planned, probes = planned_of(SIMULATION), probe_rows(SIMULATION)
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
    probes = probe_rows(SIMULATION)
    few = leave_one_out.leave_one_out(planned_of(SIMULATION), probes[~probes["image"].between(1_600, 16_000)])
    assert set(few["smaller"]) == {SIZES[0]}
    assert (few["low"] == few["high"]).all()
    assert not few["believed"].any()


def test_splits_without_sizes_have_no_score():
    for splits in (("cv(16411)",), ("cd(1009)", "cd(4099)"), ("checkerboard", "cv(16411)")):
        simulation = Simulation(splits=splits)
        planned = planned_of(simulation)
        rows = probe_rows(Simulation(splits=SPLITS)).assign(member_id=planned["member_id"].iloc[0])
        assert leave_one_out.leave_one_out(planned, rows).empty
        assert not leave_one_out.leave_one_out(planned, rows).size


def test_intervals_hold_the_gain_in_95_of_100_studies():
    """Studies of three seeds whose models differ too: the controls take what they differ by, and no more."""
    held, planned = [], planned_of(SIMULATION)
    for study in range(20):
        table = leave_one_out.leave_one_out(planned, probe_rows(SIMULATION, noise=1.0, of_models=3.0, study=study))
        held.append((table["low"] <= GAIN) & (table["high"] >= GAIN))
    assert len(np.concatenate(held)) == 400
    assert np.concatenate(held).mean() >= 0.93


@pytest.fixture
def study(tmp_path):
    simulation = Simulation(splits=SPLITS, measured=True)
    store = simulation.write(tmp_path / "results")
    runs = {row["member_id"]: row["run_id"] for row in store.snapshot().table("members").to_pylist()}
    rows = probe_rows(simulation).assign(run_id=lambda table: table["member_id"].map(runs))
    store.rows.write_measured({"probes": [dict(row) for _, row in rows.iterrows()]})
    return read_study(store, simulation.name)


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
        assert "<svg" in vl_convert.vegalite_to_svg(figure.spec.vega_lite)
