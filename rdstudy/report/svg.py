"""Charts drawn as SVG without a browser, and what is put right in such a picture. Lengths are CSS pixels."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import vl_convert

POINT = 4 / 3
"""Pixels."""
LETTER, BOLD = 0.5, 0.56
"""Width of a letter on average, in sizes of letters."""

_HEAD = re.compile(r'width="([\d.]+)" height="([\d.]+)" viewBox="0 0 [\d.]+ [\d.]+"')
_CLIP = re.compile(r'(id="|url\(#)(clip\d+)')
_PLACE = re.compile(r"translate\(([-\d.e]+),([-\d.e]+)\)")
_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}
_TAG = f"{{{_NAMESPACES['']}}}"


def svg_of(vega_lite: dict[str, Any]) -> str:
    """A Vega-Lite specification as SVG; the same bytes however much was drawn before."""
    names: dict[str, str] = {}
    drawn: str = vl_convert.vegalite_to_svg(vega_lite)
    return _CLIP.sub(lambda use: use[1] + names.setdefault(use[2], f"clip{len(names)}"), drawn)


def size(svg: str) -> tuple[float, float]:
    """Width and height of a picture of `svg_of`."""
    head = _HEAD.search(svg)
    assert head is not None, svg[:200]
    return float(head[1]), float(head[2])


def with_width(svg: str, width: float) -> str:
    """A picture of `svg_of` exactly so wide, in points: scaled where it is wider, else with white beside it."""
    wide, high = size(svg)
    shown = max(wide, width)
    across, up = width / POINT, high * width / shown / POINT
    svg = _HEAD.sub(f'width="{across:.6g}pt" height="{up:.6g}pt" viewBox="0 0 {shown:.6g} {high:g}"', svg, count=1)
    return svg.replace(f'<rect width="{wide:g}"', f'<rect width="{shown:.6g}"', 1)


# --- names in panels ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        return not (
            self.right <= other.left or other.right <= self.left or self.bottom <= other.top or other.bottom <= self.top
        )


def without_overlaps(svg: str) -> str:
    """The picture with names in panels moved into their panel, and without those that would lie on another.

    Of names on each other, that of the upper layer is kept, and of one layer the first.
    """
    root = ElementTree.fromstring(svg)  # noqa: S314  Vega wrote it
    clips = {clip.get("id", ""): clip[0] for clip in root.iter(f"{_TAG}clipPath")}
    for panel in root.iter(f"{_TAG}g"):
        groups = [group for group in panel if group.get("class", "").startswith("mark-text role-mark")]
        taken: list[_Box] = []
        for group in reversed(groups):
            _settle(group, clips.get(group.get("clip-path", "")[5:-1]), taken)
    for prefix, uri in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, uri)
    return ElementTree.tostring(root, encoding="unicode")


def _settle(group: ElementTree.Element, clip: ElementTree.Element | None, taken: list[_Box]) -> None:
    """Keep the names of a layer that lie on none that is taken."""
    for text, x, y in list(_placed(group)):
        box = _box(text, x, y)
        if clip is not None:
            across, down = _shift(box, float(clip.get("width", 0)), float(clip.get("height", 0)))
            text.set("transform", f"translate({x + across:.6g},{y + down:.6g})")
            box = _box(text, x + across, y + down)
        if any(box.meets(other) for other in taken):
            group.remove(text)
        else:
            taken.append(box)


def _placed(group: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, float, float]]:
    """The names of a layer, and where they stand."""
    for text in group.iter(f"{_TAG}text"):
        place = _PLACE.fullmatch(text.get("transform", ""))
        if place and text.text:
            yield text, float(place[1]), float(place[2])


def _box(text: ElementTree.Element, x: float, y: float) -> _Box:
    """What a name covers, about."""
    letters = float(text.get("font-size", "0px").removesuffix("px"))
    is_bold = text.get("font-weight", "normal") not in ("normal", "400")
    width = len(text.text or "") * letters * (BOLD if is_bold else LETTER)
    left = x - {"start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor", "start")] * width
    return _Box(left, y - 0.8 * letters, left + width, y + 0.2 * letters)


def _shift(box: _Box, width: float, height: float) -> tuple[float, float]:
    """How far a name is to be moved into its panel."""
    across = max(0.0, 1 - box.left) + min(0.0, width - 1 - box.right)
    down = max(0.0, 1 - box.top) + min(0.0, height - 1 - box.bottom)
    return across, down


def in_points(svg: str) -> str:
    """A picture of `with_width` whose pixels are its points: how PDF counts them."""
    return re.sub(r'width="([\d.]+)pt" height="([\d.]+)pt"', r'width="\1" height="\2"', svg, count=1)
