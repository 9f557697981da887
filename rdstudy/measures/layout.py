"""Images of several members side by side, and the same with a member axis, which products of stacked weights need.

Side by side is `[sample, image]`: all images of the first member, then those of the next. Spread is `[sample, slot]`:
as many slots for each member that has images, so that slots are `member × row`; slots that are left over hold zeros.
Where all members have equally many images, the two are the same and nothing is copied.
"""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """How many images each member has."""

    counts: tuple[int, ...]

    @property
    def images(self) -> int:
        """Of all members together."""
        return sum(self.counts)

    @property
    def present(self) -> tuple[int, ...]:
        """The members that have images, ascending."""
        return tuple(at for at, count in enumerate(self.counts) if count)

    @property
    def slots(self) -> int:
        """Places for images when they are spread."""
        return len(self.present) * max(self.counts)

    def slices(self) -> list[slice]:
        """Where the images of each member are."""
        ends = itertools.accumulate(self.counts)
        return [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]

    def select(self, images: slice | Tensor) -> "Layout":
        """The layout of some images: a slice without a step, or positions `[image]`, those of a member side by side."""
        if isinstance(images, slice):
            start, stop, _ = images.indices(self.images)
            held = [min(of.stop, stop) - max(of.start, start) for of in self.slices()]
            return Layout(tuple(max(0, count) for count in held))
        ends = list(itertools.accumulate(self.counts))
        member = np.searchsorted(ends, images.cpu().numpy(), side="right")  # one wait for the device, and no kernel
        return Layout(tuple(np.bincount(member, minlength=len(ends)).tolist()))

    def cuts(self, slots: int) -> Iterator[slice]:
        """Cut the images into slices that take at most so many slots each: of whole members, or a part of one."""
        start = stop = members = most = 0
        for of in self.slices():
            count = of.stop - of.start
            if members and (members + 1) * max(most, count) > slots:
                yield slice(start, stop)
                start, members, most = stop, 0, 0
            if count > slots:
                yield from (slice(first, min(first + slots, of.stop)) for first in range(of.start, of.stop, slots))
                start = stop = of.stop
            elif count:
                stop, members, most = of.stop, members + 1, max(most, count)
        if members:
            yield slice(start, stop)

    def spread(self, values: Tensor) -> Tensor:
        """Values `[sample, image, ...]` as `[sample, slot, ...]`."""
        if self._is_even:
            return values
        spread = values.new_zeros(len(values), self.slots, *values.shape[2:])
        return spread.index_copy(1, _slot_of_image(self.counts, values.device), values)

    def gather(self, spread: Tensor) -> Tensor:
        """Values `[sample, slot, ...]` as `[sample, image, ...]`."""
        return spread if self._is_even else spread.index_select(1, _slot_of_image(self.counts, spread.device))

    @property
    def _is_even(self) -> bool:
        return self.slots == self.images


@functools.lru_cache(maxsize=64)
def _slot_of_image(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """Int64 `[image]`: cached, as a copy to a GPU at each block would cost more than the block."""
    held, most = [count for count in counts if count], max(counts)
    return torch.tensor([at * most + row for at, count in enumerate(held) for row in range(count)], device=device)


def even(members: Sequence[object], images: int) -> Layout:
    """As many images for each member."""
    return Layout((images,) * len(members))
