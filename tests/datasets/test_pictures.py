"""Laws of a folder of pictures: upright, right in every mode, averaged exactly, and nothing left out in silence."""

import io
import os
import re
import struct
import sys
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rdstudy.datasets import dataset_info, images_from_folder, own_dataset, pictures_from_folder
from rdstudy.datasets.cache import FOLDER_VARIABLE
from rdstudy.datasets.resize import mean_squares
from rdstudy.run import load_study

RNG = np.random.default_rng(3)
COLOUR = RNG.integers(0, 256, (7, 7, 3), np.uint8)
GREY = RNG.integers(0, 256, (7, 7), np.uint8)
WIDE = RNG.integers(0, 65_536, (7, 7)).astype(np.uint16)
ORIENTATION = 0x0112
PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture
def folder(tmp_path) -> Path:
    place = Path(tmp_path, "faces")
    place.mkdir()
    return place


def channels_first(pixels: np.ndarray) -> np.ndarray:
    return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]


def slow_means(pixels: np.ndarray, side: int) -> np.ndarray:
    """One square after the other, in fractions: `[channel, row, column]`."""
    rows, _, channels = pixels.shape
    step = Fraction(rows, side)
    means = np.zeros((channels, side, side))

    def shares(square: int) -> list[tuple[int, Fraction]]:
        start, end = square * step, (square + 1) * step
        overlap = [(pixel, min(end, Fraction(pixel + 1)) - max(start, Fraction(pixel))) for pixel in range(rows)]
        return [(pixel, share) for pixel, share in overlap if share > 0]

    for channel, row, column in np.ndindex(means.shape):
        total = Fraction(0)
        for i, down in shares(row):
            for j, along in shares(column):
                total += down * along * int(pixels[i, j, channel])
        means[channel, row, column] = float(total / step**2)
    return means


@given(st.integers(1, 11), st.integers(1, 7), st.sampled_from([255, 65_535]))
def test_means_are_those_of_the_squares_whatever_the_sizes(rows, side, white):
    pixels = np.random.default_rng(rows * side).integers(0, white + 1, (rows, rows, 2))
    assert np.allclose(mean_squares(pixels, side), slow_means(pixels, side), rtol=1e-14, atol=0)


def test_means_of_equal_pixels_are_their_value_to_the_bit():
    for rows in (1, 3, 31, 97, 3_001):
        assert (mean_squares(np.full((rows, rows, 1), 199, np.uint8), 32) == 199).all()


# --- values -------------------------------------------------------------------------------------------------------


