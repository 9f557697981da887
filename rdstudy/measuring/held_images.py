"""The images of a data set where members are measured: a GPU gets each of them once, for all members of a pack."""

import functools
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rdstudy.planning.packs import BLOCK_IMAGES
from rdstudy.training.subsets import Subsets, gather

_HELD_SHARE = 0.25
"""Of the memory for measuring, what all images of a data set may take of it to be held on a GPU."""


class HeldImages:
    """Images by their index in the data set, uint8 `[image, pixel]` on a device.

    Args:
        subsets: of the data set.
        device: where they are asked for.
        memory_bytes: for measuring; larger data sets are copied as they are asked for, but for the training subset.
        holds_all: whether the device holds all of them; None for a GPU with room for them. A CPU reads them from where
            they are.
    """

    def __init__(
        self, subsets: Subsets, device: torch.device, *, memory_bytes: float, holds_all: bool | None = None
    ) -> None:
        self._subsets, self._device = subsets, device
        self._source = subsets.whole["train"].source
        fits = device.type == "cuda" and self._source.nbytes <= _HELD_SHARE * memory_bytes
        self._holds_all = fits if holds_all is None else holds_all

    @property
    def held_bytes(self) -> int:
        """What the device holds of images when all have been asked for."""
        return self._source.nbytes if self._holds_all else self._subsets.train.nbytes

    def at(self, index: NDArray[np.int64]) -> Tensor:
        """The images with these indices."""
        if not self._holds_all:
            return gather(self._source, index).to(self._device)
        places = torch.from_numpy(self._place[index]).to(self._device)
        return self._all.index_select(0, places)

    def blocks(self, index: NDArray[np.int64], *, size: int = BLOCK_IMAGES) -> Iterator[Tensor]:
        """The images with these indices in blocks of at most `size`."""
        return (self.at(index[start : start + size]) for start in range(0, len(index), size))

    @functools.cached_property
    def train(self) -> Tensor:
        """The whole training subset."""
        if self._holds_all:
            return self._all[: len(self._subsets.train)]
        return self._subsets.train.to(self._device)

    @functools.cached_property
    def _order(self) -> NDArray[np.int64]:
        """Indices in the order in which images are held, the training subset first."""
        train = self._subsets.whole["train"].index
        return np.concatenate([train, np.setdiff1d(np.arange(len(self._source)), train)])

    @functools.cached_property
    def _place(self) -> NDArray[np.int64]:
        """Where the image of each index is held."""
        place = np.empty_like(self._order)
        place[self._order] = np.arange(len(place))
        return place

    @functools.cached_property
    def _all(self) -> Tensor:
        pixels = self._subsets.train.shape[1]
        held = torch.empty(len(self._order), pixels, dtype=torch.uint8, device=self._device)
        for start in range(0, len(held), BLOCK_IMAGES):
            block = slice(start, start + BLOCK_IMAGES)
            held[block] = gather(self._source, self._order[block]).to(self._device)
        return held
