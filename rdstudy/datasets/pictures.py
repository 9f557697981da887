"""A folder of pictures as images of one's own: upright, its middle square, every mode and size made bytes of one size.

Files are read with Pillow, of which this module alone knows. A picture's values are its file's: colour profiles are not
applied. Axis order: `row, column, channel` as Pillow has it, then `image, channel, row, column`.
"""

import logging
import os
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rdstudy.datasets.resize import mean_squares
from rdstudy.study.checks import fail, whole
from rdstudy.study.words import one_line_with_type

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

# Named, so that the same files are pictures whatever else Pillow has been taught; and none of them starts a program.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
_WHITE_OF_16_BITS = 65_535
_SECOND_BYTES = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
"""Layout of a PNG's bytes of which Pillow keeps the first of two -> one of which it keeps the second."""
_WHITES = (1, 255, _WHITE_OF_16_BITS)
_MOST_NAMED = 10


class _UnusableError(Exception):
    """A file that is no picture, in words."""


@dataclass(frozen=True)
class _Picture:
    """The middle square of a picture, averaged."""

    means: NDArray[np.float64]  # [channel, row, column], one channel or three
    white: int | None  # the value of white; None where neither file nor mode says it
    largest: float  # value of a pixel


@dataclass(frozen=True)
class Pictures:
    """The pictures of a folder, and where each lies in it.

    Attributes:
        images: uint8 `[image, channel, row, column]`.
        paths: of each image's file below the folder, with slashes.
    """

    images: NDArray[np.uint8]
    paths: tuple[str, ...]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The folders directly in the folder that hold pictures, in the order of their names.

        Raises:
            ValueError: pictures lie beside them, or there are none.
        """
        beside = [path for path in self.paths if "/" not in path]
        if beside:
            raise ValueError(f"picture {beside[0]!r} lies in no folder of a class; allowed: all in such folders")
        return tuple(dict.fromkeys(path.partition("/")[0] for path in self.paths))

    @property
    def classes(self) -> NDArray[np.float64]:
        """Class k of n as a factor, (k + 1/2) / n, `[image, 1]`: for `own_dataset`, whose factor is then named "class".

        Raises:
            ValueError: see `class_names`.
        """
        names = self.class_names
        numbers = [names.index(path.partition("/")[0]) for path in self.paths]
        return (np.array(numbers, np.float64)[:, None] + 0.5) / len(names)


def images_from_folder(
    folder: str | os.PathLike[str], *, side: int = 32, channels: int | None = None, background: int = 255
) -> NDArray[np.uint8]:
    """The images of `pictures_from_folder`, `[image, channel, row, column]`, for `own_dataset`."""
    return pictures_from_folder(folder, side=side, channels=channels, background=background).images


def pictures_from_folder(
    folder: str | os.PathLike[str], *, side: int = 32, channels: int | None = None, background: int = 255
) -> Pictures:
    """Read every picture of a folder and of those in it, in the order of names: its middle square, in one size.

    Pictures are turned as their EXIF data say. Of those that move, the first frame is taken. 16-bit grey, and 16-bit
    colour of PNG, keep their range, 65,535 is white; deeper colour of other formats is read by its first 8 bits. Where
    a format has no range (32-bit integers, floats), white is the first of 1, 255 and 65,535 that no such picture of the
    folder exceeds. Files and folders whose names begin with a dot are passed over; empty folders, and
    files that are no pictures, are left out, each with a warning. A study file reads its pictures whenever it is run, a
    few photographs of 12 megapixels a second: `np.save` keeps the result of many.

    Args:
        folder: of BMP, GIF, JPEG, JPEG 2000, PNG, PPM (PGM, PBM), TIFF, WebP or AVIF files.
        side: height and width of the images, in pixels.
        channels: 1 for grey (luma, ITU-R BT.601), 3 for colour; unless given, 1 where every picture is grey, else 3.
        background: what lies behind transparent pixels, from 0 (black) to 255 (white).

    Raises:
        ValueError: no Pillow, no such folder, or no picture in it.
    """
    side = whole("side", side, least=1)
    if channels not in (None, 1, 3):
        raise fail("channels", channels, "1 (grey), 3 (colour), None")
    if not 0 <= whole("background", background, least=0) <= 255:
        raise fail("background", background, "0 (black) to 255 (white)")
    _need_pillow()
    images: list[NDArray[np.uint8] | _Picture] = []
    names: list[str] = []
    left_out: list[str] = []
    for name in _names(Path(folder)):
        try:
            picture = _read(Path(folder, name), side, background)
        except _UnusableError as reason:
            left_out.append(f"{name!r}: {reason}")
        else:  # bytes at once where they are known: a folder's means take eight times their room
            images.append(picture if picture.white is None else _bytes(picture, picture.white, channels))
            names.append(name)
    _name(left_out, folder)
    if not images:
        raise ValueError(f"folder {str(folder)!r} holds no picture{f' ({left_out[0]})' if left_out else ''}")
    return Pictures(_stack(images, channels), tuple(names))


def _need_pillow() -> None:
    try:
        import PIL  # noqa: F401 (late: nothing else needs it)
    except ModuleNotFoundError:
        raise ValueError("pictures are read with Pillow; python -m pip install 'rdstudy[images]'") from None


def _names(folder: Path) -> list[str]:
    """Paths below a folder of all that is in it and in the folders in it, empty ones too, in the order of their names.

    Links are followed, but none that leads back to where it is. The order is the same where a file system writes é as
    one letter and where it writes two, as that of a Mac may: images in another order would be other images.
    """
    names: list[str] = []

    def walk(below: str, above: tuple[str, ...]) -> None:
        place = folder / below
        try:
            inside = [name for name in os.listdir(place) if not name.startswith(".")]
        except OSError as error:
            raise ValueError(f"folder {str(place)!r} of pictures cannot be read: {error.strerror}") from None
        for name in sorted(inside, key=lambda name: (unicodedata.normalize("NFC", name), name)):
            path = f"{below}/{name}" if below else name
            real = os.path.realpath(folder / path)
            if os.path.isdir(real) and real not in above:
                walk(path, (*above, real))
            else:
                names.append(path)
        if below and not inside:
            names.append(below)

    walk("", (os.path.realpath(folder),))
    return names


def _name(left_out: Sequence[str], folder: str | os.PathLike[str]) -> None:
    for line in left_out[:_MOST_NAMED]:
        logger.warning("folder %r of pictures: left out is %s", str(folder), line)
    if len(left_out) > _MOST_NAMED:
        logger.warning("folder %r of pictures: left out are %d more", str(folder), len(left_out) - _MOST_NAMED)


def _stack(images: Sequence[NDArray[np.uint8] | _Picture], channels: int | None) -> NDArray[np.uint8]:
    """All images as one array, scaled alike where a format has no white."""
    largest = max((image.largest for image in images if isinstance(image, _Picture)), default=0.0)
    white = next(white for white in _WHITES if largest <= white)
    stack = np.stack([_bytes(image, white, channels) if isinstance(image, _Picture) else image for image in images])
    is_grey = channels is None and bool((stack == stack[:, :1]).all())
    return np.ascontiguousarray(stack[:, :1]) if is_grey else stack


def _bytes(picture: _Picture, white: int, channels: int | None) -> NDArray[np.uint8]:
    """`[channel, row, column]` from 0 to 255, halves rounded up: one channel where it is asked for, else three."""
    means = picture.means
    if channels == 1 and len(means) == 3:
        red, green, blue = means
        means = ((299 * red + 587 * green + 114 * blue) / 1000)[None]  # whole weights: equal channels stay as they are
    if channels != 1 and len(means) == 1:
        means = np.repeat(means, 3, axis=0)
    return np.floor(255 * means / white + 0.5).astype(np.uint8)


def _read(path: Path, side: int, background: int) -> _Picture:
    """Read one file.

    Raises:
        _UnusableError: it is no picture.
    """
    from PIL import UnidentifiedImageError

    if not path.is_file():
        what = "an empty folder, or one that leads back" if path.is_dir() else "no file"
        raise _UnusableError(what)  # a pipe would be waited for
    try:
        values, white = _values(*_square(path), background)
    except UnidentifiedImageError:
        raise _UnusableError(f"no picture of a kind that is read ({', '.join(_FORMATS)})") from None
    except Exception as error:  # damaged bytes make the parts of Pillow raise almost anything
        raise _UnusableError(f"it cannot be read ({one_line_with_type(error)})") from None
    lowest, largest = float(values.min()), float(values.max())
    if white is None and not 0 <= lowest <= largest <= _WHITES[-1]:
        raise _UnusableError(f"its pixels go from {lowest:g} to {largest:g}; allowed: 0 to {_WHITES[-1]:,}")
    return _Picture(mean_squares(values, side), white, largest)


def _square(path: Path) -> "tuple[Image.Image, str | None, NDArray[np.int64] | None]":
    """The middle square of a picture, its format, and all 16 bits of its pixels `[row, column, channel]` in colour."""
    image, kind, layout = _opened(path)
    if layout == "LA;16B":  # two bytes of grey and two of opacity, as if they were four channels of one
        first = np.asarray(_opened(path, layout="RGBA")[0]).astype(np.int64)
        return image, kind, (first[..., 0::2] * 256 + first[..., 1::2])[..., [0, 0, 0, 1]]
    if layout not in _SECOND_BYTES:
        return image, kind, None
    second = _opened(path, layout=_SECOND_BYTES[layout])[0]
    return image, kind, np.asarray(image).astype(np.int64) * 256 + np.asarray(second)


def _opened(path: Path, *, layout: str | None = None) -> "tuple[Image.Image, str | None, str]":
    """The middle square of a picture, upright, its format, and how Pillow names the layout of a PNG's bytes.

    Args:
        path: of the file.
        layout: that its bytes are read by, in place of their own.
    """
    from PIL import Image, ImageOps

    # A stream, not the path: what Pillow maps into memory and a TIFF says to turn, it reads with the wrong width.
    with warnings.catch_warnings(), open(path, "rb") as stream, Image.open(stream, formats=_FORMATS) as file:
        warnings.simplefilter("ignore")  # of large files and odd metadata: what cannot be read raises
        own = str(file.tile[0].args) if file.format == "PNG" and file.tile else ""
        if layout:
            file.tile = [tile._replace(args=layout) for tile in file.tile]
        file.load()
        ImageOps.exif_transpose(file, in_place=True)
        least = min(file.size)
        left, top = ((length - least) // 2 for length in file.size)
        return file.crop((left, top, left + least, top + least)), file.format, own


def _values(
    image: "Image.Image", kind: str | None, deep: NDArray[np.int64] | None, background: int
) -> tuple[NDArray[Any], int | None]:
    """A picture's values `[row, column, channel]` and that of white, None where it is not known."""
    if deep is not None:
        return _over(deep, image.info.get("transparency"), background)
    if image.mode.startswith("I;16"):
        return _over(np.asarray(image)[..., None], image.info.get("transparency"), background)
    if image.mode in ("I", "F"):
        return np.asarray(image)[..., None], _WHITE_OF_16_BITS if kind in ("PNG", "PPM") else None
    if image.has_transparency_data:
        pixels = np.asarray(image.convert("RGBA")).astype(np.int64)
        opacity = pixels[..., 3:]
        return pixels[..., :3] * opacity + background * (255 - opacity), 255 * 255
    if image.mode in ("1", "L"):
        return np.asarray(image.convert("L"))[..., None], 255
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), 255


def _over(pixels: NDArray[Any], transparent: Any, background: int) -> tuple[NDArray[Any], int]:
    """Grey or colours of 16 bits over a background, and the value of white.

    Args:
        pixels: `[row, column, channel]`, one channel or three, or four, of which the last is opacity.
        transparent: the grey or the colour that is none; None where there is no such.
        background: from 0 to 255.
    """
    if pixels.shape[2] == 4:
        opacity = pixels[..., 3:]
    elif transparent is None:
        return pixels, _WHITE_OF_16_BITS
    else:
        opacity = _WHITE_OF_16_BITS * (pixels != transparent).any(axis=2, keepdims=True).astype(np.int64)
    shown = pixels[..., :3] * opacity + 257 * background * (_WHITE_OF_16_BITS - opacity)
    return (shown + _WHITE_OF_16_BITS // 2) // _WHITE_OF_16_BITS, _WHITE_OF_16_BITS  # whole: their means are exact
