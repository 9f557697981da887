"""The distortion of the images of several members, each under its member's own decoder: many members for one kernel.

All that works image by image on an `ImageDistortion` works on this one too, and says of an image what it says of it
where its member is alone, up to rounding. Axis order: `sample, image`, images of a member side by side; networks are
called with a member axis first.
"""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

from rdstudy.measures.aggregate import slices
from rdstudy.measures.image_distortion import (
    Distortion,
    DistortionCurvature,
    ImageDistortion,
    checked,
    curvature_at,
)
from rdstudy.measures.layout import Layout
from rdstudy.measures.prior import LogPrior, Prior
from rdstudy.model.objective import Network


@dataclass(frozen=True)
class StackedNetworks:
    """What z of several members are judged by."""

    decode: Network  # [member, row, latent] -> [member, row, pixel]
    log_prior: LogPrior | None  # [row, member, latent] -> [row, member]; None for N(0, I)


NetworksOf = Callable[[tuple[int, ...]], StackedNetworks]
"""The networks of some of the members, ascending."""


@dataclass(frozen=True, kw_only=True)
class StackedDistortion(ImageDistortion):
    """The images of several members; make it with `of`.

    Attributes:
        layout: whose images they are.
        networks: from which those of the members that have images are taken.
    """

    layout: Layout
    networks: NetworksOf

    @classmethod
    def of(
        cls, networks: NetworksOf, distortion: Distortion, x: Tensor, *, layout: Layout, memory_bytes: float
    ) -> "StackedDistortion":
        """Images x `[image, pixel]` of several members, laid out as `layout` says; the rest as in `ImageDistortion`."""
        present = networks(layout.present)
        return cls(
            decode=present.decode,
            distortion=distortion,
            x=x,
            memory_bytes=memory_bytes,
            log_prior=present.log_prior,
            layout=layout,
            networks=networks,
        )

    @property
    def prior(self) -> Prior:
        """The priors of the members."""
        return dataclasses.replace(super().prior, layout=self.layout)

    def members(self) -> list[slice]:
        """Where the images of each member are."""
        return self.layout.slices()

    def select(self, images: slice | Tensor) -> "StackedDistortion":
        """Fewer images: a slice, or positions `[image]`, those of a member side by side."""
        return self.of(
            self.networks,
            self.distortion,
            self.x[images],
            layout=self.layout.select(images),
            memory_bytes=self.memory_bytes,
        )

    def _cuts(self, at_once: int) -> Iterator[slice]:
        return self.layout.cuts(at_once)

    def _blocks(self, z: Tensor) -> Iterator[tuple[slice, slice]]:
        self._check_shape(z)
        for images in self._cuts(self.rows_at_once):
            samples_at_once = max(1, self.rows_at_once // self.layout.select(images).slots)
            yield from ((samples, images) for samples in slices(len(z), samples_at_once))

    def _block(self, z: Tensor, images: slice) -> Tensor:
        part = self.select(images)
        output = part._decoded(part.layout.spread(z))
        return checked(part.layout.gather(self.distortion(output, part._slot_images())), z)

    def _curvature(self, z: Tensor, images: slice) -> DistortionCurvature:
        part = self.select(images)
        spread = part.layout.spread(z[None])[0]
        at = curvature_at(part._decoded, self.distortion, spread, part._slot_images())
        gathered = (part.layout.gather(values[None])[0] for values in (at.distortion, at.gradient, at.curvature))
        return DistortionCurvature(*gathered)

    def _slot_images(self) -> Tensor:
        """The images where they are spread, `[slot, pixel]`."""
        return self.layout.spread(self.x[None])[0]

    def _decoded(self, z: Tensor) -> Tensor:
        """The decoders' output for z `[sample, slot, latent]`: `[sample, slot, pixel]`, rows of a slot side by side."""
        samples, slots, latent = z.shape
        output = self.decode(z.transpose(0, 1).reshape(len(self.layout.present), -1, latent))
        return output.view(slots, samples, output.shape[-1]).transpose(0, 1)
