"""Laws of the readers: what was written in a format comes back, and anything else is one line that names the file."""

import gzip
import hashlib
import sys
import zipfile
from typing import Any

import numpy as np
import pytest

from rdstudy.datasets import dataset_info, dsprites, idx, registry, shapes3d, smallnorb
from rdstudy.datasets import reading as reading_module
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.factors import check_grid, levels_of_values, unit_factors
from rdstudy.datasets.resize import area_average, paste_centred
from tests.datasets.conftest import REAL_NAME
from tests.datasets.formats import grid, idx_bytes, matrix_bytes, slow_mean, write_gz, write_hdf5

RNG_SEED = 7


@pytest.fixture
def rng():
    return np.random.default_rng(RNG_SEED)


@pytest.fixture(params=[1, 10**9], ids=["small blocks", "one block"])
def block_bytes(request, monkeypatch):
    """How much is unpacked at a time must not matter."""
    for module in (smallnorb, shapes3d, dsprites):
        monkeypatch.setattr(module, "BLOCK_BYTES", request.param)


# --- size and factors ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2, 3, 16])
@pytest.mark.parametrize("low", [0, 250])
def test_area_averages_are_means(rng, factor, low):
    images = rng.integers(low, 256, (3, 2, 5 * factor, 7 * factor), np.uint8)
    averaged = area_average(images, factor)
    assert averaged.dtype == np.uint8
    for image in range(3):
        for channel in range(2):
            assert np.array_equal(averaged[image, channel], slow_mean(images[image, channel], factor))


@pytest.mark.parametrize("value", [0, 1, 127, 254, 255])
@pytest.mark.parametrize("factor", [2, 3, 16])
def test_the_mean_of_one_value_is_that_value(value, factor):
    assert (area_average(np.full((1, 1, 2 * factor, 3 * factor), value, np.uint8), factor) == value).all()


def test_padding_leaves_the_middle_and_a_black_frame(rng):
    images, out = rng.integers(1, 256, (5, 28, 28), np.uint8), np.zeros((5, 32, 32), np.uint8)
    paste_centred(images, out)
    assert np.array_equal(out[:, 2:30, 2:30], images)
    assert np.count_nonzero(out) == images.size
    assert np.array_equal(out, np.pad(images, ((0, 0), (2, 2), (2, 2))))


def test_factors_lie_in_the_middle_of_their_strata():
    sizes = (2, 3, 5)
    factors = unit_factors(grid(sizes).astype(np.uint8), sizes)
    assert factors.dtype == np.float64
    assert sorted(set(factors[:, 0])) == [0.25, 0.75]
    assert factors.mean(axis=0) == pytest.approx([0.5] * 3)
    assert (factors > 0).all()
    assert (factors < 1).all()
    assert np.array_equal(np.floor(factors * sizes), grid(sizes))


def test_values_are_numbered_in_ascending_order():
    values = np.array([[30.0, 0.5], [-30.0, 0.5], [0.0, 0.25]])
    assert levels_of_values(values).tolist() == [[2, 1], [0, 1], [1, 0]]


def test_a_grid_must_be_full(tmp_path, rng):
    sizes = (2, 3, 5)
    levels = grid(sizes)
    check_grid(rng.permutation(levels), sizes, tmp_path)
    twice = levels.copy()
    twice[7] = twice[11]
    outside, below = levels.copy(), levels.copy()
    outside[:, 1] += 1
    below[:, 1] -= 1
    for wrong in (twice, levels[1:], levels[:, 1:], outside, below):
        with pytest.raises(ValueError, match="; allowed: ") as caught:
            check_grid(wrong, sizes, tmp_path)
        assert str(caught.value).startswith(str(tmp_path))


# --- IDX ----------------------------------------------------------------------------------------------------------


def test_idx_images_come_back(tmp_path, rng):
    images = rng.integers(0, 256, (13, 5, 7), np.uint8)
    assert np.array_equal(idx.parse_idx_images(idx_bytes(images), tmp_path), images)


def test_idx_files_follow_one_another(tmp_path, rng):
    images = rng.integers(0, 256, (13, 3, 7), np.uint8)
    paths = [write_gz(tmp_path / "a", idx_bytes(images[:11])), write_gz(tmp_path / "b", idx_bytes(images[11:]))]
    out = np.zeros((13, 1, 5, 11), np.uint8)
    idx.read_images(paths, out)
    assert np.array_equal(out[:, 0], np.pad(images, ((0, 0), (1, 1), (2, 2))))


