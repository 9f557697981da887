"""The gradients that training starts from are those of the loss that nobody computes."""

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.model.objective import accumulate_gradients, forward, measure

BATCH, LATENT = 5, 2


def _setting(architecture: str) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    vae = build(NetworkShape(architecture, 2, 3, LATENT, (3, 8, 8)), seed=1).double()
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(BATCH, 3 * 8 * 8, generator=generator, dtype=torch.float64)
    return vae, x, torch.randn(BATCH, LATENT, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 5.0])
def test_gradients_are_those_of_the_mean_of_distortion_plus_beta_rate(architecture, beta):
    vae, x, noise = _setting(architecture)
    accumulate_gradients(forward(vae.encoder, vae.decoder, x, noise), x, beta=beta)
    actual = [parameter.grad for parameter in vae.parameters()]
    posterior = Posterior.from_code(vae.encoder(x))
    logits = vae.decoder(posterior.sample(noise))
    distortion = binary_cross_entropy_with_logits(logits, x, reduction="sum")
    loss = (distortion + beta * rate(posterior).sum()) / BATCH
    torch.testing.assert_close(actual, list(torch.autograd.grad(loss, list(vae.parameters()))))


def test_measure_gives_distortion_and_rate_of_each_image():
    vae, x, noise = _setting("mlp")
    values = measure(vae.encoder, vae.decoder, x, noise)
    assert values.distortion.shape == values.rate.shape == (BATCH,)
    one = measure(vae.encoder, vae.decoder, x[3:4], noise[3:4])
    torch.testing.assert_close(values.distortion[3:4], one.distortion)
    torch.testing.assert_close(values.rate[3:4], one.rate)