def deep(pixels: np.ndarray) -> np.ndarray:
    return np.floor(pixels / 257 + 0.5).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "picture", "expected"),
    [
        ("grey.png", Image.fromarray(GREY), GREY),
        ("grey.bmp", Image.fromarray(GREY), GREY),
        ("grey.pgm", Image.fromarray(GREY), GREY),
        ("colour.png", Image.fromarray(COLOUR), COLOUR),
        ("colour.webp", Image.fromarray(COLOUR), COLOUR),
        ("colour.ppm", Image.fromarray(COLOUR), COLOUR),
        ("colour.PNG", Image.fromarray(COLOUR), COLOUR),
        ("grey16.png", Image.fromarray(WIDE), deep(WIDE)),
        ("dark16.png", Image.fromarray(WIDE // 300), deep(WIDE // 300)),
        ("grey16.tif", Image.fromarray(WIDE), deep(WIDE)),
        ("big-endian.tif", Image.fromarray(WIDE.astype(">u2")), deep(WIDE)),
        ("grey16.jp2", Image.fromarray(WIDE), deep(WIDE)),
        ("grey32.tif", Image.fromarray(WIDE.astype(np.int32)), deep(WIDE)),
        ("bytes32.tif", Image.fromarray(GREY.astype(np.int32)), GREY),
        ("unit.tif", Image.fromarray((GREY / 255).astype(np.float32)), GREY),
        ("bytes.tif", Image.fromarray(GREY.astype(np.float32)), GREY),
        ("deep.tif", Image.fromarray(WIDE.astype(np.float32)), deep(WIDE)),
        ("bits.png", Image.fromarray(GREY > 99), (GREY > 99) * np.uint8(255)),
        ("palette.png", Image.fromarray(COLOUR).quantize(49), COLOUR),
        ("palette.gif", Image.fromarray(COLOUR).quantize(49), COLOUR),
        ("cmyk.tif", Image.fromarray(COLOUR).convert("CMYK"), COLOUR),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_every_mode_keeps_its_values(folder, name, picture, expected):
    picture.save(folder / name, lossless=True)
    (image,) = images_from_folder(folder, side=7)
    assert image.dtype == np.uint8
    assert np.array_equal(image, channels_first(expected))


def test_a_portable_grey_map_keeps_its_range(folder):
    """Its white is written in it; a dark one stays dark."""
    dark = (WIDE // 300).astype(">u2")
    (folder / "a.pgm").write_bytes(b"P5 7 7 65535\n" + dark.tobytes())
    assert np.array_equal(images_from_folder(folder, side=7)[0, 0], deep(dark))


def test_formats_without_a_white_are_scaled_alike_in_a_folder(folder):
    for name, value in (("a.tif", 0.5), ("b.tif", 200.0)):
        Image.fromarray(np.full((7, 7), value, np.float32)).save(folder / name)
    Image.fromarray(WIDE).save(folder / "c.png")
    images = images_from_folder(folder, side=7)
    assert images[:2, 0, 0, 0].tolist() == [1, 200]
    assert np.array_equal(images[2, 0], deep(WIDE))


OPACITY = RNG.integers(0, 256, (7, 7), np.uint8)


@pytest.mark.parametrize("background", [255, 0, 97])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_what_is_transparent_lies_over_a_background(folder, mode, background):
    shown = COLOUR if mode == "RGBA" else GREY[..., None]
    Image.fromarray(np.concatenate([shown, OPACITY[..., None]], axis=2)).save(folder / "a.png")
    share = OPACITY[..., None] / 255
    expected = np.floor(shown * share + background * (1 - share) + 0.5)
    (image,) = images_from_folder(folder, side=7, background=background)
    assert np.array_equal(image, channels_first(expected))
    if background == 255:
        assert np.array_equal(image, images_from_folder(folder, side=7)[0]), "white unless it is said"


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1"])
def test_a_transparent_colour_is_the_background(folder, mode):
    black = Image.new(mode, (7, 7), 0)
    black.save(folder / "a.png", transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert (images_from_folder(folder, side=7) == 255).all()
    assert (images_from_folder(folder, side=7, background=97) == 97).all()


def test_hidden_colours_do_not_bleed_into_the_mean(folder):
    """Half of the pixels opaque blue, half transparent red, over white."""
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[:, 0], pixels[:, 1] = (0, 0, 255, 255), (255, 0, 0, 0)
    Image.fromarray(pixels).save(folder / "a.png")
    assert images_from_folder(folder, side=1).ravel().tolist() == [128, 128, 255]


# --- channels -----------------------------------------------------------------------------------------------------


def test_all_grey_is_one_channel_and_any_colour_three(folder):
    Image.fromarray(GREY).save(folder / "a.png")
    Image.fromarray(np.stack([GREY] * 3, axis=2)).save(folder / "b.png")
    grey = images_from_folder(folder, side=7)
    assert grey.shape == (2, 1, 7, 7)
    assert grey.flags.c_contiguous
    assert np.array_equal(grey[0], grey[1]), "grey is what looks grey"
    colour = images_from_folder(folder, side=7, channels=3)
    assert np.array_equal(colour, np.repeat(grey, 3, axis=1))
    Image.fromarray(COLOUR).save(folder / "c.png")
    images = images_from_folder(folder, side=7)
    assert images.shape == (3, 3, 7, 7)
    assert np.array_equal(images[:2], colour)
    luma = images_from_folder(folder, side=7, channels=1)
    assert np.array_equal(luma[:2], grey)
    exact = np.floor((COLOUR.astype(int) @ [299, 587, 114] + 500) / 1000)
    assert np.array_equal(luma[2, 0], exact)


# --- the square ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 15), (15, 8), (97, 1), (1, 98)])
def test_the_middle_square_is_taken(folder, height, width):
    pixels = RNG.integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    least = min(height, width)
    top, left = (height - least) // 2, (width - least) // 2
    expected = np.floor(slow_means(pixels[top : top + least, left : left + least], 3) + 0.5)
    assert np.array_equal(images_from_folder(folder, side=3)[0], expected)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (kind, mode)
        for kind in ("png", "tiff", "jpg")
        for mode in ("RGB", "L", "I;16")
        if (kind, mode) != ("jpg", "I;16")
    ],
)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_their_exif_says(folder, kind, mode, orientation):
    """A corner that is dark; where it is to be seen for each orientation stands in the EXIF standard."""
    pixels = np.full((32, 16), 65_535 if mode == "I;16" else 255, np.uint16 if mode == "I;16" else np.uint8)
    pixels[:16, :8] = 0
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    (picture.convert("RGB") if mode == "RGB" else picture).save(folder / f"a.{kind}", exif=exif)
    image = images_from_folder(folder, side=2)[0, 0].astype(int)
    corner = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[orientation]
    assert np.unravel_index(image.argmin(), image.shape) == corner
    assert np.sort(image.ravel())[1] > 200


def test_of_pictures_that_move_the_first_frame_is_taken(folder):
    frames = [Image.new("L", (7, 7), value) for value in (30, 60, 90)]
    for name in ("a.gif", "b.png", "c.tif", "d.webp"):
        frames[0].save(folder / name, save_all=True, append_images=frames[1:], lossless=True)
    assert (images_from_folder(folder, side=7) == 30).all()


# --- the folder ---------------------------------------------------------------------------------------------------


def png(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (7, 7), value).save(out, "png")
    return out.getvalue()


def test_pictures_come_in_the_order_of_their_names_whatever_the_ending(folder):
    for name, value in {"b.png": 2, "a.JPG": 1, "B.png": 0, "c": 3, "é.png": 4}.items():
        (folder / name).write_bytes(png(value))
    assert images_from_folder(folder, side=7)[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(images_from_folder(str(folder), side=7), images_from_folder(folder, side=7))


def test_every_file_that_is_left_out_is_named_once(folder, caplog):
    noise = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (97, 97, 3), np.uint8)).save(noise, "png")
    photograph = io.BytesIO()
    Image.fromarray(RNG.integers(0, 256, (97, 97, 3), np.uint8)).save(photograph, "jpeg")
    (folder / "a.png").write_bytes(png(1))
    bad = {
        "cut.png": noise.getvalue()[:-3_000],
        "cut.jpg": photograph.getvalue()[:-3_000],
        "damaged.png": noise.getvalue()[:200] + b"x" * 97 + noise.getvalue()[297:],
        "empty.png": b"",
        "head.png": png(1)[:20],
        "notes.txt": b"no picture",
        "two\nlines.txt": b"no picture",
        "program.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 7 7\n",
    }
    for name, content in bad.items():
        (folder / name).write_bytes(content)
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name in (".DS_Store", "._a.png"):
        (folder / name).write_bytes(b"no picture")
    assert len(images_from_folder(folder, side=7)) == 1
    lines = [record.getMessage() for record in caplog.records]
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert len(lines) == len(bad) + 2
    assert all("\n" not in line for line in lines)
    for name in (*bad, "folder", "pipe"):
        assert sum(repr(name) in line for line in lines) == 1, name


def test_of_many_files_that_are_left_out_the_first_are_named_and_the_others_counted(folder, caplog):
    (folder / "a.png").write_bytes(png(1))
    for number in range(37):
        (folder / f"{number:02}.txt").touch()
    images_from_folder(folder, side=7)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 11
    assert "'09.txt'" in lines[9]
    assert lines[10].endswith("left out are 27 more")


def test_folders_in_the_folder_are_read_and_are_classes(folder, caplog):
    for name, value in {"cats/b.png": 2, "cats/a.png": 1, "ants/old/9.png": 9, "Zebras/1.JPG": 5}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(value))
    (folder / "cats" / "cut.png").write_bytes(png(1)[:20])
    (folder / "dogs").mkdir()
    (folder / ".thumbnails").mkdir()
    (folder / ".thumbnails" / "a.png").write_bytes(png(99))
    pictures = pictures_from_folder(folder, side=7)
    assert pictures.paths == ("Zebras/1.JPG", "ants/old/9.png", "cats/a.png", "cats/b.png")
    assert pictures.images[:, 0, 0, 0].tolist() == [5, 9, 1, 2]
    assert pictures.class_names == ("Zebras", "ants", "cats")
    assert pictures.classes.tolist() == [[1 / 6], [3 / 6], [5 / 6], [5 / 6]]
    assert np.array_equal(images_from_folder(folder, side=7), pictures.images)
    said = [record.getMessage().partition("left out is ")[2] for record in caplog.records[:2]]
    assert [line.partition(":")[0] for line in said] == ["'cats/cut.png'", "'dogs'"]


def test_classes_of_a_folder_are_factors_of_a_data_set(folder, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    for value, name in enumerate(("cats/a.png", "dogs/b.png")):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(png(97 * value))
    pictures = pictures_from_folder(folder, side=7)
    name = own_dataset("pets", pictures.images, factors=pictures.classes, factor_names=["class"])
    factors = dataset_info(name).load().factors
    assert factors is not None
    assert factors.tolist() == [[0.25], [0.75]]


def test_pictures_beside_folders_of_classes_have_none(folder):
    (folder / "cats").mkdir()
    for name in ("cats/a.png", "stray.png"):
        (folder / name).write_bytes(png(1))
    assert len(images_from_folder(folder, side=7)) == 2
    with pytest.raises(ValueError, match=r"^picture 'stray.png' lies in no folder of a class; allowed: "):
        _ = pictures_from_folder(folder, side=7).classes


def test_links_are_followed_and_one_that_leads_back_is_named(folder, tmp_path, caplog):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(png(7))
    (folder / "cats").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(folder)
    assert images_from_folder(folder, side=7)[:, 0, 0, 0].tolist() == [7]
    assert "'cats/back'" in caplog.text


def test_the_order_is_that_of_letters_however_a_file_system_writes_them(tmp_path):
    orders = []
    for number, accented in enumerate(("\u00e9", "e\u0301")):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name, value in ((f"{accented}.png", 3), ("f.png", 2), ("z.png", 1)):
            (folder / name).write_bytes(png(value))
        orders.append(images_from_folder(folder, side=7)[:, 0, 0, 0].tolist())
    assert orders[0] == orders[1] == [2, 1, 3]


KINDS = {"L": 0, "RGB": 2, "LA": 4, "RGBA": 6}


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_all_sixteen_bits_of_a_pngs_colour_count(folder, mode, interlaced):
    pixels = RNG.integers(0, 65_536, (7, 7, len(mode)))
    (folder / "a.png").write_bytes(deep_png(pixels, KINDS[mode], interlaced=interlaced))
    shown = pixels[..., :3] if mode.startswith("RGB") else pixels[..., [0, 0, 0]]
    for side in (7, 3):
        for background in (255, 97):
            share = pixels[..., -1:] / 65_535 if mode.endswith("A") else 1
            means = mean_squares(shown * share + 257 * background * (1 - share), side)
            image = images_from_folder(folder, side=side, channels=3, background=background)[0]
            assert np.array_equal(image, deep(means))


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_transparent_colour_of_sixteen_bits_is_the_background_and_its_neighbour_is_not(folder, mode):
    pixels = np.full((7, 7, len(mode)), 0x0102)
    pixels[0, 0, -1] = 0x0103
    (folder / "a.png").write_bytes(deep_png(pixels, KINDS[mode], transparent=[0x0102] * len(mode)))
    image = images_from_folder(folder, side=7, channels=3, background=97)[0]
    assert image[:, 0, 0].tolist() == [1, 1, 1]
    assert (image.reshape(3, -1)[:, 1:] == 97).all()


def test_deep_colour_is_turned_and_cut_to_its_middle_square(folder):
    pixels = RNG.integers(0, 65_536, (7, 11, 3))
    exif = Image.Exif()
    exif[ORIENTATION] = 3
    (folder / "a.png").write_bytes(deep_png(pixels, KINDS["RGB"], exif=exif.tobytes()[6:]))
    assert np.array_equal(
        images_from_folder(folder, side=7)[0], channels_first(deep(pixels[::-1, 9 - 8 : 9][:, ::-1])[:, :7])
    )


def deep_png(
    pixels: np.ndarray, kind: int, *, interlaced: bool = False, transparent: Sequence[int] = (), exif: bytes = b""
) -> bytes:
    """A PNG of 16 bits, written as its standard says, each row with the next of five filters: Pillow writes none."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = [
        pixels[row::down, column::along] for row, column, down, along in (passes if interlaced else [(0, 0, 1, 1)])
    ]
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, interlaced)
    chunks = [(b"IHDR", header), (b"eXIf", exif), (b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))]
    chunks += [(b"IDAT", zlib.compress(b"".join(map(filtered, parts)))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, text) for name, text in chunks if text or name == b"IEND")


def filtered(pixels: np.ndarray) -> bytes:
    """Rows of a PNG, each by one of its filters: none, what is left of it, above, their mean, and Paeth's."""
    size = 2 * pixels.shape[2]
    above, written = np.zeros(size * pixels.shape[1], int), b""
    for number, row in enumerate(pixels):
        line = np.frombuffer(row.astype(">u2").tobytes(), np.uint8).astype(int)
        left, corner = (np.concatenate([np.zeros(size, int), each])[: len(each)] for each in (line, above))
        guess = left + above - corner
        far = [abs(guess - each) for each in (left, above, corner)]
        paeth = np.where((far[0] <= far[1]) & (far[0] <= far[2]), left, np.where(far[1] <= far[2], above, corner))
        base = [0 * line, left, above, (left + above) // 2, paeth][number % 5]
        written += bytes([number % 5]) + (line - base).astype(np.uint8).tobytes() if len(line) else b""
        above = line
    return written


@pytest.mark.parametrize("value", [-1, 70_000, np.nan, np.inf])
def test_pixels_without_a_meaning_are_named(folder, caplog, value):
    (folder / "a.png").write_bytes(png(1))
    Image.fromarray(np.array([[0, 0], [value, 0]], np.float32)).save(folder / "b.tif")
    assert len(images_from_folder(folder, side=7)) == 1
    assert "allowed: 0 to 65,535" in caplog.text
    assert "'b.tif'" in caplog.text


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_folder_without_a_picture_is_one_line(folder, content):
    if content:
        (folder / "notes.txt").write_bytes(content)
    with pytest.raises(ValueError, match=r"^folder '.*faces' holds no picture") as caught:
        images_from_folder(folder)
    assert ("'notes.txt'" in str(caught.value)) == bool(content)
    assert "\n" not in str(caught.value)


def test_no_such_folder_is_one_line(folder):
    with pytest.raises(ValueError, match=r"^folder '.*nowhere' of pictures cannot be read: No such file"):
        images_from_folder(folder / "nowhere")
    (folder / "a.png").write_bytes(png(1))
    with pytest.raises(ValueError, match=r"^folder '.*a\.png' of pictures cannot be read: Not a directory"):
        images_from_folder(folder / "a.png")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"side": 0}, "side is 0; allowed: a whole number, 1 or more"),
        ({"side": 32.5}, "side is 32.5; allowed"),
        ({"channels": 4}, r"channels is 4; allowed: 1 \(grey\), 3 \(colour\)"),
        ({"background": 256}, r"background is 256; allowed: 0 \(black\) to 255 \(white\)"),
        ({"background": "white"}, "background is 'white'; allowed"),
    ],
)
def test_settings_that_are_none_are_refused(folder, settings, says):
    (folder / "a.png").write_bytes(png(1))
    with pytest.raises(ValueError, match=f"^{says}"):
        images_from_folder(folder, **settings)