WHOLE = idx_bytes(np.arange(3 * 5 * 7, dtype=np.uint8).reshape(3, 5, 7))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "starts with nothing"),
        (WHOLE[:3], "is no IDX file"),
        (b"PK\x03\x04" + WHOLE[4:], "starts with 504b0304"),
        (WHOLE[:9], "cut short in its header"),
        (WHOLE[:-1], "has 120 bytes unpacked; allowed for .* images: 121"),
        (WHOLE + b"\0", "has 122 bytes unpacked"),
        (idx_bytes(np.arange(10, dtype=np.uint8)), "along 1 axes; allowed: type 0x08 along 3 .images, not labels"),
        (b"\0\0\x0d\x03" + WHOLE[4:], "type 0x0d"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "bytes unpacked; allowed"),
    ],
)
def test_what_is_no_idx_file_of_images_is_refused(tmp_path, data, says):
    with pytest.raises(ValueError, match=says) as caught:
        idx.parse_idx_images(data, tmp_path / "file")
    assert str(caught.value).startswith(str(tmp_path / "file"))
    assert "\n" not in str(caught.value)


def test_idx_images_must_be_as_many_as_there_is_room_for(tmp_path):
    path = write_gz(tmp_path / "a", WHOLE)
    for shape in ((2, 1, 5, 7), (4, 1, 5, 7), (3, 1, 4, 7)):
        with pytest.raises(ValueError, match="allowed: "):
            idx.read_images([path], np.zeros(shape, np.uint8))


def spoilt_gz(content: bytes) -> dict[str, bytes]:
    packed = gzip.compress(content)
    middle = len(packed) // 2
    return {
        "empty": b"",
        "cut short": packed[:middle],
        "without its end": packed[:-1],
        "no gzip": content,
        "a page of HTML": b"<html>not found</html>",
        "a byte changed": packed[:middle] + bytes([packed[middle] ^ 0x55]) + packed[middle + 1 :],
    }


@pytest.mark.parametrize("how", spoilt_gz(b""))
@pytest.mark.parametrize("kind", ["idx", "matrix"])
def test_a_damaged_gz_file_is_refused(tmp_path, rng, how, kind):
    path = tmp_path / "file.gz"
    if kind == "idx":
        content = idx_bytes(rng.integers(0, 256, (17, 28, 28), np.uint8))
    else:
        content = matrix_bytes(rng.integers(0, 256, (17, 2, 28, 28), np.uint8))
    path.write_bytes(spoilt_gz(content)[how])
    read = {"idx": idx, "matrix": smallnorb}[kind].read_images
    with pytest.raises(ValueError, match=r"^\S*file\.gz ") as caught:
        read([path], np.zeros((17, 1, *((32, 32) if kind == "idx" else (14, 14))), np.uint8))
    assert "\n" not in str(caught.value)
    assert "rdstudy" in str(caught.traceback[-1].path), "the command line takes others for a program's fault"


def test_mnist_as_it_is(real_mnist):
    path = real_mnist / "mnist" / REAL_NAME
    out = np.zeros((10_000, 1, 32, 32), np.uint8)
    idx.read_images([path], out)
    data = gzip.decompress(path.read_bytes())
    assert hashlib.md5(path.read_bytes()).hexdigest() == "9fb629c4189551a2d022fa330f9573f3"
    assert out[:, 0, 2:30, 2:30].tobytes() == data[16:]
    assert not out[:, :, [0, 1, 30, 31]].any()
    assert not out[:, :, :, [0, 1, 30, 31]].any()
    assert 0.12 < out[:, :, 2:30, 2:30].mean() / 255 < 0.14  # some 13 % of MNIST's test pixels are ink
    seven = out[0, 0] > 128
    assert seven[10].sum() > 10, "the first test image is a 7, its bar on top"
    assert seven[12:].sum(axis=1).max() < 6


# --- SmallNORB ----------------------------------------------------------------------------------------------------

NORB_SIZES = (5, 4, 3, 2, 7)  # category, instance, elevation, azimuth, lighting


