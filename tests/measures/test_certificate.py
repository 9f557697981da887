"""Simulated images are what the likelihood says, and their bounds enclose what is known or estimated otherwise."""

import pytest
import torch

from rdstudy.measures.annealing import sigmoidal_temperatures
from rdstudy.measures.certificate import Certificate, certify
from rdstudy.measures.estimate import estimate_mean
from rdstudy.model.likelihoods.bernoulli import distortion as bernoulli_distortion
from rdstudy.model.likelihoods.bernoulli import simulate as bernoulli_simulate
from rdstudy.model.networks import NetworkShape, build
from tests.measures.encoder_proposal import log_marginal
from tests.measures.linear_model import LATENT, linear_model, linear_temperatures

IMAGES, CHAINS = 101, 17
MODEL = linear_model(orthogonal=False)


def _generator(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _certify_linear(z: torch.Tensor, *, temperatures: torch.Tensor, from_prior: bool = False) -> Certificate:
    return certify(
        MODEL.decode,
        z,
        encode=None if from_prior else MODEL.encode,
        distortion=MODEL.distortion,
        simulate=MODEL.simulate,
        temperatures=temperatures,
        chains=CHAINS,
        leapfrog_steps=3,
        generator=_generator(),
        memory_bytes=1e7,
    )


@pytest.mark.parametrize("from_prior", [False, True])
def test_the_truth_of_simulated_images_is_certified(from_prior):
    z = torch.randn(IMAGES, LATENT, generator=_generator(1), dtype=torch.float64)
    found = _certify_linear(z, temperatures=sigmoidal_temperatures(151 if from_prior else 53), from_prior=from_prior)
    truth = MODEL.log_marginal(found.x)
    for above in (truth - found.lower_bound, found.upper_bound - truth):
        estimate = estimate_mean(above)
        assert -3 * estimate.standard_error < estimate.value < 0.1
    assert found.lower == estimate_mean(found.lower_bound)
    assert found.upper == estimate_mean(found.upper_bound)
    assert found.gap.value == pytest.approx(found.upper.value - found.lower.value)
    assert found.gap.standard_error < found.lower.standard_error / 3
    assert found.gap.samples == IMAGES


def test_few_temperatures_show_in_the_gap():
    z = torch.randn(IMAGES, LATENT, generator=_generator(1), dtype=torch.float64)
    found = _certify_linear(z, temperatures=linear_temperatures(3), from_prior=True)
    assert found.gap.value > 0.3


def test_an_importance_estimate_of_a_bernoulli_decoder_lies_within_the_bounds():
    vae = build(NetworkShape("mlp", 1, 13, LATENT, (1, 3, 5)), seed=1)
    with torch.no_grad():
        vae.decoder[0].weight.mul_(3)  # type: ignore[index, operator, union-attr]
        vae.decoder[2].weight.mul_(3)  # type: ignore[index, operator, union-attr]
    found = certify(
        vae.decoder,
        torch.randn(IMAGES, LATENT, generator=_generator(1)),
        encode=None,
        distortion=bernoulli_distortion,
        simulate=bernoulli_simulate,
        temperatures=sigmoidal_temperatures(53),
        chains=CHAINS,
        leapfrog_steps=3,
        generator=_generator(),
        memory_bytes=1e7,
    )
    assert set(found.x.unique().tolist()) == {0.0, 1.0}
    weighed = log_marginal(
        vae.encoder,
        vae.decoder,
        found.x,
        distortion=bernoulli_distortion,
        samples=2003,
        generator=_generator(2),
        memory_bytes=1e7,
    )
    assert found.gap.value < 0.1
    for above in (weighed.log_marginal - found.lower_bound, found.upper_bound - weighed.log_marginal):
        estimate = estimate_mean(above)
        assert -3 * estimate.standard_error < estimate.value < 0.1
    assert all(parameter.grad is None for parameter in vae.parameters())


def test_bernoulli_pixels_are_one_as_often_as_the_logits_say():
    logits = torch.tensor([-2.0, 0.0, 3.0]).expand(50_021, 3)
    x = bernoulli_simulate(logits, _generator())
    torch.testing.assert_close(x.mean(dim=0), torch.sigmoid(logits[0]), rtol=0, atol=0.01)
    assert torch.equal(x, bernoulli_simulate(logits, _generator()))
    assert not torch.equal(x, bernoulli_simulate(logits, _generator(6)))


def test_no_images_are_refused():
    with pytest.raises(ValueError, match=r"z of shape \(0, 3\)"):
        _certify_linear(torch.zeros(0, LATENT, dtype=torch.float64), temperatures=linear_temperatures(3))
