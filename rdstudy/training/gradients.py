"""The gradients of a training step: what an objective adds to the networks' parameters."""

from collections.abc import Callable

import torch
from torch import Tensor

from rdstudy.model.likelihoods import Likelihood
from rdstudy.model.objective import Cotangents, ForwardPass, accumulate_gradients, cotangents, rate_of
from rdstudy.training.objectives import Objective, Terms


def take_gradients(
    objective: Objective,
    outputs: ForwardPass,
    x: Tensor,
    *,
    beta: float | Tensor,
    step: int | Tensor,
    steps: int,
    images: int,
    likelihood: Likelihood,
    cotangents: Callable[..., Cotangents] = cotangents,
) -> None:
    """Add the gradients of an objective, averaged over the batch, to the `grad` of the networks' parameters.

    Arguments of one name are those of `accumulate_gradients`; β is that of this step. The step counts from 0, a tensor
    `[]` where a captured step must read it anew; `images` are those of the training subset.

    Raises:
        ValueError: an objective of a user's own gives something else than a loss for each image.
    """
    if objective.loss is None:
        removed = None if objective.removed is None else objective.removed(outputs, images)
        accumulate_gradients(outputs, x, beta=beta, likelihood=likelihood, removed=removed, cotangents=cotangents)
        return
    terms = Terms(
        distortion=likelihood.distortion(outputs.output, x),
        rate=rate_of(outputs),
        z=outputs.z,
        code=outputs.code,
        x=x,
        beta=beta.squeeze(-1) if isinstance(beta, Tensor) else x.new_full((1,), beta),
        step=torch.as_tensor(step, device=x.device),
        steps=steps,
        images=images,
    )
    loss = objective.loss(terms)
    if not isinstance(loss, Tensor) or loss.shape != terms.rate.shape:
        given = list(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"an objective's loss is {given}; allowed: one number an image, {list(terms.rate.shape)}")
    loss.mean(dim=-1).sum().backward()  # type: ignore[no-untyped-call]
