"""Objectives of one's own: free bits, and a capacity that grows as training goes on."""

from torch import Tensor

from rdstudy.training.objectives import Objective, Terms


def free_nats(*, nats: float = 2.0) -> Objective:
    """D + β max(R, nats): below so many nats, the rate of an image costs no more (Kingma et al. 2016, of all z)."""

    def loss(terms: Terms) -> Tensor:
        return terms.distortion + terms.beta * terms.rate.clamp(min=nats)

    return Objective(loss=loss)


def capacity(*, most: float = 25.0) -> Objective:
    """D + β |R - C|, where C rises to `most` over the training (Burgess et al. 2018)."""

    def loss(terms: Terms) -> Tensor:
        return terms.distortion + terms.beta * (terms.rate - most * terms.step / terms.steps).abs()

    return Objective(loss=loss)
