"""The distortion -log p(x|z) of given images as a function of z: many z an image, in bounded memory, frozen decoder.

Sums over pixels, in nats per image; values and derivatives come back in float64. Axis order: `sample, image`, then
features. Only the decoder and `distortion` work on `[row, pixel]`: the images are broadcast against the samples, never
copied.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.aggregate import slices
from rdstudy.measures.prior import LogPrior, Prior
from rdstudy.model.gaussian import Posterior
from rdstudy.model.objective import Network

Distortion = Callable[[Tensor, Tensor], Tensor]
"""(decoder's output `[..., pixel]`, x `[..., pixel]`) -> -log p(x|z) `[...]`, in nats."""

_DIFFERENCE = 5e-3
"""Of z, for the decoder's derivative: float32 loses some 10⁻⁵ of it, and no posterior at β = 1 is narrower by much."""

_BUFFERS = 4  # of a decoder's output alive at once: the output, two terms of the likelihood, their sum


@dataclass(frozen=True)
class DistortionGradient:
    """The distortion and its derivative in z."""

    distortion: Tensor  # [sample, image], nats
    gradient: Tensor  # [sample, image, latent], nats per unit of z


@dataclass(frozen=True)
class DistortionCurvature:
    """The distortion and its first two derivatives at one z an image."""

    distortion: Tensor  # [image], nats
    gradient: Tensor  # [image, latent]
    curvature: Tensor  # [image, latent, latent], symmetric


@dataclass(frozen=True)
class ImageDistortion:
    """The images and the model that z is judged by.

    Args:
        decode: the decoder, `[row, latent]` to `[row, pixel]`, in the dtype of `x`. Its parameters get no gradient.
        distortion: -log p(x|z) of the decoder's output.
        x: `[image, pixel]`.
        memory_bytes: of temporaries as wide as a row of pixels; at least one row is taken at a time.
        log_prior: of the z of the model, called with z in the dtype of `x`; None for N(0, I).

    Raises:
        ValueError: there are no images, or no memory.
    """

    decode: Network
    distortion: Distortion
    x: Tensor  # [image, pixel]
    memory_bytes: float
    log_prior: LogPrior | None = None

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or not self.x.numel():
            raise ValueError(f"images of shape {tuple(self.x.shape)}; allowed: [image, pixel], one or more of each")
        if not self.memory_bytes > 0:
            raise ValueError(f"memory_bytes {self.memory_bytes}; allowed: more than 0")

    @property
    def prior(self) -> Prior:
        """The prior of the model, in the dtype of `x` and within `memory_bytes`."""
        return Prior(self.log_prior, self.x.dtype, self.memory_bytes)

    @property
    def rows_at_once(self) -> int:
        """Rows of pixels that fit into the memory."""
        fitting = self.memory_bytes / (_BUFFERS * self.x.shape[1] * self.x.element_size())
        return max(1, math.floor(min(fitting, 2.0**62)))

    def select(self, images: slice | Tensor) -> "ImageDistortion":
        """The same model with fewer images."""
        return dataclasses.replace(self, x=self.x[images])

    def members(self) -> list[slice]:
        """Where the images of each member are."""
        return [slice(0, len(self.x))]

    @torch.no_grad()
    def posterior(self, encode: Network) -> Posterior:
        """q(z|x) of the images under an encoder, `[image, latent]`."""
        return Posterior.from_code(torch.cat([encode(part) for part in torch.split(self.x, self.rows_at_once)]))

    @torch.no_grad()
    def at(self, z: Tensor) -> Tensor:
        """Distortion at `z` `[sample, image, latent]`.

        Returns:
            `[sample, image]`, float64.
        """
        values = torch.empty(z.shape[:2], dtype=torch.float64, device=self.x.device)
        for block in self._blocks(z):
            values[block] = self._block(z[block].to(self.x.dtype), block[1]).double()
        return values

    def with_gradient(self, z: Tensor) -> DistortionGradient:
        """Distortion at `z` `[sample, image, latent]` and its derivative there, by back-propagation to z alone."""
        values = torch.empty(z.shape[:2], dtype=torch.float64, device=self.x.device)
        gradient = torch.empty(z.shape, dtype=torch.float64, device=self.x.device)
        for block in self._blocks(z):
            with torch.enable_grad():
                inputs = z[block].detach().to(self.x.dtype).requires_grad_()
                distortion = self._block(inputs, block[1])
                (derivative,) = torch.autograd.grad(distortion.sum(), inputs)
            values[block], gradient[block] = distortion.detach().double(), derivative.double()
        return DistortionGradient(values, gradient)

    def with_curvature(self, z: Tensor) -> DistortionCurvature:
        """Distortion at one `z` an image, `[image, latent]`, its derivative, and the Gauss-Newton curvature Jᵀ D'' J.

        J is the decoder's Jacobian, by differences, and D'' the second derivative in its output, pixel by pixel: the
        exact curvature where a decoder of ReLUs is linear, never negative where a likelihood is convex in the output.
        """
        images, latent = z.shape
        values = torch.empty(images, dtype=torch.float64, device=self.x.device)
        gradient = torch.empty(images, latent, dtype=torch.float64, device=self.x.device)
        curvature = torch.empty(images, latent, latent, dtype=torch.float64, device=self.x.device)
        for block in self._cuts(max(1, self.rows_at_once // (3 * latent + 2))):
            at = self._curvature(z[block].detach().to(self.x.dtype), block)
            values[block], gradient[block], curvature[block] = at.distortion, at.gradient, at.curvature
        return DistortionCurvature(values, gradient, (curvature + curvature.mT) / 2)

    def _cuts(self, at_once: int) -> Iterator[slice]:
        """Cut the images into slices of at most so many."""
        return slices(len(self.x), at_once)

    def _curvature(self, z: Tensor, images: slice) -> DistortionCurvature:
        return curvature_at(self._decoded, self.distortion, z, self.x[images])

    def _blocks(self, z: Tensor) -> Iterator[tuple[slice, slice]]:
        """Cut `[sample, image]` into blocks of as many rows as fit: all images of some samples, or some of one."""
        images = len(self.x)
        self._check_shape(z)
        images_at_once = min(self.rows_at_once, images)
        samples_at_once = max(1, self.rows_at_once // images)
        for sample in range(0, len(z), samples_at_once):
            for image in range(0, images, images_at_once):
                yield slice(sample, sample + samples_at_once), slice(image, image + images_at_once)

    def _check_shape(self, z: Tensor) -> None:
        images = len(self.x)
        if z.ndim != 3 or z.shape[1] != images:
            raise ValueError(f"z of shape {tuple(z.shape)}; allowed: [sample, image, latent] with {images} images")

    def _block(self, z: Tensor, images: slice) -> Tensor:
        """Distortion at z `[sample, image, latent]` of some images: `[sample, image]`."""
        return checked(self.distortion(self._decoded(z), self.x[images]), z)

    def _decoded(self, z: Tensor) -> Tensor:
        """The decoder's output for z `[sample, image, latent]`: `[sample, image, pixel]`."""
        output = self.decode(z.reshape(-1, z.shape[-1]))
        return output.view(*z.shape[:2], *output.shape[1:])


def checked(distortion: Tensor, z: Tensor) -> Tensor:
    """A distortion of z `[sample, image, latent]`; ValueError unless it is `[sample, image]`."""
    if distortion.shape != z.shape[:2]:
        raise ValueError(
            f"distortion of shape {tuple(distortion.shape)}; allowed: [sample, image], here {tuple(z.shape[:2])}"
        )
    return distortion


def curvature_at(decode: Network, distortion: Distortion, z: Tensor, x: Tensor) -> DistortionCurvature:
    """At one z an image, `[image, latent]`, of images `[image, pixel]`, for a decoder of `[sample, image, latent]`."""
    output, jacobian = _with_jacobian(decode, z)  # [image, pixel], [latent, image, pixel]
    with torch.enable_grad():
        output = output.detach().requires_grad_()
        value = distortion(output, x)
        (first,) = torch.autograd.grad(value.sum(), output, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), output)
    return DistortionCurvature(
        value.detach().double(),
        torch.einsum("jip,ip->ij", jacobian, first.detach()).double(),
        torch.einsum("jip,kip->ijk", jacobian * second, jacobian).double(),
    )


def _with_jacobian(decode: Network, z: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's output `[image, pixel]` and its derivative in each latent dimension, `[latent, image, pixel]`.

    By central differences: a decoder is only called, and may be anything that can be.
    """
    latent = z.shape[1]
    steps = _DIFFERENCE * torch.eye(latent, dtype=z.dtype, device=z.device)[:, None]  # [latent, 1, latent]
    output = decode(torch.cat([z[None], z + steps, z - steps]))
    return output[0], (output[1 : latent + 1] - output[latent + 1 :]) / (2 * _DIFFERENCE)
