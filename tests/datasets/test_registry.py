"""The data sets by name: what is known before they are loaded, and the images that a report shows."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from rdstudy.datasets import Dataset, DatasetInfo, dataset_info, registry, tetrominoes
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.examples import EXAMPLES, example_rows
from rdstudy.results import schema

NAMES = ("tetrominoes", "tetrominoes-fixed")


@pytest.fixture
def small(monkeypatch):
    """Two data sets of 97 images that are in memory, one of them without factors."""
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (97, 2, 5, 7), np.uint8)
    factors = rng.random((97, 3))
    data, plain = Dataset(images, factors), Dataset(images, None)
    for name, names, load in (("small", ("a", "b", "c"), lambda: data), ("plain", (), lambda: plain)):
        monkeypatch.setitem(registry._DATASETS, name, DatasetInfo(name, 97, (2, 5, 7), names, load))
    return data


@pytest.mark.parametrize("name", ["cifar10", "Tetrominoes", "", "tetrominoes ", "../x-0123456789abcdef"])
def test_an_unknown_name_lists_the_known(name):
    with pytest.raises(
        ValueError, match=r"^data set is '.*'; allowed: tetrominoes, tetrominoes-fixed, gaussian, mnist, .*own_dataset"
    ) as caught:
        dataset_info(name)
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "a\nb",
        "a\0b",
        "x" * 5_000,
        "x" * 5_000 + "-0123456789abcdef",
        "../" * 2_000,
        "\udcff",
        "faces-0123456789abcdef\n",
    ],
)
def test_an_odd_name_is_one_line_that_can_be_read(name):
    with pytest.raises(ValueError, match=r"^data set is '.*; allowed: tetrominoes, .*own_dataset") as caught:
        dataset_info(name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", NAMES)
def test_what_is_known_of_the_tetrominoes_is_known_without_drawing_them(name, monkeypatch, tmp_path):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(tetrominoes, "render", None)
    info = dataset_info(name)
    assert info.name == name
    assert info.images == 163_840
    assert info.image_shape == (3, 32, 32)
    assert info.factor_names == ("rotation", "hue", "scale", "x", "y")
    assert not (tmp_path / "cache").exists()


def test_loading_draws_into_the_cache_once(image_cache):
    info = dataset_info("tetrominoes")
    data = info.load()
    path = image_cache / "tetrominoes-adaptive-v1.npy"
    written = path.stat().st_mtime_ns
    again = info.load()
    assert path.stat().st_mtime_ns == written
    assert data.images.shape == (info.images, *info.image_shape)
    assert data.images.dtype == np.uint8
    assert data.factors is not None
    assert again.factors is not None
    assert data.factors.shape == (info.images, len(info.factor_names))
    assert np.array_equal(data.factors, again.factors)
    index = np.arange(0, info.images, 9_973)
    drawn = np.zeros((len(index), 3, 32, 32), np.uint8)
    tetrominoes.render(tetrominoes.shapes_from_factors(data.factors[index], "adaptive"), drawn)
    assert np.array_equal(data.images[index], drawn)
    assert np.array_equal(again.images[index], drawn)


def test_the_two_kinds_of_positions_are_two_files_of_one_sample(monkeypatch, tmp_path):
    """Drawn with a stand-in that writes down what it was asked for."""
    asked = []

    def render(shapes, out):
        asked.append(shapes)
        out[:, 0, 0, 0] = 1

    small_sample = tetrominoes.sample_factors(0)[::16_381]
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(tetrominoes, "sample_factors", lambda seed: small_sample)  # noqa: ARG005
    monkeypatch.setattr(tetrominoes, "render", render)
    for name in NAMES:
        dataset_info(name).load()
    adaptive, fixed = asked
    assert np.array_equal(adaptive.rotation_degrees, fixed.rotation_degrees)
    assert (adaptive.x_pixels != fixed.x_pixels).all()
    assert len(list(tmp_path.glob("*.npy"))) == 2


@pytest.mark.parametrize("name", ["small", "plain"])
def test_examples_are_rows_of_the_schema(small, name):
    rows = example_rows(name)
    assert len(rows) == EXAMPLES
    assert all(list(row) == schema.EXAMPLES.names for row in rows)
    table = pa.Table.from_pylist(rows, schema=schema.EXAMPLES)
    assert table.to_pylist() == rows
    for row in rows:
        pixels = np.frombuffer(row["pixels"], np.uint8).reshape(row["channels"], row["height"], row["width"])
        assert np.array_equal(pixels, small.images[row["image"]])
        assert row["dataset"] == name
        expected = small.factors[row["image"]].tolist() if name == "small" else []
        assert row["factors"] == expected
        assert row["factor_names"] == (["a", "b", "c"] if name == "small" else [])


@pytest.mark.usefixtures("small")
def test_examples_are_distinct_and_always_the_same():
    chosen = [row["image"] for row in example_rows("small")]
    assert len(set(chosen)) == len(chosen)
    assert [row["image"] for row in example_rows("small")] == chosen
    assert [row["image"] for row in example_rows("plain")] != chosen


@pytest.mark.usefixtures("small")
def test_of_a_data_set_with_few_images_all_are_examples(monkeypatch):
    few = dataclasses.replace(dataset_info("small"), images=11)
    monkeypatch.setitem(registry._DATASETS, "small", few)
    assert sorted(row["image"] for row in example_rows("small")) == list(range(11))


def test_an_example_of_an_unknown_data_set_is_refused():
    with pytest.raises(ValueError, match="data set is 'cifar10'; allowed: tetrominoes"):
        example_rows("cifar10")
