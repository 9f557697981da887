"""The gradients that training starts from are those of the loss that nobody computes."""

import pytest
import torch
from torch.distributions import Normal
from torch.nn.functional import binary_cross_entropy_with_logits

from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.model.objective import accumulate_gradients, forward, measure

BATCH, LATENT = 5, 2


def _setting(architecture: str) -> tuple[VAE, torch.Tensor, torch.Tensor]:
    vae = build(NetworkShape(architecture, 2, 3, LATENT, (3, 8, 8)), seed=1).double()
    generator = torch.Generator().manual_seed(2)
    x = torch.rand(BATCH, 3 * 8 * 8, generator=generator, dtype=torch.float64)
    return vae, x, torch.randn(BATCH, LATENT, generator=generator, dtype=torch.float64)


def _bernoulli(output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return binary_cross_entropy_with_logits(output, x, reduction="sum")


def _gaussian(output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    log_density: torch.Tensor = Normal(output, 0.1).log_prob(x)
    return -log_density.sum()


@pytest.mark.parametrize("architecture", ["mlp", "cnn", "linear"])
@pytest.mark.parametrize("beta", [0.0, 0.3, 5.0])
@pytest.mark.parametrize(("name", "distortion_of"), [("bernoulli", _bernoulli), ("gaussian", _gaussian)])
def test_gradients_are_those_of_the_mean_of_distortion_plus_beta_rate(architecture, beta, name, distortion_of):
    vae, x, noise = _setting(architecture)
    outputs = forward(vae.encoder, vae.decoder, x, noise)
    accumulate_gradients(outputs, x, beta=beta, likelihood=likelihood(name))
    actual = [parameter.grad for parameter in vae.parameters()]
    posterior = Posterior.from_code(vae.encoder(x))
    loss = (distortion_of(vae.decoder(posterior.sample(noise)), x) + beta * rate(posterior).sum()) / BATCH
    torch.testing.assert_close(actual, list(torch.autograd.grad(loss, list(vae.parameters()))))


@pytest.mark.parametrize(("name", "distortion_of"), [("bernoulli", _bernoulli), ("gaussian", _gaussian)])
def test_measure_gives_distortion_and_rate_of_each_image(name, distortion_of):
    vae, x, noise = _setting("mlp")
    values = measure(vae.encoder, vae.decoder, x, noise, likelihood=likelihood(name))
    assert values.distortion.shape == values.rate.shape == (BATCH,)
    output = vae.decoder(Posterior.from_code(vae.encoder(x)).sample(noise))
    torch.testing.assert_close(values.distortion.sum(), distortion_of(output, x))
    single = measure(vae.encoder, vae.decoder, x[3:4], noise[3:4], likelihood=likelihood(name))
    torch.testing.assert_close(values.distortion[3:4], single.distortion)
    torch.testing.assert_close(values.rate[3:4], single.rate)
