"""Laws of the published data sets: known without files, read once, mapped afterwards, fit for every split rule.

Loading is run on small stand-ins with the published sets' own readers, from mirrors on this machine or from a folder.
"""

import dataclasses
import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import numpy as np
import pytest

from rdstudy.datasets import dataset_info, dsprites, idx, registry, shapes3d, smallnorb
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.download import RemoteFile
from rdstudy.datasets.files import DATA_VARIABLE, OFFLINE_VARIABLE
from rdstudy.datasets.published import PUBLISHED, Published
from rdstudy.datasets.splits import make_split, resolve_rule
from tests.datasets.conftest import REAL_NAME
from tests.datasets.formats import grid, idx_bytes, matrix_bytes, slow_mean, write_gz, write_hdf5

KNOWN = {
    "mnist": (70_000, 1, ()),
    "fashion-mnist": (70_000, 1, ()),
    "smallnorb": (48_600, 1, ("category", "instance", "elevation", "azimuth", "lighting")),
    "3dshapes": (480_000, 3, ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")),
    "dsprites": (737_280, 1, ("shape", "scale", "orientation", "x", "y")),
}
OWNERS = {"githubusercontent.com": "github.com"}
ON_ONE_HOST = ("smallnorb", "3dshapes", "dsprites")
"""Whose second address is of the same host, as README says: no other is known."""
SIZES = {"a": 2, "b": 3, "c": 4}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files by hand below `data`, an empty cache, and no network."""
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "data"))
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")
    return tmp_path


def publish(monkeypatch, name, files, read_images, *, read_levels=None, channels=1, urls=()) -> Published:
    """Register a small data set whose files are the given ones."""
    remote = tuple(
        RemoteFile(
            name, path.name, urls or (f"http://127.0.0.1:9/{path.name}",), f"sha256:{digest}", path.stat().st_size
        )
        for path in files
        for digest in [hashlib.sha256(path.read_bytes()).hexdigest()]
    )
    levels = SIZES if read_levels else {}
    partial_levels = partial(read_levels, sizes=tuple(SIZES.values())) if read_levels else None
    data = Published(name, 1, 24, channels, levels, remote, read_images, partial_levels)
    monkeypatch.setitem(registry._DATASETS, name, registry._published(data))
    return data


@dataclass(frozen=True)
class SmallShapes:
    images: np.ndarray  # [image, row, column, channel]
    data: Published


@pytest.fixture
def small_shapes(folder, monkeypatch):
    rng = np.random.default_rng(3)
    (folder / "data" / "small").mkdir(parents=True)
    images = rng.integers(0, 256, (24, 64, 64, 3), np.uint8)
    path = write_hdf5(folder / "data" / "small" / "a.h5", {"images": images, "labels": grid((2, 3, 4)) / 7})
    data = publish(monkeypatch, "small", [path], shapes3d.read_images, read_levels=shapes3d.read_levels, channels=3)
    return SmallShapes(images, data)


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_known_is_known_without_files(name, folder):
    images, channels, factors = KNOWN[name]
    info = dataset_info(name)
    assert (info.name, info.images, info.image_shape) == (name, images, (channels, 32, 32))
    assert info.factor_names == factors
    assert os.listdir(folder) == []


def test_levels_make_up_the_images():
    assert {data.name for data in PUBLISHED} == set(KNOWN)
    for data in PUBLISHED:
        assert not data.levels or np.prod(list(data.levels.values())) == data.images
        assert bool(data.levels) == (data.read_levels is not None)
        assert all(size <= 256 for size in data.levels.values()), "levels are cached as bytes"
        assert all(file.dataset == data.name for file in data.files)


def test_who_has_mirrors_has_them_on_hosts_of_their_own():
    for data in PUBLISHED:
        for file in data.files:
            hosts = [str(urlsplit(url).hostname) for url in file.urls]
            owners = {OWNERS.get(domain, domain) for domain in (".".join(host.split(".")[-2:]) for host in hosts)}
            assert len(owners) == (1 if data.name in ON_ONE_HOST else len(file.urls)), (file.name, hosts)
            assert len(set(file.urls)) == len(file.urls) > 1


@pytest.mark.parametrize("name", KNOWN)
def test_without_its_files_and_offline_a_data_set_says_which(name, folder):
    first = next(data for data in PUBLISHED if data.name == name).files[0]
    with pytest.raises(ValueError, match="is not on this machine, and RDSTUDY_OFFLINE is set") as caught:
        dataset_info(name).load()
    assert str(folder / "data" / name / first.name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "rdstudy" in str(caught.traceback[-1].path)
    assert not list((folder / "cache").glob("*.tmp")), "as large as the data set, and nobody may come back for it"


def test_files_of_another_data_set_are_refused(folder, real_mnist):
    place = folder / "data" / "fashion-mnist" / REAL_NAME
    place.parent.mkdir(parents=True)
    place.write_bytes((real_mnist / "mnist" / REAL_NAME).read_bytes())
    (place.parent / "train-images-idx3-ubyte.gz").write_bytes(b"x")
    with pytest.raises(ValueError, match="is not that file of fashion-mnist: it has"):
        dataset_info("fashion-mnist").load()
    fashion = next(data for data in PUBLISHED if data.name == "fashion-mnist")
    same_size = dataclasses.replace(fashion.files[1], bytes=place.stat().st_size)
    assert "its checksum is sha256:8d422c7b0a1c" in (same_size.problem(place) or "")


def test_mnists_real_test_file_is_the_published_one(real_mnist):
    mnist = next(data for data in PUBLISHED if data.name == "mnist")
    (file,) = (file for file in mnist.files if file.name == REAL_NAME)
    assert file.problem(real_mnist / "mnist" / REAL_NAME) is None


def test_a_data_set_is_read_once_and_taken_from_the_cache_afterwards(small_shapes, folder):
    first = dataset_info("small").load()
    (folder / "data" / "small" / "a.h5").unlink()
    again = dataset_info("small").load()
    for data in (first, again):
        assert not data.images.flags.writeable
        for image in range(0, 24, 5):
            for channel in range(3):
                expected = slow_mean(small_shapes.images[image, :, :, channel], 2)
                assert np.array_equal(data.images[image, channel], expected)
        assert data.factors is not None
        assert np.array_equal(data.factors, (grid((2, 3, 4)) + 0.5) / [2, 3, 4])


@pytest.mark.usefixtures("small_shapes")
@pytest.mark.parametrize("name", ["small-v1.npy", "small-v1-levels.npy"])
def test_damaged_images_and_levels_are_read_again_from_the_files(folder, caplog, name):
    whole = dataset_info("small").load()
    images, factors = np.array(whole.images), np.array(whole.factors)
    path = folder / "cache" / name
    path.write_bytes(path.read_bytes()[:-7] + bytes(7))
    again = dataset_info("small").load()
    assert np.array_equal(again.images, images)
    assert again.factors is not None
    assert np.array_equal(again.factors, factors)
    (record,) = caplog.records
    assert name in record.getMessage()
    assert "making it again" in record.getMessage()
    path.write_bytes(path.read_bytes()[:-7] + bytes(7))
    os.remove(folder / "data" / "small" / "a.h5")
    with pytest.raises(
        ValueError, match=r"^a\.h5 of small is not on this machine, and RDSTUDY_OFFLINE is set; put it at"
    ):
        dataset_info("small").load()


def test_a_reader_that_dies_halfway_leaves_nothing_that_is_taken_for_whole(small_shapes, folder):
    def half(_, out):
        out[:7] = 1
        raise KeyboardInterrupt

    broken = registry._published(dataclasses.replace(small_shapes.data, read_images=half))
    with pytest.raises(KeyboardInterrupt):
        broken.load()
    assert not list((folder / "cache").glob("*.npy"))
    assert dataset_info("small").load().images[7:].any()


@pytest.mark.usefixtures("small_shapes")
@pytest.mark.parametrize("text", ["default", "checkerboard", "cv(7)", "cd(5)"])
def test_every_split_rule_works_on_a_grid_of_levels(text):
    info = dataset_info("small")
    data = info.load()
    rule = resolve_rule(text, dataset="small", images=info.images, has_factors=bool(info.factor_names))
    split = make_split(rule, dataset="small", images=info.images, factors=data.factors, study_seed=0)
    assert len(split.train)
    assert len(split.test)
    assert not set(split.train) & set(split.test)


def test_a_checkerboard_needs_factors():
    with pytest.raises(ValueError, match="needs generative factors, which data set 'mnist' lacks"):
        resolve_rule(
            "checkerboard", dataset="mnist", images=70_000, has_factors=bool(dataset_info("mnist").factor_names)
        )


def test_mnists_files_are_one_data_set_from_a_mirror(folder, monkeypatch, mirror):
    monkeypatch.setenv(OFFLINE_VARIABLE, "0")
    images = np.random.default_rng(3).integers(0, 256, (24, 28, 28), np.uint8)
    files = [write_gz(folder / "a.gz", idx_bytes(images[:17])), write_gz(folder / "b.gz", idx_bytes(images[17:]))]
    bodies = [path.read_bytes() for path in files]

    def send(body):
        def behave(handler):
            handler.start(200, Content_Length=len(body))
            handler.wfile.write(body)

        return behave

    only = mirror(*map(send, bodies))
    publish(monkeypatch, "digits", files, idx.read_images, urls=(only.url,))
    for _ in range(2):
        data = dataset_info("digits").load()
        assert np.array_equal(data.images[:, 0], np.pad(images, ((0, 0), (2, 2), (2, 2))))
        assert data.factors is None
    assert len(only.ranges) == 2


def test_smallnorb_and_dsprites_load_too(folder, monkeypatch):
    rng = np.random.default_rng(3)
    home = folder / "data" / "toys"
    home.mkdir(parents=True)
    pairs, sprites = rng.integers(0, 256, (24, 2, 96, 96), np.uint8), rng.integers(0, 2, (24, 64, 64), np.uint8)
    levels = grid((2, 2, 3, 2))  # category, instance, elevation, azimuth
    info = (levels[:, 1:] * [1, 1, 2]).astype(np.int32)
    files = [
        write_gz(home / f"{part}-{kind}", matrix_bytes(values[rows]))
        for part, rows in (("training", slice(0, 11)), ("testing", slice(11, 24)))
        for kind, values in (("dat", pairs), ("cat", levels[:, 0].astype(np.int32)), ("info", info))
    ]
    publish(monkeypatch, "toys", files, smallnorb.read_images)
    assert np.array_equal(dataset_info("toys").load().images[13, 0], slow_mean(pairs[13, 0], 3))
    assert np.array_equal(smallnorb.read_levels(files, (2, 2, 3, 2)), levels)
    np.savez_compressed(home / "a.npz", imgs=sprites, latents_classes=grid((1, 2, 3, 4)))
    publish(monkeypatch, "sprites", [home / "a.npz"], dsprites.read_images, read_levels=dsprites.read_levels)
    (folder / "data" / "sprites").symlink_to(home)
    data = dataset_info("sprites").load()
    assert np.array_equal(data.images[23, 0], slow_mean(255 * sprites[23], 2))
    assert data.factors is not None
    assert np.array_equal(data.factors, (grid((2, 3, 4)) + 0.5) / [2, 3, 4])


def test_a_gz_file_that_unpacks_to_something_else_is_no_data_set(folder, monkeypatch):
    (folder / "data" / "labels").mkdir(parents=True)
    path = folder / "data" / "labels" / "a.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(24, np.uint8))))
    publish(monkeypatch, "labels", [path], idx.read_images)
    with pytest.raises(ValueError, match="images, not labels"):
        dataset_info("labels").load()
    assert not list((folder / "cache").glob("*.npy"))
