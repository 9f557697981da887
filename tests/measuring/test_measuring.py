"""From a trained member to its rows of measures: right numbers in the right columns, or a reason for none."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import Split
from rdstudy.measures import fitted_importance
from rdstudy.measures.fitted_importance import FittedLogMarginal
from rdstudy.measuring import MeasureRows, Measuring, importance, measure_pack, measure_trained, neighbour_rows
from rdstudy.measuring.held_images import HeldImages
from rdstudy.measuring.importance import importance_of
from rdstudy.measuring.measures import measures_of
from rdstudy.measuring.measures import rate_parts as rate_parts_file
from rdstudy.measuring.trained import TrainedMember
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.weights import Header, from_bytes, to_bytes
from rdstudy.planning.packs import Pack
from rdstudy.study import MEASURES, Evaluation, Measures, Member, Recipe, Resources, parts
from rdstudy.training import Finished, Subsets, make_subsets, train_pack
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.subsets import to_unit
from tests.training.conftest import IMAGES, MEMBER, TRAIN, Slot, toy_dataset

CPU = torch.device("cpu")
SMALL = Measures(
    latent_samples=13,
    importance_images=11,
    importance_samples=17,
    refit_steps=5,
    memorization_images=7,
    neighbour_images=11,
    probe_images=19,
    reconstruction_images=3,
    annealing={"beta": [0.7]},
    annealing_images=2,
    annealing_temperatures=5,
)


def only(*names: str, **settings: Any) -> Measures:
    """Some measures, and no annealing, which costs more than all others."""
    return dataclasses.replace(SMALL, names=names, annealing=None, **settings)


def subsets_of(dataset: Dataset, member: Member, train: int) -> Subsets:
    split = Split(np.arange(train), np.arange(train, len(dataset.images)))
    return make_subsets(dataset, split, member.evaluation, study_seed=0, likelihood=member.likelihood)


def trained(member: Member, subsets: Subsets, steps: int = 61) -> SequentialTrainer:
    trainer = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
    trainer.advance(0, steps)
    return trainer


def measure(trainer: SequentialTrainer, subsets: Subsets, measures: Measures, *, gib: float = 1.0) -> MeasureRows:
    member, rows = trainer.members[0], MeasureRows()
    neighbours = neighbour_rows(subsets, member, measures, device=CPU, memory_bytes=1e9)
    hard = next(row["image"] for row in neighbours if row["hard"])
    resources = Resources(evaluation_memory_gib=gib)
    measuring = Measuring(measures, hard)
    for _ in measure_trained(
        trainer.weights(0), member, subsets, measuring, device=CPU, resources=resources, rows=rows
    ):
        pass
    return rows


@pytest.fixture(scope="module")
def subsets() -> Subsets:
    return subsets_of(toy_dataset(), MEMBER, TRAIN)


@pytest.fixture(scope="module")
def trainer(subsets: Subsets) -> SequentialTrainer:
    return trained(MEMBER, subsets)


def by_subset(rows: MeasureRows) -> dict[str, dict[str, Any]]:
    return {row["subset"]: row for row in rows.measures}


@pytest.mark.usefixtures("few_temperatures")
def test_every_measure_fills_its_columns_or_says_why_not(subsets, trainer):
    rows = by_subset(measure(trainer, subsets, SMALL))
    assert set(rows) == {"train", "test"}
    for row in rows.values():
        assert row["mutual_information"] + row["marginal_kl"] == pytest.approx(row["aggregate_rate"], abs=1e-9)
        assert row["total_correlation"] + row["dimension_kl"] == pytest.approx(row["marginal_kl"], abs=1e-9)
        assert row["mutual_information"] <= math.log(row["aggregate_images"]) + 1e-9
        assert row["null_reasons"].split(" | ")[0] == (
            f"batch_rate_parts: batch_size is 512 with {row['aggregate_images']} images, "
            f"{row['aggregate_images']} of them in order; allowed: 2 or more, at most as many as images"
        )
        assert row["log_marginal_ess"] >= 1
        assert row["inference_gap"] >= row["refit_gain"] >= 0
        assert 0 <= row["log_marginal_annealed"] <= 1
        assert 0 <= row["log_marginal_passed"] <= 1
        assert len(row["image_log_marginal"]) == len(row["image_elbo"]) == row["importance_images"] == 11
        bounds = (row["image_log_marginal"], row["image_refit_elbo"], row["image_elbo"])
        assert all(best >= refit >= encoded for best, refit, encoded in zip(*bounds, strict=True))
        assert np.mean(row["image_log_marginal"]) == pytest.approx(row["log_marginal"] + row["log_marginal_floor"])
    test, train = rows["test"], rows["train"]
    assert (train["aggregate_images"], test["aggregate_images"]) == (TRAIN, IMAGES - TRAIN)
    assert {"cross_rate", "copied_fraction", "annealed_lower", "annealed_upper"} <= set(test)
    assert not {"cross_rate", "copied_fraction", "annealed_lower"} & set(train)
    assert test["annealed_lower"] <= test["annealed_upper"] + 10


def test_the_rate_of_the_aggregate_is_the_rate_of_all_images_of_the_subset(subsets, trainer):
    rows = by_subset(measure(trainer, subsets, only("rate_parts")))
    for name in ("train", "test"):
        pixels = torch.cat(list(subsets.whole[name].blocks()))
        expected = rate(Posterior.from_code(trainer.vae.encoder(to_unit(pixels)))).mean().item()
        assert rows[name]["aggregate_rate"] == pytest.approx(expected, rel=1e-5)


def test_fewer_images_in_an_aggregate_are_those_of_the_test_subset(subsets, trainer):
    measures = only("rate_parts", aggregate_images=5)
    rows = by_subset(measure(trainer, subsets, measures))
    assert {name: row["aggregate_images"] for name, row in rows.items()} == {"train": TRAIN, "test": 5}


@pytest.mark.usefixtures("few_temperatures")
def test_measures_do_not_depend_on_memory_and_are_drawn_again_alike(subsets, trainer):
    whole, small, again = (measure(trainer, subsets, SMALL, gib=gib) for gib in (1.0, 1e-4, 1.0))
    for first, second, third in zip(whole.measures, small.measures, again.measures, strict=True):
        for name, value in first.items():
            if isinstance(value, float) and name != "measure_seconds":
                assert second[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
                assert third[name] == value, name


def test_noise_is_shared_by_members_of_a_seed_and_differs_between_seeds(subsets):
    measures = only("rate_parts", "log_marginal")
    values = {}
    for seed in (3, 5):
        member = dataclasses.replace(MEMBER, seed=seed)
        alike = trained(dataclasses.replace(MEMBER, seed=3), subsets).weights(0)
        rows = MeasureRows()
        measuring = Measuring(measures)
        for _ in measure_trained(alike, member, subsets, measuring, device=CPU, resources=Resources(), rows=rows):
            pass
        values[seed] = by_subset(rows)["test"]
    assert values[3]["mutual_information"] != values[5]["mutual_information"]
    assert values[3]["aggregate_rate"] == values[5]["aggregate_rate"]


def test_probes_are_the_same_images_whatever_the_split_and_say_whether_they_were_trained_on():
    seen = {}
    for train in (TRAIN, TRAIN - 6):
        subsets = subsets_of(toy_dataset(), MEMBER, train)
        rows = measure(trained(MEMBER, subsets, steps=3), subsets, only("probe"))
        seen[train] = {row["image"]: row["in_train"] for row in rows.probes}
        assert all(row["in_train"] == (row["image"] < train) for row in rows.probes)
    assert set(seen[TRAIN]) == set(seen[TRAIN - 6])
    assert len(seen[TRAIN]) == 19


def test_reconstructions_begin_with_the_hard_example_and_know_their_neighbours(subsets, trainer):
    rows = measure(trainer, subsets, only("reconstructions"))
    assert [row["hard"] for row in rows.reconstructions] == [True, False, False]
    for row in rows.reconstructions:
        assert TRAIN <= row["image"] < IMAGES
        assert 0 <= row["nearest_image"] < TRAIN
        assert len(row["pixels"]) == len(row["optimal_pixels"]) == 3 * 4 * 4
        made = np.frombuffer(row["pixels"], np.uint8) / 255
        own = toy_dataset().images[row["image"]].reshape(-1) / 255
        assert row["own_distance"] == pytest.approx(np.linalg.norm(made - own), abs=0.05)


def test_neighbours_are_the_nearest_training_images(subsets):
    rows = neighbour_rows(subsets, MEMBER, SMALL, device=CPU, memory_bytes=1e9)
    images = toy_dataset().images.reshape(IMAGES, -1) / 255
    for row in rows:
        distances = np.linalg.norm(images[:TRAIN] - images[row["image"]], axis=1)
        assert row["distance"] == pytest.approx(distances.min())
        assert row["nearest_image"] == distances.argmin()
    assert sum(row["hard"] for row in rows) == 1
    hard = next(row for row in rows if row["hard"])
    assert sorted(row["distance"] for row in rows).index(hard["distance"]) == math.ceil(0.9 * len(rows)) - 1
    assert hard["pixels"] == toy_dataset().images[hard["image"]].tobytes()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"names": ["probe"], "probe_images": 43}, "measures.probe_images is 43; allowed: at most the 41 images"),
        ({"names": ["active_units"], "aggregate_images": 1}, "allowed: [image, latent] with 2 or more images"),
    ],
)
def test_what_cannot_be_measured_is_null_with_its_reason(subsets, trainer, settings, reason):
    rows = by_subset(measure(trainer, subsets, dataclasses.replace(SMALL, annealing=None, **settings)))
    assert reason in rows["test"]["null_reasons"]
    assert not {"active_units", "mutual_information"} & set(rows["test"])


def test_weights_that_are_not_finite_give_reasons_and_no_number(subsets):
    trainer = trained(MEMBER, subsets, steps=3)
    with torch.no_grad():
        trainer.vae.encoder[0].weight[0, 0] = torch.nan  # type: ignore[index, union-attr]
    rows = by_subset(measure(trainer, subsets, dataclasses.replace(SMALL, annealing=None)))
    numbers = {"subset", "member_id", "measures_id", "measures_version", "measure_seconds", "null_reasons"}
    counts = {"importance_images", "importance_samples", "refit_images", "memorization_images", "aggregate_images"}
    for row in rows.values():
        assert set(row) - numbers <= counts
        assert "finite" in row["null_reasons"]


def test_what_a_study_may_name_is_what_there_is_in_the_order_in_which_it_is_taken():
    assert tuple(measures_of(Measures(names=sorted(MEASURES)).names)) == MEASURES
    assert set(parts.names("measure")) == set(MEASURES)
    assert Measures(names=["probe", "rate_parts"]).names == ("rate_parts", "probe")


@pytest.mark.usefixtures("few_temperatures")
def test_a_measure_that_breaks_leaves_the_others(subsets, trainer, monkeypatch, caplog):
    def broken(*_: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(rate_parts_file, "rate_parts", broken)
    rows = by_subset(measure(trainer, subsets, SMALL))
    assert "rate_parts: TypeError: a bug" in rows["test"]["null_reasons"]
    assert "log_marginal" in rows["test"]
    assert "failed" in caplog.text


def test_a_linear_vae_is_measured_as_its_closed_forms_say():
    """Every measure at once, float64, against probabilistic PCA: on 1,009 Gaussian images of 7 pixels."""
    torch.set_default_dtype(torch.float64)
    try:
        _check_linear()
    finally:
        torch.set_default_dtype(torch.float32)


def _check_linear() -> None:
    rng = np.random.default_rng(5)
    directions = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    latent = rng.normal(size=(2_003, 7)) * np.array([0.16, 0.12, 0.09, 0.02, 0.02, 0.01, 0.01])
    images = np.clip(np.rint(255 * (0.5 + latent @ directions.T)), 0, 255).astype(np.uint8)[:, None, None, :]
    member = dataclasses.replace(
        MEMBER,
        architecture="linear",
        likelihood="gaussian",
        width=1,
        latent_dim=2,
        beta=1.0,
        recipe=Recipe(steps=1_001, batch_size=1_009, learning_rate=1e-2),
        evaluation=Evaluation(),
    )
    subsets = subsets_of(Dataset(images, None), member, 1_009)
    trainer = trained(member, subsets, steps=1_001)
    measures = Measures(latent_samples=900, importance_images=900, importance_samples=211)
    rows = by_subset(measure(trainer, subsets, measures))
    for row in rows.values():
        assert row["exact_mutual_information"] > 0.5, "this code carries information"
        for name in ("mutual_information", "total_correlation", "dimension_kl", "marginal_kl"):
            # The exact values are those of Gaussian data; the aggregate of a thousand images differs by some 0.05.
            error = 4 * row[f"{name}_se"] + 0.05
            assert row[name] == pytest.approx(row[f"exact_{name}"], abs=error), name
        assert row["aggregate_rate"] == pytest.approx(row["exact_rate"], abs=0.01)
        assert row["log_marginal"] == pytest.approx(row["exact_log_marginal"], abs=4 * row["log_marginal_se"])
        assert row["exact_distortion"] + row["exact_rate"] >= row["best_distortion"] + row["best_rate"] - 1e-9


@pytest.mark.usefixtures("float64", "few_temperatures")
def test_members_of_a_pack_are_measured_as_they_are_alone(subsets):
    members = tuple(
        dataclasses.replace(MEMBER, beta=beta, seed=seed, recipe=Recipe(steps=31, batch_size=5))
        for beta, seed in ((0.1, 3), (0.7, 2), (3.0, 3))
    )
    together = measured(Pack(members), finished(Pack(members), subsets).weights, subsets)
    packs = [Pack((member,)) for member in members]
    alone = [measured(pack, finished(pack, subsets).weights, subsets) for pack in packs]
    assert len(together.measures) == 2 * len(members)
    assert [row["member_id"] for row in together.probes] == [
        row["member_id"] for rows_of_one in alone for row in rows_of_one.probes
    ]
    for row, expected in zip(
        together.measures, [row for rows_of_one in alone for row in rows_of_one.measures], strict=True
    ):
        assert set(row) == set(expected)
        for name, value in expected.items():
            if isinstance(value, float) and name != "measure_seconds":
                assert row[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name


@pytest.mark.usefixtures("few_temperatures")
def test_kept_weights_measure_to_the_same_rows(subsets):
    pack = Pack((MEMBER,))
    weights = finished(pack, subsets).weights
    header = Header.of(MEMBER, run_id="r", image_shape=subsets.image_shape, code_version="c")
    kept = from_bytes(to_bytes(weights[MEMBER.member_id], header), path="here").tensors
    rows, expected = (measured(pack, {MEMBER.member_id: each}, subsets) for each in (kept, weights[MEMBER.member_id]))
    for row, other in zip(rows.measures, expected.measures, strict=True):
        assert {**row, "measure_seconds": 0} == {**other, "measure_seconds": 0}
    assert rows.reconstructions == expected.reconstructions


def finished(pack: Pack, subsets: Subsets) -> Finished:
    *_, last = train_pack(pack, subsets, device=CPU, checkpoint=Slot(), resources=Resources())
    assert isinstance(last, Finished)
    return last


def measured(pack: Pack, weights: Mapping[str, Mapping[str, Tensor]], subsets: Subsets) -> MeasureRows:
    rows = MeasureRows()
    for member in pack.members:
        of_member = weights[member.member_id]
        for _ in measure_trained(
            of_member, member, subsets, Measuring(SMALL), device=CPU, resources=Resources(), rows=rows
        ):
            pass
    return rows


@pytest.mark.usefixtures("float64")
def test_images_that_a_device_holds_are_those_of_the_data_set(subsets):
    index = np.array([40, 0, TRAIN, TRAIN - 1, 0])
    for holds_all in (True, False):
        held = HeldImages(subsets, CPU, memory_bytes=1e9, holds_all=holds_all)
        assert torch.equal(held.train, subsets.train)
        assert torch.equal(held.at(index), torch.from_numpy(toy_dataset().images[index]).flatten(1))
        assert [len(block) for block in held.blocks(index, size=2)] == [2, 2, 1]


PARTS = (  # each prior and each likelihood once
    ("mlp", "normal", "gaussian(sigma=optimal)"),
    ("mlp", "mixture(k=3)", "gaussian(sigma=0.2)"),
    ("mlp", "flow(layers=2)", "continuous_bernoulli"),
    ("cnn", "vamp(k=2)", "bernoulli"),
)


@pytest.mark.usefixtures("float64", "few_temperatures")
@pytest.mark.parametrize(("architecture", "prior", "likelihood"), PARTS)
def test_members_measured_together_have_the_values_of_each_alone(architecture, prior, likelihood, subsets, monkeypatch):
    """Groups of two and of one, of two seeds, one member with annealing of its own."""
    monkeypatch.setattr(fitted_importance, "_NEWTON_STEPS", 5)  # by then some images are done, and others go on
    monkeypatch.setattr(fitted_importance, "_MODES", 2)
    members = [
        dataclasses.replace(MEMBER, architecture=architecture, prior=prior, likelihood=likelihood, beta=beta, seed=seed)
        for beta, seed in ((0.1, 3), (0.7, 2), (3.0, 3))
    ]
    weights = {member.member_id: trained(member, subsets, steps=31).weights(0) for member in members}
    alone = pack_measured(members, weights, subsets, at_once=1)
    calls = counted_calls(monkeypatch)
    together = pack_measured(members, weights, subsets, at_once=2)
    compare_rows(together, alone)
    assert len(calls) == 3, "of the member that is left over: on two subsets, and of its probes"
    assert len(together.probes) == 3 * 19


def test_a_member_that_is_not_finite_takes_no_other_with_it(subsets, monkeypatch, caplog):
    calls = counted_calls(monkeypatch)
    members = [dataclasses.replace(MEMBER, seed=seed) for seed in (2, 3, 5)]
    weights = {
        member.member_id: {name: value.clone() for name, value in trained(member, subsets, 3).weights(0).items()}
        for member in members
    }
    weights[members[1].member_id]["decoder.0.weight"][0, 0] = torch.nan
    rows = pack_measured(members, weights, subsets, at_once=3, names=["log_marginal"], annealing=None)
    by_member = {row["member_id"]: row for row in rows.measures if row["subset"] == "test"}
    reasons = [by_member[member.member_id]["null_reasons"] for member in members]
    assert [reason is None for reason in reasons] == [True, False, True]
    assert "finite" in reasons[1]
    assert "log_marginal" in by_member[members[0].member_id]
    assert "log_marginal" not in by_member[members[1].member_id]
    assert len(calls) == 2 * 3, "by themselves: the first half, and both members of the other"
    assert "3 members are measured in halves: ValueError" in caplog.text


def counted_calls(monkeypatch: pytest.MonkeyPatch) -> list[TrainedMember]:
    """The members whose importance weights are computed by themselves, as they are."""
    calls: list[TrainedMember] = []

    def counted(trained: TrainedMember, x: Tensor, purpose: str) -> FittedLogMarginal:
        calls.append(trained)
        return importance_of(trained, x, purpose)

    monkeypatch.setattr(importance, "importance_of", counted)
    return calls


def pack_measured(
    members: list[Member],
    weights: Mapping[str, Mapping[str, Tensor]],
    subsets: Subsets,
    *,
    at_once: int,
    **settings: Any,
) -> MeasureRows:
    rows, measuring = MeasureRows(), Measuring(dataclasses.replace(SMALL, **settings))
    taken = measure_pack(
        weights, members, subsets, measuring, device=CPU, resources=Resources(), rows=rows, at_once=at_once
    )
    for _ in taken:
        pass
    return rows


def compare_rows(rows: MeasureRows, expected: MeasureRows) -> None:
    """All tables hold the same, up to rounding."""
    for table in ("measures", "probes", "reconstructions"):
        for row, other in zip(getattr(rows, table), getattr(expected, table), strict=True):
            assert set(row) == set(other)
            for name, value in other.items():
                if name == "measure_seconds" or value is None:
                    continue
                if isinstance(value, float) or (isinstance(value, list) and name != "in_train"):
                    assert row[name] == pytest.approx(value, rel=1e-6, abs=1e-7), name
                else:
                    assert row[name] == value, name
