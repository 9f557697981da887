"""Laws of densities, which every prior has to keep; members of a pack are held one by one in tests/training."""

import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

from rdstudy.model.description import NetworkShape
from rdstudy.model.gaussian import Posterior, rate
from rdstudy.model.networks import build
from rdstudy.model.priors import Prior, make_prior
from rdstudy.study import parts

PRIORS = ("normal", "mixture(k=3)", "vamp(k=5)", "flow(layers=3)")
PIXELS = 7
pytestmark = pytest.mark.usefixtures("float64")


def shape(prior: str, latent: int = 2) -> NetworkShape:
    return NetworkShape("mlp", 1, 11, latent, (1, 1, PIXELS), prior)


def made(prior: str, latent: int = 2) -> tuple[Prior, nn.Module]:
    """A prior with weights that no initialization gives, and an encoder."""
    torch.manual_seed(1)
    vae = build(shape(prior, latent), seed=3).double()
    with torch.no_grad():
        for parameter in vae.prior.parameters():
            parameter.add_((0.1 if prior.startswith("flow") else 0.4) * torch.randn_like(parameter))
    return vae.prior, vae.encoder


def test_all_priors_are_tested():
    assert {parts.parse(prior).name for prior in PRIORS} == set(parts.names("prior"))


@pytest.mark.parametrize("prior", PRIORS)
def test_a_density_integrates_to_one(prior: str):
    density, encode = made(prior)
    line = torch.linspace(-12, 12, 301)
    z = torch.stack(torch.meshgrid(line, line, indexing="ij"), dim=-1)
    with torch.no_grad():
        mass = density.log_density(z, encode).exp().sum() * (line[1] - line[0]) ** 2
    torch.testing.assert_close(mass, torch.tensor(1.0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("prior", PRIORS)
def test_draws_have_the_density(prior: str):
    """Of its own draws, the mean of f / p is the integral of f, for a density f within it."""
    density, encode = made(prior)
    with torch.no_grad():
        z = density.sample(200_000, torch.Generator().manual_seed(5), encode)
        assert z.shape == (200_000, 2)
        f = MultivariateNormal(z.mean(dim=0), 0.3 * z.T.cov())
        ratio = (f.log_prob(z) - density.log_density(z, encode)).exp()
    error = ratio.std() / len(ratio) ** 0.5
    assert abs(ratio.mean() - 1) < 4 * error < 0.1


@pytest.mark.parametrize("prior", PRIORS)
def test_draws_are_those_of_the_generator(prior: str):
    density, encode = made(prior)
    one, again, other = (density.sample(5, torch.Generator().manual_seed(seed), encode) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("prior", PRIORS)
def test_leading_axes_are_kept(prior: str):
    density, encode = made(prior)
    z = torch.randn(3, 5, 2)
    together = density.log_density(z, encode)
    assert together.shape == (3, 5)
    for at in itertools.product(range(3), range(5)):
        torch.testing.assert_close(together[at], density.log_density(z[at], encode))


def test_a_mixture_of_one_is_the_normal():
    mixture = make_prior(shape("mixture(k=1)"))
    nn.init.zeros_(mixture.get_parameter("mean"))
    z = torch.randn(5, 2)
    expected = Normal(torch.zeros(2), torch.ones(2)).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(mixture.log_density(z, nn.Identity()), expected)
    torch.testing.assert_close(make_prior(shape("normal")).log_density(z, nn.Identity()), expected)


def test_a_new_flow_is_the_normal():
    flow, z = make_prior(shape("flow(layers=3)")), torch.randn(5, 2)
    expected = Normal(torch.zeros(2), torch.ones(2)).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(flow.log_density(z, nn.Identity()), expected)


@pytest.mark.parametrize("latent", [2, 5])
def test_the_jacobian_of_a_flow_is_that_of_autograd(latent: int):
    flow, encode = made("flow(layers=3)", latent)
    u = torch.randn(latent, generator=torch.Generator().manual_seed(2))

    def forward(u: Tensor) -> Tensor:
        """f of given noise, by a generator's place."""
        z = u
        for coupling in flow.get_submodule("couplings").children():
            log_scale, shift = coupling.scale_and_shift(z)  # type: ignore[operator]
            z = z * torch.exp(log_scale) + shift
        return z

    jacobian: Tensor = torch.autograd.functional.jacobian(forward, u)  # type: ignore[no-untyped-call]
    expected = Normal(0.0, 1.0).log_prob(u).sum() - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(flow.log_density(forward(u), encode), expected)


def test_a_vamp_prior_is_the_mean_of_its_posteriors():
    vamp, encode = made("vamp(k=5)")
    z = torch.randn(3, 2)
    posterior = Posterior.from_code(encode(torch.sigmoid(vamp.get_parameter("pixel"))))
    each = Normal(posterior.mean, torch.exp(0.5 * posterior.log_var)).log_prob(z[:, None]).sum(dim=-1)
    torch.testing.assert_close(vamp.log_density(z, encode), each.exp().mean(dim=1).log())


@pytest.mark.parametrize("prior", PRIORS)
def test_the_sampled_rate_is_that_of_its_definition(prior: str):
    density, _ = made(prior)
    terms = build(shape(prior), seed=3).double().prior_terms
    code = torch.randn(5, 4)
    posterior = Posterior.from_code(code)
    z = posterior.sample(torch.randn(5, 2))
    if terms is None:
        torch.testing.assert_close(density.closed_rate(posterior), rate(posterior))
        return
    log_prior, sampled = terms(code, z)
    log_q = Normal(posterior.mean, torch.exp(0.5 * posterior.log_var)).log_prob(z).sum(dim=-1)
    torch.testing.assert_close(sampled, log_q - log_prior)


def test_priors_of_one_seed_share_encoder_and_decoder():
    first = build(shape("normal"), seed=3).state_dict()
    for prior in PRIORS[1:]:
        other = build(shape(prior), seed=3).state_dict()
        assert all(torch.equal(other[name], value) for name, value in first.items())
        again, elsewhere = (build(shape(prior), seed=seed).state_dict() for seed in (3, 4))
        assert all(torch.equal(again[name], other[name]) for name in other)
        if prior != "flow(layers=3)":  # which starts as the normal but for what is multiplied by 0
            assert any(not torch.equal(elsewhere[name], other[name]) for name in other if name.startswith("prior."))


def test_a_flow_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match=r"latent_dim is 1 with the prior flow\(layers=2\); allowed: 2 or more"):
        make_prior(shape("flow(layers=2)", latent=1))
