"""The most likely z of each image and the curvature there: where an importance sample looks first.

The negative log of p(x, z) is, but for a constant, D(x, z) plus the prior's energy: ½ |z|² under N(0, I). Its minimum
is found by damped Newton steps (Levenberg and Marquardt), image by image. The curvature is that of D by Gauss and
Newton, exact where a decoder of ReLUs is linear, plus the Hessian of the prior's energy: I under N(0, I). The true
posterior is nearly the Gaussian with this precision. A prior that is not log-concave, such as a mixture, has negative
eigenvalues between its modes, where p(z|x) may have several modes too: the descent finds one of them.
Axis order: `image, latent`. Float64, nats.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rdstudy.measures.image_distortion import ImageDistortion

_FIRST_DAMPING = 1.0
_CONVERGED = 1e-3  # nats
_LEAST_EIGENVALUE = 0.1
"""Of a precision: N(0, I) adds 1, so that less means an energy that is not convex, and too wide a Gaussian. A prior may
itself be wider than this; the tails of what is drawn from then have to reach."""


@dataclass(frozen=True)
class Mode:
    """A mode of p(z|x) and the precision there."""

    z: Tensor  # [image, latent]
    energy: Tensor  # [image], D plus the prior's energy, nats
    precision: Tensor  # [image, latent, latent], positive definite

    def lower_of(self, rival: "Mode", index: Tensor) -> "Mode":
        """The lower of two modes of each image: this one, and that of `rival`, which has the images at `index` only."""
        z, energy, precision = self.z.clone(), self.energy.clone(), self.precision.clone()
        lower = rival.energy < energy[index]
        at = index[lower]
        z[at], energy[at], precision[at] = rival.z[lower], rival.energy[lower], rival.precision[lower]
        return Mode(z, energy, precision)


@torch.no_grad()
def posterior_mode(images: ImageDistortion, start: Tensor, *, steps: int) -> Mode:
    """Descend from one start an image, `[image, latent]`, by at most so many damped steps of Newton's method.

    A step that does not lower the energy is not taken, and the next one is more damped. An image is done when a step
    lowers its energy by less than `_CONVERGED`, and takes no more work; no other image is touched.
    """
    z, energy, gradient, precision = _at(images, start.to(torch.float64, copy=True))  # which is written to
    damping = torch.full_like(energy, _FIRST_DAMPING)
    going = torch.arange(len(energy), device=energy.device)
    for _ in range(steps):
        damped = precision[going] + torch.diag_embed(precision[going].diagonal(dim1=-2, dim2=-1) * damping[going, None])
        proposed = z[going] - torch.linalg.solve(damped, gradient[going])
        there = _at(images.select(going), proposed)
        fall = energy[going] - there[1]
        better = fall > 0
        moved = going[better]
        for now, proposal in zip((z, energy, gradient, precision), there, strict=True):
            now[moved] = proposal[better]
        damping[going] = torch.where(better, damping[going] / 5, damping[going] * 4)
        going = going[~better | (fall > _CONVERGED)]
        if not len(going):
            break
    return Mode(z, energy, precision)


def _at(images: ImageDistortion, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """At z `[image, latent]`: z, the energy, its derivative and the precision."""
    at, prior = images.with_curvature(z), images.prior.with_curvature(z)
    values, vectors = torch.linalg.eigh(at.curvature + prior.curvature)
    precision = (vectors * values.clamp(min=_LEAST_EIGENVALUE)[:, None, :]) @ vectors.mT
    return z, at.distortion + prior.energy, at.gradient + prior.gradient, precision