def write_norb(folder, rng, *, side=6) -> tuple[list, np.ndarray, np.ndarray]:
    """Two parts, split by instance as the published ones: their files, their pairs, their levels."""
    levels = rng.permutation(grid(NORB_SIZES))
    pairs = rng.integers(0, 256, (len(levels), 2, side, side), np.uint8)
    paths, order = [], []
    for name, instances in (("training", (1, 3)), ("testing", (0, 2))):
        here = np.flatnonzero(np.isin(levels[:, 1], instances))
        info = levels[here, 1:].copy()
        info[:, 2] *= 2
        for kind, values in (
            ("dat", pairs[here]),
            ("cat", levels[here, 0].astype(np.int32)),
            ("info", info.astype(np.int32)),
        ):
            paths.append(write_gz(folder / f"{name}-{kind}.mat.gz", matrix_bytes(values)))
        order.append(here)
    chosen = np.concatenate(order)
    return paths, pairs[chosen], levels[chosen]


@pytest.mark.usefixtures("block_bytes")
def test_smallnorb_is_the_left_images_of_both_parts(tmp_path, rng):
    paths, pairs, levels = write_norb(tmp_path, rng)
    out = np.zeros((len(pairs), 1, 2, 2), np.uint8)
    smallnorb.read_images(paths, out)
    for image in range(0, len(pairs), 11):
        assert np.array_equal(out[image, 0], slow_mean(pairs[image, 0], 3))
    assert np.array_equal(smallnorb.read_levels(paths, NORB_SIZES), levels)


@pytest.mark.parametrize("values", [np.zeros(5, np.int32), np.zeros((5, 4), np.int32), np.zeros((2, 3, 5), np.float32)])
def test_a_matrix_header_says_what_follows(tmp_path, values):
    with reading_module.gunzipped(write_gz(tmp_path / "a", matrix_bytes(values))) as stream:
        header = smallnorb.read_header(stream, tmp_path)
        rest = stream.read()
    assert header.shape == values.shape
    assert header.dtype == values.dtype
    assert rest == values.tobytes()


def norb_with(tmp_path, rng, which: str, content: bytes) -> list:
    paths, _, _ = write_norb(tmp_path, rng)
    write_gz(tmp_path / f"{which}.mat.gz", content)
    return paths


INTEGERS = np.arange(420, dtype=np.int32)


@pytest.mark.parametrize(
    ("which", "content", "says"),
    [
        ("training-dat", b"\0" * 100, "is no binary matrix: magic number 0x00000000"),
        ("training-dat", matrix_bytes(INTEGERS), r"holds int32 values of shape \(420,\); allowed: bytes"),
        ("training-dat", matrix_bytes(np.zeros((420, 6, 6), np.uint8)), "allowed: bytes"),
        ("training-dat", matrix_bytes(np.zeros((420, 2, 5, 5), np.uint8)), "sides a multiple of 2"),
        ("training-dat", matrix_bytes(np.zeros((420, 1, 6, 6), np.uint8)), "pairs of square images"),
        ("training-dat", matrix_bytes(np.zeros((421, 2, 6, 6), np.uint8)), "up to 419 pairs|up to 840 pairs"),
        ("testing-dat", matrix_bytes(np.zeros((419, 2, 6, 6), np.uint8)), "839 images; allowed: 840"),
        ("testing-dat", matrix_bytes(np.zeros((420, 2, 6, 6), np.uint8))[:-1], "is cut short: 1 bytes are missing"),
        ("testing-dat", matrix_bytes(np.zeros((420, 2, 6, 6), np.uint8)) + b"x", "goes on behind its last image"),
        ("testing-dat", matrix_bytes(INTEGERS)[:7], "is cut short"),
        ("training-cat", matrix_bytes(np.zeros((420, 2), np.int32)), "allowed: int32 along 1 axes"),
        ("training-cat", matrix_bytes(np.zeros(420, np.uint8)), "allowed: int32 along 1 axes"),
        ("training-cat", matrix_bytes(INTEGERS), "outside its levels"),
        ("training-cat", matrix_bytes(INTEGERS * 0), "combinations of factors; allowed: each of 840 once"),
        ("training-cat", matrix_bytes(INTEGERS[1:]), r"has shape \(420, 4\); allowed: \(419, 4\)"),
        ("testing-info", matrix_bytes(np.ones((420, 4), np.int32)), "odd azimuth"),
        ("testing-info", matrix_bytes(np.ones((420, 5), np.int32)), r"allowed: \(420, 4\)"),
        ("testing-info", matrix_bytes(INTEGERS), "allowed: int32 along 2 axes"),
    ],
)
def test_a_wrong_smallnorb_file_is_refused(tmp_path, rng, which, content, says):
    paths = norb_with(tmp_path, rng, which, content)
    with pytest.raises(ValueError, match=says) as caught:  # noqa: PT012 (one of the two raises)
        smallnorb.read_images(paths, np.zeros((840, 1, 2, 2), np.uint8))
        smallnorb.read_levels(paths, NORB_SIZES)
    assert "\n" not in str(caught.value)


