"""One affine map each way: with a Gaussian likelihood, the model of `rdstudy.model.linear_gaussian`."""

from rdstudy.model.description import Dense, Description, NetworkShape


def linear(shape: NetworkShape) -> Description:
    """No hidden layer, whatever the depth and the width."""
    return Description(
        encoder=(Dense(shape.pixels, 2 * shape.latent_dim),),
        decoder=(Dense(shape.latent_dim, shape.pixels),),
    )
