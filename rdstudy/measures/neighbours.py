"""Exact nearest neighbours between images, in ℓ2, and the "hard" image among queries (paper, figures 2 and 3).

Images are flattened, `[image, pixel]`: uint8, or floats in [0, 1]. A distance is in units of pixel values in [0, 1].

The work is one float32 matrix product, ‖a - b‖² = ‖a‖² - 2 a·b + ‖b‖², but its result decides nothing: float32 does not
hold sums of 3,072 products of bytes (up to 2e8; integers are exact up to 2^24), and copies and near-ties cancel to
nothing. What the product gives is a *lower bound* of each squared distance. For any order of summation a computed a·b
is within γ Σ|a_i b_i| <= γ (‖a‖² + ‖b‖²) / 2 of the true one, γ = m u / (1 - m u), u = 2^-24, m = pixels plus the few
roundings around them (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), so that with norms
that carry the margin, fl((1 - 3γ) ‖b‖² - 2 a·b) + (1 - γ) ‖a‖² <= ‖a - b‖². A pair whose bound does not exceed the
least distance known for its query, a handful a query, is computed directly in float64, where differences of bytes are
exact. What is left out is therefore proven to be farther, and copies, near-ties and ties come out right.

Distances do not change when one image is subtracted from all: subtracting about the mean of the references makes the
norms, and with them the margin, small.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

_CENTRE_IMAGES = 64  # any centre is right; this many give a good one
_REFERENCE_ROWS = 4096  # of references at once: more makes the product no faster
_SLACK_ROUNDINGS = 16  # of shifting, scaling and adding, beside one a pixel; fewer than ten of them happen
_NO_INDEX = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Neighbours:
    """The nearest reference of each query."""

    distance: Tensor  # [query] float64, ℓ2 in units of pixel values in [0, 1]; a copy is at exactly 0
    index: Tensor  # [query] int64, position among the references; the lowest among equally near ones

    def split(self, size: int) -> "list[Neighbours]":
        """Those of so many queries after the other."""
        pairs = zip(torch.split(self.distance, size), torch.split(self.index, size), strict=True)
        return [Neighbours(distance, index) for distance, index in pairs]


@torch.no_grad()
def nearest(queries: Tensor, references: Tensor, *, memory_bytes: float) -> Neighbours:
    """Find the nearest reference of each query, exactly.

    A float query is compared with references `x / 255` in its own dtype, as images enter a model: copies are at 0.

    Args:
        queries: `[query, pixel]`, uint8, or float32 or float64 in [0, 1].
        references: `[reference, pixel]`, uint8; may lie on another device than the queries.
        memory_bytes: bound on temporaries; below what one query and one reference need, one of each at a time.

    Raises:
        ValueError: there is no query, reference or pixel, their shapes or dtypes do not fit, or a value is not finite
            or outside [0, 1].
    """
    check_images("queries", queries)
    check_images("references", references, like=queries, only_bytes=True)
    quarter = memory_bytes / 4  # for queries, references, their products and directly computed pairs
    row_bytes = queries.shape[1] * (8 if queries.dtype == torch.float64 else 4)
    query_rows = min(len(queries), _at_least_one(quarter / (3 * row_bytes)))
    reference_rows = min(_REFERENCE_ROWS, _at_least_one(quarter / max(2 * row_bytes, 48 * query_rows)))
    centre = _centre(references, queries.dtype).to(queries.device)
    parts = []
    for block in queries.tensor_split(math.ceil(len(queries) / query_rows)):
        search = _Search(block, centre, memory_bytes=quarter)
        for first in range(0, len(references), reference_rows):
            search.visit(references[first : first + reference_rows].to(queries.device), first=first)
        parts.append(search.neighbours())
    return Neighbours(torch.cat([part.distance for part in parts]), torch.cat([part.index for part in parts]))


@torch.no_grad()
def paired_distance(images: Tensor, references: Tensor, *, memory_bytes: float) -> Tensor:
    """The distance of each image to the reference in the same place: the numbers that `nearest` compares.

    Args:
        images: `[image, pixel]`, uint8, or float32 or float64 in [0, 1].
        references: `[image, pixel]`, uint8.
        memory_bytes: bound on temporaries; at least one pair at a time.

    Returns:
        `[image]` float64.

    Raises:
        ValueError: as for `nearest`, or the numbers of images differ.
    """
    check_images("images", images)
    check_images("references", references, like=images, only_bytes=True)
    if len(images) != len(references):
        raise ValueError(f"{len(images)} images and {len(references)} references; allowed: one reference an image")
    rows = _at_least_one(memory_bytes / (48 * images.shape[1]))
    pairs = zip(torch.split(images, rows), torch.split(references, rows), strict=True)
    return _to_distance(torch.cat([_squared(*pair) for pair in pairs]), images.dtype)


def hard_example(distance: Tensor, *, quantile: float = 0.9) -> int:
    """Position of the query at a quantile of the distances: the paper's "hard" test image (paper, figure 3).

    The nearest rank ceil(quantile · queries), so that it is one of the queries; the first among equal distances in the
    order of a stable sort.

    Args:
        distance: `[query]`.
        quantile: in (0, 1], read as the decimal fraction that it is written as.

    Raises:
        ValueError: there are no distances, one is not finite, or the quantile is out of range.
    """
    if distance.ndim != 1 or not len(distance):
        raise ValueError(f"distances of shape {tuple(distance.shape)}; allowed: [query], 1 query or more")
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile {quantile}; allowed: more than 0, up to 1")
    if not distance.isfinite().all():
        raise ValueError(f"{int((~distance.isfinite()).sum())} distances are not finite; allowed: finite ones")
    rank = math.ceil(Fraction(str(float(quantile))) * len(distance))  # 0.9 as a double is above nine tenths
    return int(distance.sort(stable=True).indices[rank - 1])


def check_images(name: str, images: Tensor, *, like: Tensor | None = None, only_bytes: bool = False) -> None:
    """Raise a ValueError unless these are images, `[image, pixel]`, with as many pixels as those of `like`."""
    if images.ndim != 2 or not images.numel():
        raise ValueError(f"{name} of shape {tuple(images.shape)}; allowed: [image, pixel], 1 or more of both")
    if like is not None and images.shape[1] != like.shape[1]:
        raise ValueError(f"{name} of {images.shape[1]} pixels; allowed: {like.shape[1]}, as the images they meet")
    allowed = (torch.uint8,) if only_bytes else (torch.uint8, torch.float32, torch.float64)
    if images.dtype not in allowed:
        raise ValueError(f"{name} of {images.dtype}; allowed: {', '.join(map(str, allowed))}")
    if not images.is_floating_point():
        return
    least, most = (float(value) for value in torch.aminmax(images))
    if not (least >= 0 and most <= 1):  # so written, NaN is caught too
        raise ValueError(f"{name} between {least} and {most}; allowed: finite values in [0, 1]")


class _Search:
    """Some queries, and the nearest of the references seen so far: branch and bound over blocks of references."""

    def __init__(self, queries: Tensor, centre: Tensor, *, memory_bytes: float) -> None:
        self._queries = queries
        self._centre = centre
        self._memory_bytes = memory_bytes
        precise = torch.get_float32_matmul_precision() == "highest"
        self._dtype = torch.float32 if precise else torch.float64  # TF32 breaks the bound
        roundings = (queries.shape[1] + _SLACK_ROUNDINGS) * 2.0**-24
        self._margin = roundings / (1 - roundings)
        self._shifted = self._shift(queries)  # [query, pixel]
        self._norm = self._shifted.square().sum(dim=1, dtype=torch.float64)  # [query]
        self._least = torch.full_like(self._norm, float("inf"))  # [query], squared, in the units of _values
        self._index = torch.full_like(self._norm, _NO_INDEX, dtype=torch.int64)  # [query]

    def visit(self, references: Tensor, *, first: int) -> None:
        """Take in references `[reference, pixel]`, of which the first has the index `first`."""
        shifted = self._shift(references)
        norm = torch.linalg.vecdot(shifted, shifted).mul_(1 - 3 * self._margin)
        bound = torch.addmm(norm, self._shifted, shifted.T, alpha=-2)  # [query, reference]
        assert bound.dtype == self._dtype  # autocast would break it
        query = (bound.amin(dim=1) <= self._reach()).nonzero().squeeze(1)
        if not len(query):
            return
        if len(query) < len(bound):
            bound = bound.index_select(0, query)
        self._compare(query, bound.argmin(dim=1), references, first)  # first the likeliest: it shortens the reach
        row, column = (bound <= self._reach()[query, None]).nonzero().unbind(1)
        self._compare(query[row], column, references, first)

    def neighbours(self) -> Neighbours:
        return Neighbours(_to_distance(self._least, self._queries.dtype), self._index)

    def _shift(self, images: Tensor) -> Tensor:
        return _values(images, self._queries.dtype).sub_(self._centre).to(self._dtype)

    def _reach(self) -> Tensor:
        """`[query]`: a pair whose bound is above it is farther than the nearest known reference."""
        reach = (self._least - (1 - self._margin) * self._norm).to(self._dtype)
        return torch.nextafter(reach, torch.full_like(reach, float("inf")))  # never rounded down

    def _compare(self, query: Tensor, reference: Tensor, references: Tensor, first: int) -> None:
        """Compute the distances of pairs directly, `query` and `reference` `[pair]`, and keep the least."""
        rows = _at_least_one(self._memory_bytes / (48 * references.shape[1]))
        for at, to in zip(torch.split(query, rows), torch.split(reference, rows), strict=True):  # [pair], a block each
            squared = _squared(self._queries.index_select(0, at), references.index_select(0, to))
            least = self._least.scatter_reduce(0, at, squared, "amin")
            self._index[least < self._least] = _NO_INDEX
            tied = squared == least[at]
            self._index.scatter_reduce_(0, at[tied], to[tied] + first, "amin")
            self._least = least


def _squared(images: Tensor, references: Tensor) -> Tensor:
    """Squared distances of pairs, `[pair]` float64, in the units of `_values`."""
    dtype = images.dtype
    difference = _values(images, dtype).double().sub_(_values(references, dtype))
    return difference.square_().sum(dim=1)


def _values(images: Tensor, dtype: torch.dtype) -> Tensor:
    """A copy to compute with: in float32, bytes as they are, for uint8 queries; x / 255 in their dtype for others."""
    if dtype == torch.uint8:
        return images.to(torch.float32)
    return images.to(dtype).div_(255.0) if images.dtype == torch.uint8 else images.clone()


def _to_distance(squared: Tensor, dtype: torch.dtype) -> Tensor:
    return squared.sqrt() / (255.0 if dtype == torch.uint8 else 1.0)


def _centre(references: Tensor, dtype: torch.dtype) -> Tensor:
    """About the mean of the references, `[pixel]`: whole bytes among bytes, so that shifted bytes are exact."""
    few = references[:: -(-len(references) // _CENTRE_IMAGES)]
    mean = _values(few, dtype).mean(dim=0)
    return mean.round() if dtype == torch.uint8 else mean


def _at_least_one(rows: float) -> int:
    return max(1, int(rows))
