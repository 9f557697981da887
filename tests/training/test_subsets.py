"""Samples are fixed, inside their subset, and carry the entropy of their own pixels."""

import math

import numpy as np
import pytest
import torch

from rdstudy.datasets.splits import Split
from rdstudy.model.likelihoods import likelihood
from rdstudy.planning.packs import BLOCK_IMAGES
from rdstudy.study import Evaluation
from rdstudy.training.subsets import make_subsets, to_unit
from tests.training.conftest import IMAGES, TRAIN, toy_dataset

SPLIT = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))


def test_samples_lie_in_their_subset_and_depend_on_the_studys_seed_alone():
    make = lambda seed: make_subsets(toy_dataset(), SPLIT, Evaluation(5, 7, 11), study_seed=seed)  # noqa: E731
    first, again, other = make(1), make(1), make(2)
    for name, inside in (("train", SPLIT.train), ("test", SPLIT.test)):
        for which, size in (("final", 11), ("trajectory", 7)):
            sample = getattr(first, which)[name]
            assert len(sample) == size
            assert set(sample.index) <= set(inside)
            assert np.array_equal(sample.index, getattr(again, which)[name].index)
            assert not np.array_equal(sample.index, getattr(other, which)[name].index)
            assert sample.subset_images == len(inside)


def test_all_images_are_measured_where_a_subset_is_small_or_no_size_is_given():
    subsets = make_subsets(toy_dataset(), SPLIT, Evaluation(5, 1000, None), study_seed=1)
    assert np.array_equal(subsets.final["test"].index, SPLIT.test)
    assert np.array_equal(subsets.trajectory["train"].index, SPLIT.train)


@pytest.mark.parametrize("name", ["bernoulli", "gaussian"])
def test_floor_is_the_mean_of_the_likelihoods_over_the_samples_images(name):
    subsets = make_subsets(toy_dataset(), SPLIT, Evaluation(5, 7, 11), study_seed=1, likelihood=name)
    for sample in (subsets.final["test"], subsets.trajectory["train"]):
        x = to_unit(torch.cat(list(sample.blocks()))).double()
        np.testing.assert_allclose(sample.floor, likelihood(name).floor(x).mean().item(), rtol=1e-6)
    gaussian = x.shape[1] / 2 * math.log(2 * math.pi * 0.1**2)
    assert math.isclose(sample.floor, gaussian, rel_tol=1e-12) == (name == "gaussian")


def test_the_bernoulli_floor_has_the_bits_of_older_results(subsets):
    """Rows that were stored before there was another likelihood were computed like this."""
    x = np.arange(1, 255) / 255.0
    entropy = -(x * np.log(x) + (1 - x) * np.log(1 - x))
    for sample in (*subsets.final.values(), *subsets.trajectory.values()):
        counts = np.bincount(toy_dataset().images[sample.index].reshape(-1), minlength=256)
        assert sample.floor == float(counts[1:255] @ entropy / len(sample))


def test_an_unknown_likelihood_is_refused():
    with pytest.raises(ValueError, match=r"^likelihood is 'gauss' \(did you mean gaussian\?\); allowed: bernoulli, "):
        make_subsets(toy_dataset(), SPLIT, Evaluation(), study_seed=1, likelihood="gauss")


def test_blocks_cover_the_sample_in_order():
    data = toy_dataset()
    many = np.tile(np.arange(IMAGES), 60)
    sample = make_subsets(data, Split(many, np.arange(3)), Evaluation(), study_seed=1).final["train"]
    blocks = list(sample.blocks())
    assert [len(block) for block in blocks] == [BLOCK_IMAGES, BLOCK_IMAGES, len(many) - 2 * BLOCK_IMAGES]
    assert torch.equal(torch.cat(blocks), torch.from_numpy(data.images[many]).flatten(1))
