"""Training finds the optimum that is known in closed form: linear VAEs on Gaussian images, in float64.

The learning rate of a recipe is constant, and Adam with a constant one hovers about the optimum; so the test trains in
two stages, the second with a smaller one, from where the first ended.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from rdstudy.datasets import gaussian
from rdstudy.model.linear_gaussian import LinearGaussianExact, LinearVae, linear_vae_exact, optimum
from rdstudy.study import Member, Recipe
from rdstudy.training.sequential import SequentialTrainer

TRAIN, LATENT, MEASUREMENTS = 5_003, 2, 7
STAGES = ((5e-2, 2_500), (1e-3, 1_200))  # learning rate, steps
TOLERANCE = 0.05  # nats; the standard error of the measurements' mean distortion is 0.01 at the largest β


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def train() -> torch.Tensor:
    return torch.from_numpy(gaussian.draw(0)[:TRAIN]).flatten(1)


def trained(train: torch.Tensor, beta: float) -> SequentialTrainer:
    weights = None
    for learning_rate, steps in STAGES:
        recipe = Recipe(learning_rate=learning_rate, batch_size=257, steps=steps)
        member = Member(
            "gaussian",
            "cv(5003)",
            beta,
            1,
            architecture="linear",
            latent_dim=LATENT,
            likelihood="gaussian",
            recipe=recipe,
        )
        trainer = SequentialTrainer(member, train, image_shape=gaussian.SHAPE, device=torch.device("cpu"))
        if weights is not None:
            trainer.vae.load_state_dict(weights)
        trainer.advance(0, steps)
        weights = trainer.vae.state_dict()
    return trainer


def exact(trainer: SequentialTrainer, images: dict[str, torch.Tensor]) -> LinearGaussianExact:
    """The measures of what was learned, with the log-variances, nearly constant by now, at their mean."""
    weights = {name: value.detach() for name, value in trainer.vae.named_parameters()}
    log_var = weights["encoder.0.weight"][LATENT:] @ images["data_mean"] + weights["encoder.0.bias"][LATENT:]
    vae = LinearVae(
        encoder_weight=weights["encoder.0.weight"][:LATENT],
        encoder_bias=weights["encoder.0.bias"][:LATENT],
        log_var=log_var,
        decoder_weight=weights["decoder.0.weight"],
        decoder_bias=weights["decoder.0.bias"],
    )
    return linear_vae_exact(vae, **images, noise_variance=0.1**2)


@pytest.mark.parametrize("beta", [0.3, 3.0])
def test_a_trained_linear_vae_has_the_distortion_and_the_rate_of_the_closed_form(train, beta):
    """Those of the optimum for the very images that are trained on, and those of the weights that were found."""
    x = train.double() / 255
    images = {"data_mean": x.mean(dim=0), "data_covariance": torch.cov(x.T, correction=0)}
    best = optimum(**images, noise_variance=0.1**2, beta=beta, latent_dim=LATENT)
    trainer = trained(train, beta)
    blocks = train.split(1_024)
    measured = [trainer.measure(blocks, purpose=f"measurement {number}") for number in range(MEASUREMENTS)]
    distortion = np.mean([values.distortion for values in measured])
    rate = np.mean([values.rate for values in measured])
    assert best.active == LATENT
    assert abs(distortion - best.distortion) < TOLERANCE
    assert abs(rate - best.rate) < TOLERANCE
    expected = exact(trainer, images)
    assert abs(distortion - expected.distortion.item()) < TOLERANCE
    assert abs(rate - expected.rate.item()) < 1e-3