def test_without_pillow_the_error_says_what_to_install(folder, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "PIL"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ValueError, match=r"^pictures are read with Pillow; python -m pip install 'rdstudy\[images\]'$"):
        images_from_folder(folder)


def test_the_package_is_imported_without_pillow(run_python):
    assert run_python("import sys, rdstudy.datasets; print('PIL' in sys.modules)") == "False"


def test_the_page_on_data_reads_a_folder_of_pictures_as_it_stands(tmp_path, folder, monkeypatch):
    """Pictures of any shape and mode, in the order of their names."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (code,) = [block for block in blocks if "images_from_folder" in block]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "mine.py").write_text(code)
    for name, mode, size, colour in (
        ("b.png", "RGBA", (41, 67), (10, 20, 30, 255)),
        ("a.JPG", "L", (97, 53), 200),
        ("c.png", "RGB", (32, 32), (1, 2, 3)),
    ):
        Image.new(mode, size, colour).save(folder / name)
    study = load_study("mine.py")
    (name,) = {member.dataset for experiment in study.experiments for member in experiment.members(study)}
    images = dataset_info(name).load().images
    assert images.shape == (3, 3, 32, 32)
    assert (images.std(axis=(2, 3)) == 0).all()
    assert images[:, :, 0, 0].tolist() == [[200] * 3, [10, 20, 30], [1, 2, 3]]
