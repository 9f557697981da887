"""Copied reconstructions at both ends and at a tie; leave-one-out scores against a loop over images."""

import numpy as np
import pytest
import torch

from rdstudy.measures.memorization import copied_fraction, leave_one_out

IMAGES, TRAIN, PIXELS, MODELS = 5, 11, 7, 13
ENOUGH = 1e8


def _bytes(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def test_reconstructions_that_are_their_own_images_copy_nothing():
    images, train = _bytes(1, IMAGES, PIXELS), _bytes(2, TRAIN, PIXELS)
    result = copied_fraction(images / 255, images=images, train=train, memory_bytes=ENOUGH)
    assert result.copied_fraction.value == 0
    assert result.own_distance.tolist() == [0.0] * IMAGES
    assert (result.nearest_distance > 0).all()


def test_reconstructions_that_are_training_images_copy_all():
    images, train = _bytes(1, IMAGES, PIXELS), _bytes(2, TRAIN, PIXELS)
    chosen = torch.tensor([3, 10, 3, 0, 7])
    result = copied_fraction(train[chosen] / 255, images=images, train=train, memory_bytes=ENOUGH)
    assert result.copied_fraction.value == 1
    assert result.copied_fraction.samples == IMAGES
    assert result.nearest_index.tolist() == chosen.tolist()
    assert result.nearest_distance.tolist() == [0.0] * IMAGES


@pytest.mark.parametrize("memory_bytes", [1, ENOUGH])
def test_equals_a_loop_over_images(memory_bytes):
    images, train = _bytes(3, 97, PIXELS), _bytes(4, 29, PIXELS)
    rng = np.random.default_rng(5)
    reconstructions = np.clip(images.numpy() / 255 + 0.3 * rng.standard_normal(images.shape), 0, 1)
    result = copied_fraction(torch.from_numpy(reconstructions), images=images, train=train, memory_bytes=memory_bytes)
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
        result = copied_fraction(reconstruction, images=images, train=train, memory_bytes=ENOUGH)
        assert result.copied_fraction.value == expected
    own = copied_fraction(torch.full((1, PIXELS), 0.3), images=images, train=images, memory_bytes=ENOUGH)
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
            copied_fraction(x, **arguments, memory_bytes=ENOUGH)
    with pytest.raises(ValueError, match="finite"):
        copied_fraction(x / 0, images=images, train=train, memory_bytes=ENOUGH)


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
