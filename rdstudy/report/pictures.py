"""Images as a page shows them: PNG files as data URIs, each stored once however often it is shown.

Pixels are uint8, `[channel, row, column]`, one channel (grey) or three (RGB).
"""

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


@dataclass(frozen=True)
class Picture:
    """One image of a strip: where `Album.sources` keeps it, and what a reader without eyes for it is told."""

    key: str
    text: str
    mark: str = ""  # "copied" or "blurred", of a reconstruction that is nearer to a training image than to its own


@dataclass
class Album:
    """The pictures of a page, each stored once however often it is shown; fills as strips are made."""

    sources: dict[str, str] = field(default_factory=dict)  # key -> PNG data URI
    _keys: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def add(self, pixels: bytes, shape: tuple[int, int, int]) -> str:
        """Keep an image `[channel, row, column]`; returns its key, that of an identical one where there is one."""
        if (pixels, shape) not in self._keys:
            key = f"p{len(self.sources)}"
            self._keys[pixels, shape] = key
            self.sources[key] = data_uri(np.frombuffer(pixels, np.uint8).reshape(shape))
        return self._keys[pixels, shape]


@dataclass(frozen=True)
class ExampleImage:
    """One image of a data set: a PNG as a data URI, and what a reader without eyes for it is told."""

    source: str
    text: str


def example_images(examples: pd.DataFrame) -> dict[str, tuple[ExampleImage, ...]]:
    """Data set -> its examples (`schema.EXAMPLES`), in the order of the table."""
    return {
        str(dataset): tuple(_example(row) for row in part.itertuples(index=False))
        for dataset, part in examples.groupby("dataset", sort=True)
    }


def spread(images: Sequence[ExampleImage], most: int) -> tuple[tuple[ExampleImage, ...], tuple[ExampleImage, ...]]:
    """So many of some images, evenly spaced in their order, and the others."""
    if len(images) <= most:
        return tuple(images), ()
    chosen = {round(at * (len(images) - 1) / max(1, most - 1)) for at in range(most)}
    kept = tuple(image for at, image in enumerate(images) if at in chosen)
    return kept, tuple(image for at, image in enumerate(images) if at not in chosen)


def _example(row: object) -> ExampleImage:
    shape = (row.channels, row.height, row.width)  # type: ignore[attr-defined]
    pixels = np.frombuffer(row.pixels, np.uint8).reshape(shape)  # type: ignore[attr-defined]
    names, levels = row.factor_names, row.factors  # type: ignore[attr-defined]
    pairs = [] if names is None or levels is None else list(zip(names, levels, strict=False))
    factors = ", ".join(f"{name} {level:.2f}" for name, level in pairs)
    text = f"image {row.image:,}"  # type: ignore[attr-defined]
    return ExampleImage(data_uri(pixels), f"{text}: {factors}" if factors else text)


def data_uri(pixels: NDArray[np.uint8]) -> str:
    """Pixels `[channel, row, column]`, one channel (grey) or three (RGB), as a PNG data URI."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Write a PNG (ISO/IEC 15948): eight bits a channel, no filter, no interlacing.

    Args:
        pixels: `[channel, row, column]`, one channel (grey) or three (RGB).

    Raises:
        ValueError: another number of channels.
    """
    channels, height, width = pixels.shape
    if channels not in (1, 3):
        raise ValueError(f"an image has {channels} channels; allowed: 1, 3")
    colour_type = 0 if channels == 1 else 2
    rows = pixels.transpose(1, 2, 0).reshape(height, width * channels)
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # filter 0 before each row
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
