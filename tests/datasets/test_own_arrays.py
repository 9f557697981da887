"""Laws of what own_dataset takes: what is surely a mistake is one line with the way that helps, and nothing is kept."""

import numpy as np
import pytest
import torch

from rdstudy.datasets import dataset_info, own_dataset
from rdstudy.datasets.cache import FOLDER_VARIABLE

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (13, 3, 5, 7), np.uint8)
FACTORS = RNG.random((13, 2))
NAMES = ("size", "hue")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", ["../faces", "", "a b", 7, "x" * 65])
def test_a_name_must_be_a_word(name):
    with pytest.raises(ValueError, match="allowed: a name of up to 64 letters"):
        own_dataset(name, IMAGES)


UNIT = IMAGES / 255
ONES = (IMAGES > 99).astype(np.uint8)


@pytest.mark.parametrize(
    ("images", "says"),
    [
        (IMAGES[:, 0], r"uint8 \(13, 5, 7\); allowed: .*images\[:, None\] where they are grey$"),
        (IMAGES[0, 0], r"uint8 \(5, 7\); allowed: uint8 \[image, channel, row, column\]$"),
        (IMAGES.tolist(), r"images are list; allowed: uint8 .*, an array as of np\.asarray\(images\)$"),
        (iter(IMAGES), r"images are .*; allowed: uint8 .*, an array as of np\.stack\(list\(images\)\)$"),
        (None, "images are NoneType; allowed: uint8"),
        (IMAGES[:1], "two images or more"),
        (IMAGES[:0], "two images or more"),
        (IMAGES[..., :0], "of a pixel or more"),
        (IMAGES.transpose(0, 2, 3, 1), r"\(13, 5, 7, 3\), 5 channels; .*as of images\.transpose\(0, 3, 1, 2\)$"),
        (IMAGES[:, :1].transpose(0, 2, 3, 1), r"as of images\.transpose\(0, 3, 1, 2\)$"),
        (IMAGES[:, [0, 1, 2, 0]], r"4 channels; .*as of images\[:, :3\], without transparency$"),
        (IMAGES[:, :2], r"2 channels; .*as of images\[:, :1\], without transparency$"),
        (IMAGES[:, [0, 1, 2, 0]].transpose(0, 2, 3, 1), r"images\[\.\.\., :3\]\.transpose\(0, 3, 1, 2\), without"),
        (IMAGES[:, :2].transpose(0, 2, 3, 1), r"images\[\.\.\., :1\]\.transpose\(0, 3, 1, 2\), without"),
        (IMAGES.transpose(0, 3, 1, 2), r"7 channels; allowed: .* of 1 channel \(grey\) or 3 \(red, green, blue\)$"),
        (ONES, r"its largest pixel is 1, .*as of images \* 255 where .*np\.rint\(255 \* x\)\.astype\(np\.uint8\)"),
        (ONES * 0, "all pixels are 0; allowed: images that differ"),
        (ONES * 0 + 7, "all pixels are 7; allowed: images that differ"),
        (IMAGES[[5] * 13], "all images are the same; allowed: images that differ"),
    ],
)
def test_images_must_be_images(images, says, cache):
    with pytest.raises(ValueError, match=f"^own data set 'faces': .*{says}") as caught:
        own_dataset("faces", images)
    assert "\n" not in str(caught.value)
    assert not cache.exists()


@pytest.mark.parametrize(
    ("images", "way"),
    [
        (UNIT, "np.rint(255 * images).astype(np.uint8)"),
        (UNIT.astype(np.float32), "np.rint(255 * images).astype(np.uint8)"),
        (IMAGES.astype(float), "np.rint(images).astype(np.uint8)"),
        (2 * UNIT - 1, "np.rint(127.5 * (images + 1)).astype(np.uint8)"),
        (IMAGES.astype(np.int64), "images.astype(np.uint8)"),
        (IMAGES.astype(np.uint16) * 257, "np.rint(images / 257).astype(np.uint8)"),
        (ONES.astype(bool), "255 * images.astype(np.uint8)"),
        (ONES.astype(np.int8), "255 * images.astype(np.uint8)"),
    ],
)
def test_other_numbers_are_refused_with_the_way_to_bytes_that_helps(images, way, cache):
    with pytest.raises(ValueError, match=r"^own data set 'faces': images are .*; allowed: uint8 \[") as caught:
        own_dataset("faces", images)
    assert str(caught.value).endswith(f", as of {way}")
    assert not cache.exists()
    made = eval(way, {"np": np, "images": images})
    assert made.dtype == np.uint8
    wanted = ONES * 255 if images.max() == 1 and images.dtype.kind in "bi" else IMAGES
    assert np.array_equal(made, wanted)
    own_dataset("faces", made)


