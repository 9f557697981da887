"""Images on a page: PNG files that give their pixels back, and what is said of them."""

import base64
import re
import struct
import zlib

import numpy as np
import pytest

from rdstudy.report import pictures
from tests.report.conftest import Simulation


@pytest.mark.parametrize("channels", [1, 3])
def test_a_png_gives_its_pixels_back(channels):
    pixels = np.random.default_rng(3).integers(0, 256, (channels, 7, 5), dtype=np.uint8)
    content = pictures.png(pixels)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    rows = np.frombuffer(zlib.decompress(content[at + 4 : at + 4 + length]), np.uint8).reshape(7, 1 + 5 * channels)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:].reshape(7, 5, channels).transpose(2, 0, 1), pixels)


def test_a_png_of_two_channels_is_refused():
    with pytest.raises(ValueError, match="2 channels; allowed: 1, 3"):
        pictures.png(np.zeros((2, 3, 5), np.uint8))


def test_examples_say_which_image_they_are(simulate):
    images = simulate.page(Simulation()).datasets[0].images
    assert len(images) == 11
    assert re.fullmatch(r"image 3: rotation 0\.25, hue [01]\.\d\d", images[3].text)
    assert base64.b64decode(images[3].source.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")


def test_a_few_examples_are_evenly_spaced_and_none_is_lost():
    images = [pictures.ExampleImage("", str(number)) for number in range(11)]
    kept, more = pictures.spread(images, 5)
    assert [image.text for image in kept] == ["0", "2", "5", "8", "10"]
    assert sorted([*kept, *more], key=lambda image: int(image.text)) == images
    assert pictures.spread(images, 11) == (tuple(images), ())
    assert pictures.spread(images, 1)[0] == (images[0],)
