"""Copied reconstructions at both ends and at a tie, the three-sample test of models that memorize and of models that
do not, and leave-one-out scores against a loop over images."""

import numpy as np
import pytest
import torch

from rdstudy.measures.memorization import (
    Copies,
    ThreeSample,
    copied_fraction,
    leave_one_out,
    nearest_in_blocks,
    three_sample,
)
from rdstudy.measures.neighbours import Neighbours, nearest

IMAGES, TRAIN, PIXELS, MODELS = 5, 11, 7, 13
ENOUGH = 1e8


def copies(made: torch.Tensor, *, images: torch.Tensor, train: torch.Tensor, memory_bytes: float) -> Copies:
    in_train = nearest(made, train, memory_bytes=memory_bytes)
    return copied_fraction(made, images=images, in_train=in_train, memory_bytes=memory_bytes)


def _bytes(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_reconstructions_that_are_their_own_images_copy_nothing():
    images, train = _bytes(1, IMAGES, PIXELS), _bytes(2, TRAIN, PIXELS)
    result = copies(images / 255, images=images, train=train, memory_bytes=ENOUGH)
    assert result.copied_fraction.value == 0
    assert result.own_distance.tolist() == [0.0] * IMAGES
    assert (result.nearest_distance > 0).all()


def test_reconstructions_that_are_training_images_copy_all():
    images, train = _bytes(1, IMAGES, PIXELS), _bytes(2, TRAIN, PIXELS)
    chosen = torch.tensor([3, 10, 3, 0, 7])
    result = copies(train[chosen] / 255, images=images, train=train, memory_bytes=ENOUGH)
    assert result.copied_fraction.value == 1
    assert result.copied_fraction.samples == IMAGES
    assert result.nearest_index.tolist() == chosen.tolist()
    assert result.nearest_distance.tolist() == [0.0] * IMAGES


@pytest.mark.parametrize("memory_bytes", [1, ENOUGH])
def test_equals_a_loop_over_images(memory_bytes):
    images, train = _bytes(3, 97, PIXELS), _bytes(4, 29, PIXELS)
    rng = np.random.default_rng(5)
    reconstructions = np.clip(images.numpy() / 255 + 0.3 * rng.standard_normal(images.shape), 0, 1)
    result = copies(torch.from_numpy(reconstructions), images=images, train=train, memory_bytes=memory_bytes)
    nearest = [min(np.linalg.norm(one - other / 255) for other in train.numpy()) for one in reconstructions]
    own = np.linalg.norm(reconstructions - images.numpy() / 255, axis=1)
    copied = np.array(nearest) < own
    assert 0.1 < copied.mean() < 0.9
    assert result.copied_fraction.value == pytest.approx(copied.mean())
    assert result.copied_fraction.standard_error == pytest.approx(copied.std(ddof=1) / 97**0.5)
    np.testing.assert_allclose(result.nearest_distance, nearest, rtol=1e-12)
    np.testing.assert_allclose(result.own_distance, own, rtol=1e-12)


def test_equally_near_is_not_copied():
    images = torch.full((1, PIXELS), 100, dtype=torch.uint8)
    for value, expected in ((102, 0.0), (101, 1.0)):
        train = torch.full((2, PIXELS), value, dtype=torch.uint8)
        reconstruction = torch.full((1, PIXELS), 101, dtype=torch.uint8) if value == 102 else train[:1]
        result = copies(reconstruction, images=images, train=train, memory_bytes=ENOUGH)
        assert result.copied_fraction.value == expected
    own = copies(torch.full((1, PIXELS), 0.3), images=images, train=images, memory_bytes=ENOUGH)
    assert own.own_distance == own.nearest_distance
    assert own.copied_fraction.value == 0


def test_copies_need_images_that_fit():
    images, train = _bytes(1, IMAGES, PIXELS), _bytes(2, TRAIN, PIXELS)
    x = images / 255
    for arguments, said in (
        ({"images": images, "train": train[:0]}, "references of shape"),
        ({"images": images[:3], "train": train}, "5 images and 3 references"),
        ({"images": images, "train": train[:, :5]}, "5 pixels; allowed: 7"),
    ):
        with pytest.raises(ValueError, match=said):
            copies(x, **arguments, memory_bytes=ENOUGH)
    with pytest.raises(ValueError, match="finite"):
        copies(x / 0, images=images, train=train, memory_bytes=ENOUGH)


SIDE, CONTROLS, RECONSTRUCTED = 8, 101, 41


def _spots(images: int) -> torch.Tensor:
    """Smooth spots of many places, sizes and brightnesses, uint8 `[image, pixel]`."""
    rng, at = np.random.default_rng(11), np.arange(SIDE)
    row, column = rng.uniform(1, SIDE - 2, (2, images, 1, 1))
    size, bright = rng.uniform([[0.7], [0.4]], [[1.6], [1.0]], (2, images))[..., None, None]
    squared = (at[:, None] - row) ** 2 + (at - column) ** 2
    return torch.from_numpy((255 * bright * np.exp(-squared / 2 / size**2)).round().astype(np.uint8)).flatten(1)


SPOTS = _spots(3_001)


def _blur(x: torch.Tensor) -> torch.Tensor:
    square = x.view(-1, 1, SIDE, SIDE)
    return torch.nn.functional.avg_pool2d(square, 3, stride=1, padding=1, count_include_pad=False).flatten(1)


def _collapsed(x: torch.Tensor) -> torch.Tensor:
    return (SPOTS.to(x) / 255).mean(dim=0).expand_as(x)


def _prototypes(x: torch.Tensor) -> torch.Tensor:
    """One of five answers, whatever is asked."""
    known = SPOTS[:5].to(x) / 255
    return known[torch.cdist(x, known).argmin(dim=1)]


def _shrunk(x: torch.Tensor) -> torch.Tensor:
    return 0.3 * x + 0.7 * _collapsed(x)


KNOWS_NOTHING = {
    "ideal": lambda x: x,
    "blurred": _blur,
    "shrunk to the mean": _shrunk,
    "five answers": _prototypes,
    "collapsed": _collapsed,
}


def _draw(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Training images, controls and test images, disjoint."""
    train, controls, test = SPOTS[_places(rng)].split([CONTROLS, CONTROLS, RECONSTRUCTED])
    return train, controls, test


def _places(rng: np.random.Generator) -> torch.Tensor:
    """Of training images, controls and test images; the prototypes are none of them."""
    return torch.from_numpy(5 + rng.permutation(len(SPOTS) - 5)[: 2 * CONTROLS + RECONSTRUCTED])


def _test_of(made: torch.Tensor, train: torch.Tensor, controls: torch.Tensor) -> ThreeSample:
    return three_sample(*(nearest(made, side, memory_bytes=ENOUGH) for side in (train, controls)))


@pytest.mark.parametrize("model", KNOWS_NOTHING)
def test_a_model_that_memorizes_nothing_is_at_chance_in_95_of_100_draws(model):
    """600 draws of training images and controls: the interval of 1.96 standard errors holds 1/2."""
    rng, results = np.random.default_rng(13), []
    distance = torch.cdist(KNOWS_NOTHING[model](SPOTS.double() / 255), SPOTS.double() / 255)
    for _ in range(600):
        train, controls, test = _places(rng).split([CONTROLS, CONTROLS, RECONSTRUCTED])
        results.append(
            three_sample(*(Neighbours(*distance[test[:, None], side].min(dim=1)) for side in (train, controls)))
        )
    value = np.array([result.share.value for result in results])
    error = np.array([result.share.standard_error for result in results])
    assert (np.abs(value - 0.5) <= 1.96 * error).mean() >= 0.93
    assert value.mean() == pytest.approx(0.5, abs=4 * value.std() / 600**0.5)


@pytest.mark.parametrize("seed", range(3))
def test_a_collapsed_model_copies_everything_and_memorizes_nothing(seed):
    """What is nearest to the mean image is nearer than almost every test image: `copied_fraction` is blind to blur."""
    train, controls, test = _draw(np.random.default_rng(seed))
    made = (train / 255).mean(dim=0).expand(len(test), -1)
    assert copies(made, images=test, train=train, memory_bytes=ENOUGH).copied_fraction.value > 0.8
    result = _test_of(made, train, controls)
    assert result.answers == 1
    assert round(result.share.value, 9) in (0.4, 0.6)
    assert result.share.standard_error == pytest.approx((0.24 / 5) ** 0.5)


def test_a_model_that_returns_training_images_is_far_from_chance():
    train, controls, test = _draw(np.random.default_rng(17))
    chosen = nearest(test, train, memory_bytes=ENOUGH).index
    result = _test_of(train[chosen] / 255, train, controls)
    n = result.answers
    assert n > 20
    assert result.share.value == pytest.approx((n + 2) / (n + 4))
    assert result.share.value > 0.9
    assert result.share.value - 1.96 * result.share.standard_error > 0.8


def test_half_copied_and_half_ideal_is_in_between():
    train, controls, test = _draw(np.random.default_rng(19))
    chosen = nearest(test, train, memory_bytes=ENOUGH).index
    made = torch.cat([train[chosen][:20] / 255, test[20:] / 255])
    assert _test_of(made, train, controls).share.value == pytest.approx(0.75, abs=0.15)


def test_answers_are_counted_after_kish():
    distance = torch.tensor([0.1, 0.1, 0.1, 0.4, 0.3, 0.2])
    train = Neighbours(distance, torch.tensor([2, 2, 2, 5, 1, 0]))
    controls = Neighbours(torch.tensor([0.2, 0.2, 0.2, 0.3, 0.1, 0.2]), torch.tensor([3, 1, 0, 2, 2, 4]))
    result = three_sample(train, controls)  # three at training image 2, two at control 2, a tie at training image 0
    n = 36 / (9 + 4 + 1)
    assert result.answers == pytest.approx(n)
    assert result.share.value == pytest.approx((3.5 / 6 * n + 2) / (n + 4))
    assert result.share.samples == 6


def test_ties_are_at_chance():
    _, _, test = _draw(np.random.default_rng(23))
    train = SPOTS[5:50]
    assert _test_of(test / 255, train, train).share.value == pytest.approx(0.5)


@pytest.mark.parametrize("sizes", [[101], [50, 51], [1, 97, 3]])
def test_references_in_blocks_give_the_same_neighbours(sizes):
    train, _, test = _draw(np.random.default_rng(29))
    train[71] = train[3]  # a tie between blocks: the lowest index has it
    queries = torch.cat([test, train[3:4]])
    whole = nearest(queries, train, memory_bytes=ENOUGH)
    found = nearest_in_blocks(queries, iter(train.split(sizes)), memory_bytes=ENOUGH)
    assert torch.equal(found.distance, whole.distance)
    assert torch.equal(found.index, whole.index)
    assert found.index[-1] == 3


def test_three_samples_need_distances_that_fit():
    some = Neighbours(torch.ones(3), torch.arange(3))
    for other, said in (
        (Neighbours(torch.ones(2), torch.arange(2)), "shapes"),
        (Neighbours(*[torch.ones(0)] * 2), "1"),
    ):
        with pytest.raises(ValueError, match=said):
            three_sample(some, other)
    with pytest.raises(ValueError, match="0 blocks"):
        nearest_in_blocks(SPOTS[:2], iter(()), memory_bytes=ENOUGH)


def _table(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    in_train = torch.from_numpy(rng.random((MODELS, IMAGES)) < 0.5)
    in_train[:, 0], in_train[:, 1] = False, True  # one image that no model was trained on, one that all were
    in_train[:, 2] = torch.arange(MODELS) == 4  # one that a single model was trained on
    return torch.from_numpy(-900 + 40 * rng.standard_normal((MODELS, IMAGES))), in_train


def test_scores_equal_a_loop_over_images():
    log_marginal, in_train = _table(6)
    result = leave_one_out(log_marginal, in_train)
    for image in range(2, IMAGES):
        values, trained = log_marginal[:, image].numpy(), in_train[:, image].numpy()
        inside, outside = values[trained], values[~trained]
        assert result.score[image].item() == pytest.approx(inside.mean() - outside.mean())
        ratio = np.exp(inside + 900).mean() / np.exp(outside + 900).mean()
        assert result.score_of_mean[image].item() == pytest.approx(np.log(ratio))
        assert result.with_runs[image] == len(inside)
        assert result.without_runs[image] == len(outside)
        if len(inside) > 1:
            error = (inside.var(ddof=1) / len(inside) + outside.var(ddof=1) / len(outside)) ** 0.5
            assert result.standard_error[image].item() == pytest.approx(error)


def test_a_side_without_models_has_no_score_and_one_model_has_no_error():
    result = leave_one_out(*_table(7))
    assert result.score.isnan().tolist() == [True, True, False, False, False]
    assert result.score_of_mean.isnan().tolist() == [True, True, False, False, False]
    assert result.standard_error.isnan().tolist() == [True, True, True, False, False]
    assert result.with_runs[:3].tolist() == [0, MODELS, 1]


def test_a_shift_of_the_trained_models_is_the_score():
    _, in_train = _table(8)
    result = leave_one_out(torch.full((MODELS, IMAGES), -50.0).where(in_train, -53.0), in_train)
    np.testing.assert_allclose(result.score[2:], 3.0)
    np.testing.assert_allclose(result.score_of_mean[2:], 3.0)
    np.testing.assert_allclose(result.standard_error[3:], 0.0)


def test_tables_that_do_not_fit_are_refused():
    log_marginal, in_train = _table(9)
    for table, inside, said in (
        (log_marginal, in_train[:, :3], "shapes"),
        (log_marginal[:0], in_train[:0], "not empty"),
        (log_marginal[0], in_train[0], "shapes"),
        (log_marginal, in_train.int(), "torch.int32; allowed: torch.bool"),
        (log_marginal.log(), in_train, "not finite"),
    ):
        with pytest.raises(ValueError, match=said):
            leave_one_out(table, inside)
