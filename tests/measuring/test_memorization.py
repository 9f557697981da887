"""Memorization as a member is measured: its controls, its probes, and a collapsed model at chance."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from rdstudy.datasets import Dataset
from rdstudy.datasets.splits import make_split, order_of, resolve_rule
from rdstudy.measures.neighbours import nearest
from rdstudy.measuring import MeasureRows, Measuring, measure_trained
from rdstudy.measuring.images import _probe_ranks
from rdstudy.measuring.measures.memorization import _nearest_of_fewer
from rdstudy.measuring.trained import TrainedMember
from rdstudy.study import Evaluation, Measures, Member, Recipe, Resources
from rdstudy.training import Subsets, make_subsets
from rdstudy.training.sequential import SequentialTrainer
from rdstudy.training.subsets import to_unit

CPU = torch.device("cpu")
IMAGES, SIDE = 499, 7


def spots() -> Dataset:
    """One bright square of four pixels at every place, over a faint pattern that differs from image to image."""
    rng = np.random.default_rng(7)
    images = rng.integers(0, 30, (IMAGES, 1, SIDE, SIDE), dtype=np.uint8)
    for image, (row, column) in zip(images, rng.integers(0, SIDE - 1, (IMAGES, 2)), strict=True):
        image[0, row : row + 2, column : column + 2] = rng.integers(120, 255)
    return Dataset(images, rng.random((IMAGES, 2)))


def subsets_of(split: str, validation: int = 0) -> tuple[Member, Subsets]:
    data = spots()
    evaluation = Evaluation(trajectory_points=2, trajectory_images=5, validation_images=validation)
    member = Member(
        dataset="spots", split=split, beta=1.0, seed=3, width=11, latent_dim=2, evaluation=evaluation,
        recipe=Recipe(steps=400, batch_size=20, learning_rate=1e-2),
    )  # fmt: skip
    rule = resolve_rule(split, dataset="spots", images=IMAGES, has_factors=True)
    indices = make_split(rule, dataset="spots", images=IMAGES, factors=data.factors, study_seed=0)
    return member, make_subsets(data, indices, evaluation, study_seed=0)


def measured(member: Member, subsets: Subsets, steps: int, **settings: Any) -> tuple[dict[str, Any], MeasureRows]:
    """The test row and all rows of a member that was trained for so many steps."""
    trainer = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
    trainer.advance(0, steps)
    rows = MeasureRows()
    options: dict[str, Any] = {"names": ["memorization"], "memorization_images": 53, "neighbour_images": 31}
    measures = Measures(**options | settings)
    for _ in measure_trained(
        trainer.weights(0), member, subsets, Measuring(measures), device=CPU, resources=Resources(), rows=rows
    ):
        pass
    return next(row for row in rows.measures if row["subset"] == "test"), rows


def test_a_collapsed_model_is_at_chance_however_much_of_it_is_called_copied():
    member, subsets = subsets_of("cv(101)")
    row, _ = measured(dataclasses.replace(member, beta=1e4), subsets, 400)
    assert row["copied_fraction"] > 0.8
    assert row["memorization_answers"] < 3
    assert abs(row["memorization"] - 0.5) <= 2 * row["memorization_se"]
    assert row["memorization_controls"] == 101
    assert row["null_reasons"] is None


def test_a_model_that_learned_its_images_by_heart_is_not_at_chance(monkeypatch):
    member, subsets = subsets_of("cv(101)")

    def copy(trained: Any, pixels: torch.Tensor) -> torch.Tensor:
        near = torch.cdist(pixels.double(), trained.train_images.double()).argmin(dim=1)
        made: torch.Tensor = trained.train_images[near] / 255
        return made

    monkeypatch.setattr("rdstudy.measuring.trained.TrainedMember.reconstruct", copy)
    row, _ = measured(member, subsets, 1)
    assert row["memorization"] - 1.96 * row["memorization_se"] > 0.8


def test_an_ideal_autoencoder_is_at_chance(monkeypatch):
    member, subsets = subsets_of("cv(101)")
    monkeypatch.setattr("rdstudy.measuring.trained.TrainedMember.reconstruct", lambda _, pixels: pixels / 255)
    row, _ = measured(member, subsets, 1)
    assert abs(row["memorization"] - 0.5) <= 1.96 * row["memorization_se"]
    assert row["memorization_answers"] > 25


def test_both_sides_are_cut_where_the_test_subset_is_too_small():
    member, subsets = subsets_of("cv(301)", validation=17)
    row, _ = measured(member, subsets, 3)
    available = IMAGES - 301 - 17 - 53
    assert available - 4 <= row["memorization_controls"] <= available  # without those that are shown
    assert row["memorization_se"] > 0


def test_the_nearest_of_fewer_is_that_of_a_search_among_them():
    member, subsets = subsets_of("cv(301)")
    trainer = SequentialTrainer(member, subsets.train, image_shape=subsets.image_shape, device=CPU)
    trained = TrainedMember(trainer.weights(0), member, subsets, Measuring(Measures()), device=CPU, memory_bytes=1e6)
    made = to_unit(subsets.train[::3])  # each is nearest to itself, and a half of them must be sought again
    nearest_chosen = _nearest_of_fewer(trained, made, nearest(made, subsets.train, memory_bytes=1e6), size=150)
    chosen = trained.chosen(301, 150, "controls train")
    assert torch.isin(nearest_chosen.index, chosen).all()
    expected = nearest(made, subsets.train[chosen], memory_bytes=1e6)
    assert torch.equal(nearest_chosen.distance, expected.distance)
    assert 0.3 < (nearest_chosen.distance > 0).double().mean() < 0.7


def test_a_checkerboard_has_no_controls_and_says_so():
    member, subsets = subsets_of("checkerboard")
    row, _ = measured(member, subsets, 3)
    assert "memorization" not in row
    assert 0 <= row["copied_fraction"] <= 1
    assert "another distribution" in row["null_reasons"]


def test_controls_are_never_trained_on_and_never_reconstructed(monkeypatch):
    seen: list[Any] = []
    monkeypatch.setattr(
        "rdstudy.measuring.measures.memorization.image_blocks",
        lambda trained, index: seen.append(index) or iter([trained.images(index)]),  # type: ignore[func-returns-value]
    )
    for seed in (3, 5):
        member, subsets = subsets_of("cv(101)", validation=17)
        measured(dataclasses.replace(member, seed=seed), subsets, 3)
    first, second = seen
    np.testing.assert_array_equal(first, second)  # by the study's seed
    assert len(np.unique(first)) == 101
    assert np.isin(first, subsets.whole["test"].index).all()
    assert not np.isin(first, subsets.whole["validation"].index).any()
    assert not np.isin(first, subsets.whole["train"].index).any()


def test_pictures_know_how_near_their_nearest_control_is():
    member, subsets = subsets_of("cv(101)")
    _, rows = measured(member, subsets, 3, names=["reconstructions"], reconstruction_images=5)
    assert len(rows.reconstructions) == 5
    data = spots().images.reshape(IMAGES, -1) / 255
    never = data[np.setdiff1d(np.arange(IMAGES), subsets.whole["train"].index)]
    for row in rows.reconstructions:
        made = np.frombuffer(row["pixels"], np.uint8) / 255
        assert row["control_distance"] >= np.linalg.norm(never - made, axis=1).min() - 0.1  # pixels were rounded


def test_pictures_have_no_control_where_there_are_too_few():
    member, subsets = subsets_of("cv(301)")
    row, rows = measured(member, subsets, 3, names=["reconstructions"])
    assert [row["control_distance"] for row in rows.reconstructions] == [None] * 4
    assert "controls for 301 training images" in row["null_reasons"]


@pytest.mark.parametrize(("images", "size"), [(163_840, 100), (499, 60), (41, 19), (41, 41), (7, 1), (2, 2), (5, 4)])
def test_probes_are_distinct_and_half_of_them_are_last(images, size):
    ranks = _probe_ranks(images, size)
    assert len(ranks) == size
    assert (np.diff(ranks) > 0).all()
    assert ranks[0] >= 0
    assert ranks[-1] < images
    np.testing.assert_array_equal(ranks[size - size // 2 :], np.arange(images - size // 2, images))


def test_any_two_sizes_of_the_paper_have_probes_between_them():
    ranks = _probe_ranks(163_840, 100)
    sizes = [1_024, *range(8_192, 65_537, 8_192), 81_920]
    between = [int(((ranks >= less) & (ranks < more)).sum()) for less, more in itertools.pairwise(sizes)]
    assert min(between) >= 1
    assert (ranks >= 0.6 * 163_840).sum() >= 50


def test_probes_know_whether_they_were_trained_on_whatever_the_split():
    """Half of them in no training subset, others in that of the larger split alone."""
    inside = {}
    for split in ("cv(20)", "cv(101)"):
        member, subsets = subsets_of(split)
        _, rows = measured(member, subsets, 3, names=["probe"], probe_images=40, importance_samples=17)
        inside[split] = {row["image"]: row["in_train"] for row in rows.probes}
        trained = set(order_of("spots", images=IMAGES, study_seed=0)[: int(split[3:-1])].tolist())
        assert all(seen == (image in trained) for image, seen in inside[split].items())
        assert all("log_marginal_passed" in row for row in rows.probes)
    assert set(inside["cv(20)"]) == set(inside["cv(101)"])
    assert sum(inside["cv(101)"][image] and not seen for image, seen in inside["cv(20)"].items()) >= 5
    assert sum(not inside["cv(101)"][image] and not seen for image, seen in inside["cv(20)"].items()) >= 20