# --- 3dShapes -----------------------------------------------------------------------------------------------------

SHAPES_SIZES = (2, 3, 2, 5)


def shapes_arrays(rng) -> dict[str, np.ndarray]:
    levels = grid(SHAPES_SIZES)
    values = levels * np.array([0.1, -0.5, 3.0, 60 / 4]) + np.array([0.0, 2.0, 0.0, -30.0])
    return {"images": rng.integers(0, 256, (len(levels), 6, 6, 3), np.uint8), "labels": values}


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("chunks", [None, (7, 2, 3, 1), (60, 6, 6, 3), (1, 6, 6, 3)])
def test_3dshapes_come_back(tmp_path, rng, chunks):
    arrays = shapes_arrays(rng)
    path = write_hdf5(tmp_path / "a.h5", arrays, chunks=chunks)
    out = np.zeros((60, 3, 2, 2), np.uint8)
    shapes3d.read_images([path], out)
    for image in range(0, 60, 7):
        for channel in range(3):
            assert np.array_equal(out[image, channel], slow_mean(arrays["images"][image, :, :, channel], 3))
    levels = shapes3d.read_levels([path], SHAPES_SIZES)
    expected = grid(SHAPES_SIZES)
    expected[:, 1] = 2 - expected[:, 1]  # its values fall
    assert np.array_equal(levels, expected)


def test_an_hdf5_file_of_something_else_is_refused(tmp_path, rng):
    arrays = shapes_arrays(rng)
    out = np.zeros((60, 3, 2, 2), np.uint8)
    wrong: dict[str, dict[str, Any]] = {
        "no data set 'images'": {"labels": arrays["labels"]},
        "holds float32 images": {**arrays, "images": arrays["images"].astype(np.float32)},
        r"of shape \(59,": {**arrays, "images": arrays["images"][1:]},
        r"of shape \(60, 6, 6\)": {**arrays, "images": arrays["images"][..., 0]},
        r"of shape \(60, 5,": {**arrays, "images": arrays["images"][:, 1:]},
        r"of shape \(60, 1,": {**arrays, "images": arrays["images"][:, :1, :1]},
        "no data set 'labels'": {"images": arrays["images"]},
        "combinations of factors": {**arrays, "labels": arrays["labels"] * 0},
        "labels of shape": {**arrays, "labels": arrays["labels"][:, 0]},
        "holds float64 labels": {**arrays, "labels": arrays["labels"] * np.nan},
    }
    for says, content in wrong.items():
        path = write_hdf5(tmp_path / "a.h5", content)
        with pytest.raises(ValueError, match=says) as caught:  # noqa: PT012 (one of the two raises)
            shapes3d.read_images([path], out)
            shapes3d.read_levels([path], SHAPES_SIZES)
        assert "allowed: " in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["empty", "cut short", "no HDF5", "absent"])
def test_a_damaged_hdf5_file_is_refused(tmp_path, rng, how):
    path = write_hdf5(tmp_path / "a.h5", shapes_arrays(rng), chunks=(7, 6, 6, 3))
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut short": whole[: len(whole) // 2]}.get(how, b"x" * len(whole)))
    if how == "absent":
        path.unlink()
    for read in (
        lambda: shapes3d.read_images([path], np.zeros((60, 3, 2, 2), np.uint8)),
        lambda: shapes3d.read_levels([path], SHAPES_SIZES),
    ):
        with pytest.raises(ValueError, match="is damaged or cut short: ") as caught:
            read()
        assert "\n" not in str(caught.value)
        assert "rdstudy" in str(caught.traceback[-1].path)


