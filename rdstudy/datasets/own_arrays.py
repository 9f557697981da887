"""Whether arrays of a user's are a data set: each mistake is one line that says what helps. Knows nothing of files.

Refused is what is surely a mistake. Axis order: `image, channel, row, column` for images, `image, factor` for factors.
"""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_NAME = 64

_CHANNELS = (1, 3)  # what the report can draw
_AXES = "[image, channel, row, column]"
_GB = 1e9


def check_arrays(
    name: str, images: NDArray[np.uint8], factors: NDArray[np.float64] | None, factor_names: Sequence[str], folder: Path
) -> None:
    """Hold that arrays are a data set, and that the disk of `folder` can take it.

    Raises:
        ValueError: one line that says what is wrong, and how it is made right.
    """
    where = f"own data set {name!r}"
    if not isinstance(name, str) or not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9_-]{{0,{LONGEST_NAME - 1}}}", name):
        raise ValueError(f"{where}; allowed: a name of up to {LONGEST_NAME} letters, digits, - and _")
    _check_type(where, images, folder)
    _check_shape(where, images)
    _check_factors(where, len(images), factors, factor_names)
    _check_pixels(where, images)


def _check_type(where: str, images: Any, folder: Path) -> None:
    if not isinstance(images, np.ndarray):
        way = "np.stack(list(images))" if hasattr(images, "__next__") else "np.asarray(images)"
        raise ValueError(f"{where}: images are {type(images).__name__}; allowed: uint8 {_AXES}, an array as of {way}")
    place = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    room = shutil.disk_usage(place).total
    if images.size > room > 0:  # 0: a file system that does not say
        raise ValueError(
            f"{where}: images have shape {images.shape}, {images.size / _GB:,.0f} GB; allowed: up to the "
            f"{room / _GB:,.0f} GB of the disk of {folder}"
        )
    if images.dtype != np.uint8:
        raise ValueError(
            f"{where}: images are {images.dtype} {images.shape}; allowed: uint8 {_AXES}{_way_to_uint8(images)}"
        )


def _way_to_uint8(images: NDArray[Any]) -> str:
    """What makes bytes of other numbers, as far as these say what they mean."""
    if images.dtype.kind not in "biuf" or not images.size:
        return ""
    least, most = images.min(), images.max()  # NaN where one is: then nothing below holds
    if images.dtype.kind != "f":
        ways = [((0, 1), "255 * images.astype(np.uint8)"), ((0, 255), "images.astype(np.uint8)")]
        ways += [((0, 65_535), "np.rint(images / 257).astype(np.uint8)")]
    else:
        ways = [((0, 1), "np.rint(255 * images).astype(np.uint8)"), ((0, 255), "np.rint(images).astype(np.uint8)")]
        ways += [((-1, 1), "np.rint(127.5 * (images + 1)).astype(np.uint8)")]
    return next((f", as of {way}" for (low, high), way in ways if low <= least and most <= high), "")


def _check_shape(where: str, images: NDArray[np.uint8]) -> None:
    if images.ndim != 4:
        way = ", as of images[:, None] where they are grey" if images.ndim == 3 else ""
        raise ValueError(f"{where}: images are uint8 {images.shape}; allowed: uint8 {_AXES}{way}")
    if len(images) < 2 or 0 in images.shape:
        raise ValueError(f"{where}: images have shape {images.shape}; allowed: two images or more, of a pixel or more")
    channels, last = images.shape[1], images.shape[3]
    if channels in _CHANNELS:
        return
    colours = {2: 1, 4: 3}  # with transparency behind them: without
    if last in _CHANNELS:
        way = ", as of images.transpose(0, 3, 1, 2)"
    elif channels in colours:
        way = f", as of images[:, :{colours[channels]}], without transparency"
    elif last in colours:
        way = f", as of images[..., :{colours[last]}].transpose(0, 3, 1, 2), without transparency"
    else:
        way = ""
    raise ValueError(
        f"{where}: images have shape {images.shape}, {channels} channels; allowed: {_AXES} of 1 channel (grey) or 3 "
        f"(red, green, blue){way}"
    )


def _check_factors(where: str, images: int, factors: Any, factor_names: Sequence[str]) -> None:
    words = not isinstance(factor_names, str) and all(isinstance(name, str) for name in factor_names)
    if not words or len(set(factor_names)) != len(factor_names):
        raise ValueError(f"{where}: factor_names are {factor_names!r}; allowed: a list of distinct names")
    try:
        numbers = None if factors is None else np.asarray(factors, np.float64)
    except (ValueError, TypeError):
        raise ValueError(f"{where}: factors are not numbers [image, factor]; allowed: numbers from 0 to 1") from None
    found_shape = None if numbers is None else numbers.shape
    wanted_shape = (images, len(factor_names)) if len(factor_names) else None
    if found_shape != wanted_shape:
        raise ValueError(f"{where}: factors have shape {found_shape}; allowed with its factor_names: {wanted_shape}")
    if numbers is None:
        return
    if lacking := np.count_nonzero(np.isnan(numbers)):
        raise ValueError(f"{where}: {lacking:,} of its factors are NaN; allowed: numbers from 0 to 1")
    if not ((numbers >= 0) & (numbers <= 1)).all():
        raise ValueError(
            f"{where}: factors leave the unit cube, from {numbers.min():g} to {numbers.max():g}; allowed: numbers from "
            "0 to 1"
        )


def _check_pixels(where: str, images: NDArray[np.uint8]) -> None:
    first = images[0]
    if all(np.array_equal(image, first) for image in images[1:]):
        what = f"all pixels are {first.min()}" if first.min() == first.max() else "all images are the same"
        raise ValueError(f"{where}: {what}; allowed: images that differ")
    if images.max() <= 1:
        raise ValueError(
            f"{where}: its largest pixel is 1, and white is 255, so that all is black; allowed: 0 to 255, as of "
            "images * 255 where they are 0 and 1, of np.rint(255 * x).astype(np.uint8) where numbers x from 0 to 1 "
            "were made uint8"
        )
