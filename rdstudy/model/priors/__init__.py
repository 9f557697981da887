"""The priors p(z), one file each: a module with a normalized density, trained with the networks where it has weights.

A prior is made as `Mixture(shape, k=10)` from the shape of the member's network. A member starts all its weights from
its seed, those of encoder and decoder first, so that members of one seed differ in the prior alone. Priors of a pack
are stacked like networks. Sums over latent dimensions; the last axis is the latent dimension.
"""

from rdstudy.model.description import NetworkShape
from rdstudy.model.priors._prior import Encode, Prior, PriorTerms
from rdstudy.study import parts

__all__ = ["Encode", "Prior", "PriorTerms", "make_prior"]


def make_prior(shape: NetworkShape) -> Prior:
    """The prior of a network, initialized as it is made.

    Raises:
        ValueError: it is no `Prior`, or its arguments do not suit the shape.
    """
    return parts.make("prior", shape.prior, Prior, shape)