def test_h5py_is_imported_when_it_is_needed(run_python):
    code = "import sys, rdstudy.datasets as d; d.dataset_info('3dshapes'); print('h5py' in sys.modules)"
    assert run_python(code) == "False"


def test_without_h5py_the_error_says_what_to_install_before_anything_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(registry, "local_path", lambda file: pytest.fail(f"{file} is asked for"))
    with pytest.raises(ValueError, match=r"^3dshapes is read with h5py; python -m pip install 'rdstudy\[h5\]'$"):
        dataset_info("3dshapes").load()


# --- dSprites -----------------------------------------------------------------------------------------------------

SPRITES_SIZES = (3, 2, 7)


def sprites_arrays(rng) -> dict[str, Any]:
    classes = grid((1, *SPRITES_SIZES))
    images = rng.integers(0, 2, (len(classes), 6, 6), np.uint8)
    pickled = np.array({"title": "never read"}, dtype=object)
    return {"metadata": pickled, "imgs": images, "latents_classes": classes}


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_dsprites_come_back(tmp_path, rng, save, order):
    arrays = sprites_arrays(rng)
    path = tmp_path / "a.npz"
    save(path, **{name: np.asarray(values, order=order) for name, values in arrays.items()})
    out = np.zeros((42, 1, 3, 3), np.uint8)
    dsprites.read_images([path], out)
    for image in range(42):
        assert np.array_equal(out[image, 0], slow_mean(255 * arrays["imgs"][image], 2))
    assert set(np.unique(out)) == {0, 64, 128, 191, 255}
    assert np.array_equal(dsprites.read_levels([path], SPRITES_SIZES), grid(SPRITES_SIZES))


def test_an_archive_of_something_else_is_refused(tmp_path, rng):
    arrays = sprites_arrays(rng)
    images, classes = arrays["imgs"], arrays["latents_classes"]
    wrong: dict[str, dict[str, Any]] = {
        "no array 'imgs'": {"latents_classes": classes},
        "holds bool images": {**arrays, "imgs": images.astype(bool)},
        r"of shape \(41, ": {**arrays, "imgs": images[1:]},
        r"of shape \(42, 6\)": {**arrays, "imgs": images[..., 0]},
        r"of shape \(42, 5, ": {**arrays, "imgs": images[:, 1:]},
        "has pixels of 255; allowed: 0, 1": {**arrays, "imgs": images * 255},
        "holds object values": {**arrays, "imgs": arrays["metadata"]},
        r"values of shape \(\)": {**arrays, "imgs": np.uint8(1)},
        "no array 'latents_classes'": {"imgs": images},
        "holds float64 classes": {**arrays, "latents_classes": classes * 1.0},
        "combinations of factors": {**arrays, "latents_classes": classes * 0},
        r"of shape \(42, 3\)": {**arrays, "latents_classes": classes[:, 1:]},
    }
    for says, content in wrong.items():
        np.savez(tmp_path / "a.npz", **content)
        with pytest.raises(ValueError, match=says) as caught:  # noqa: PT012 (one of the two raises)
            dsprites.read_images([tmp_path / "a.npz"], np.zeros((42, 1, 3, 3), np.uint8))
            dsprites.read_levels([tmp_path / "a.npz"], SPRITES_SIZES)
        assert "\n" not in str(caught.value)


def test_a_damaged_archive_is_refused(tmp_path, rng):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **sprites_arrays(rng))
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        place = archive.getinfo("imgs.npy").header_offset + 200
    changed = whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
    for content in (b"", whole[: len(whole) // 2], b"x" * len(whole), changed):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz ") as caught:
            dsprites.read_images([path], np.zeros((42, 1, 3, 3), np.uint8))
        assert "\n" not in str(caught.value)
        assert "rdstudy" in str(caught.traceback[-1].path)


def test_an_array_that_is_none_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("imgs.npy", b"not an array, whatever its name says")
    with pytest.raises(ValueError, match="holds no array that can be read"):
        dsprites.read_images([tmp_path / "a.npz"], np.zeros((42, 1, 3, 3), np.uint8))
