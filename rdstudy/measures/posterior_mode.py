"""The most likely z of each image and the curvature there: where an importance sample looks first.

The negative log of p(x, z) is D(x, z) + ½ |z|² but for a constant. Its minimum is found by damped Newton steps
(Levenberg and Marquardt), image by image. The curvature is that of Gauss and Newton, plus I: where a decoder of ReLUs
is linear it is exact, and the true posterior is nearly the Gaussian with this precision.
Axis order: `image, latent`. Float64, nats.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import ImageDistortion

_FIRST_DAMPING = 1.0
_CONVERGED = 1e-3  # nats
_LEAST_EIGENVALUE = 0.1
"""Of a precision: the prior adds 1, so less means a likelihood that is not convex, and too wide a Gaussian."""


@dataclass(frozen=True)
class Mode:
    """A mode of p(z|x) and the precision there."""

    z: Tensor  # [image, latent]
    energy: Tensor  # [image], D + ½ |z|², nats
    precision: Tensor  # [image, latent, latent], positive definite

    def lower_of(self, others: "Mode", index: Tensor) -> "Mode":
        """These modes, and where one of the others, those of the images at `index`, is lower, that one."""
        z, energy, precision = self.z.clone(), self.energy.clone(), self.precision.clone()
        lower = others.energy < energy[index]
        at = index[lower]
        z[at], energy[at], precision[at] = others.z[lower], others.energy[lower], others.precision[lower]
        return Mode(z, energy, precision)


@torch.no_grad()
def posterior_mode(images: ImageDistortion, start: Tensor, *, steps: int) -> Mode:
    """Descend from one start an image.

    A step that does not lower the energy is not taken, and the next one is more damped. An image is done when a step
    lowers its energy by less than `_CONVERGED`, and takes no more work; no other image is touched.

    Args:
        images: the images and the model.
        start: `[image, latent]`.
        steps: of Newton's method, damped; at most.
    """
    z, energy, gradient, precision = _at(images, start.to(torch.float64, copy=True))  # which is written to
    damping = torch.full_like(energy, _FIRST_DAMPING)
    going = torch.arange(len(energy), device=energy.device)
    for _ in range(steps):
        held = precision[going] + torch.diag_embed(precision[going].diagonal(dim1=-2, dim2=-1) * damping[going, None])
        proposed = z[going] - torch.linalg.solve(held, gradient[going])
        there = _at(images.select(going), proposed)
        fall = energy[going] - there[1]
        better = fall > 0
        moved = going[better]
        for mine, new in zip((z, energy, gradient, precision), there, strict=True):
            mine[moved] = new[better]
        damping[going] = torch.where(better, damping[going] / 5, damping[going] * 4)
        going = going[~better | (fall > _CONVERGED)]
        if not len(going):
            break
    return Mode(z, energy, precision)


def _at(images: ImageDistortion, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """At z `[image, latent]`: z, the energy, its derivative and the precision."""
    at = images.with_curvature(z)
    identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    values, vectors = torch.linalg.eigh(at.curvature + identity)
    precision = (vectors * values.clamp(min=_LEAST_EIGENVALUE)[:, None, :]) @ vectors.mT
    return z, at.distortion + 0.5 * z.square().sum(dim=-1), at.gradient + z, precision