@pytest.mark.parametrize("images", [UNIT * np.nan, UNIT - 7, UNIT * 1e6, IMAGES.astype("<U3"), IMAGES + 1j])
def test_numbers_that_do_not_say_what_they_mean_are_refused_without_a_way(images):
    with pytest.raises(ValueError, match=r"; allowed: uint8 \[image, channel, row, column\]$"):
        own_dataset("faces", images)


def test_a_tensor_is_refused_with_the_way_to_an_array():
    with pytest.raises(ValueError, match=r"images are Tensor; allowed: uint8 .*as of np\.asarray\(images\)$"):
        own_dataset("faces", torch.as_tensor(IMAGES))  # type: ignore[arg-type]


def test_a_shape_that_no_disk_takes_is_refused_before_it_is_read(cache):
    images = np.broadcast_to(np.zeros(1, np.uint8), (10**9, 3, 10**3, 10**3))
    with pytest.raises(ValueError, match=r"shape \(1000000000, 3, 1000, 1000\), 3,000,000 GB; allowed: up to the"):
        own_dataset("faces", images)
    assert not cache.exists()


def test_images_that_memory_cannot_put_in_order_are_one_line(monkeypatch):
    def full(_):
        raise MemoryError

    monkeypatch.setattr(np, "ascontiguousarray", full)
    with pytest.raises(ValueError, match=r"^own data set 'faces': no memory to put 1,365 bytes of images in order"):
        own_dataset("faces", np.asfortranarray(IMAGES))


def test_arrays_on_disk_and_in_any_order_are_taken(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES.transpose(0, 2, 3, 1))
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    name = own_dataset("faces", mapped.transpose(0, 3, 1, 2))
    assert name == own_dataset("faces", IMAGES) == own_dataset("faces", np.asfortranarray(IMAGES))
    assert np.array_equal(dataset_info(name).load().images, IMAGES)


def test_names_of_factors_may_be_any_sequence():
    name = own_dataset("faces", IMAGES, factors=FACTORS, factor_names=NAMES)
    assert own_dataset("faces", IMAGES, factors=FACTORS, factor_names=iter(NAMES)) == name  # type: ignore[arg-type]
    assert own_dataset("faces", IMAGES, factors=FACTORS.tolist(), factor_names=list(NAMES)) == name


@pytest.mark.parametrize(
    ("factors", "names", "says"),
    [
        (FACTORS, (), r"factors have shape \(13, 2\); allowed with its factor_names: None"),
        (None, NAMES, r"shape None; allowed with its factor_names: \(13, 2\)"),
        (FACTORS[1:], NAMES, r"shape \(12, 2\)"),
        (FACTORS.T, NAMES, r"shape \(2, 13\)"),
        (FACTORS, ("a", "a"), "distinct names"),
        (FACTORS, "ab", "a list of distinct names"),
        (FACTORS + 0.5, NAMES, "leave the unit cube"),
        (FACTORS - 0.5, NAMES, "leave the unit cube"),
        (FACTORS * np.nan, NAMES, "26 of its factors are NaN"),
        (np.full((13, 2), "red"), NAMES, "factors are not numbers"),
        ([[0.5, 0.5]] * 12 + [[0.5]], NAMES, "factors are not numbers"),
        (FACTORS, (1, 2), "a list of distinct names"),
    ],
)
def test_factors_must_be_factors(factors, names, says):
    with pytest.raises(ValueError, match=f"^own data set 'faces': .*{says}"):
        own_dataset("faces", IMAGES, factors=factors, factor_names=names)
