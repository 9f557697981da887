"""The architectures, one file each: of which layers encoder and decoder are made.

A built-in one is a function of the shape that describes its layers, and needs no torch. A user's own,
`ResNet(shape, blocks=3)`, makes two modules: an encoder from `[batch, pixel]` to `[batch, 2 latent]` and a decoder from
`[batch, latent]` to `[batch, pixel]`; a constant `WIDTH` in its file is the default of the factor `width`, and without
it the architecture has neither depth nor width. Standard library alone, see `rdstudy.model.description`.
"""

import functools

from rdstudy.model.description import Description, NetworkCost, NetworkShape
from rdstudy.study import parts


def describe(shape: NetworkShape) -> Description | None:
    """The layers of a network; None of a user's own, which is made of modules."""
    if parts.parse(shape.architecture).digest:
        return None
    described: Description = parts.load("architecture", shape.architecture)(shape)
    return described


@functools.lru_cache(maxsize=2**14)
def network_cost(shape: NetworkShape) -> NetworkCost:
    """What a network costs; cached because a plan asks for it several times a member.

    Modules are counted where a description does not say all: those of a user's own architecture, and of a prior that
    is trained. PyTorch is imported for them alone.
    """
    description = describe(shape)
    if description is not None and shape.prior == "normal":
        return NetworkCost.of(description.layers, shape.pixels)
    from rdstudy.model.networks import cost_of_shape

    return cost_of_shape(shape)
