"""The rate against closed forms and against torch's own distributions."""

import torch
from torch.distributions import Independent, Normal, kl_divergence

from rdstudy.model.gaussian import Posterior, rate, rate_gradient

MEMBERS, BATCH, LATENT = 3, 5, 2


def _code(seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(MEMBERS, BATCH, 2 * LATENT, generator=generator, dtype=torch.float64)


def test_rate_is_the_divergence_from_the_standard_normal():
    posterior = Posterior.from_code(_code(1))
    q = Independent(Normal(posterior.mean, torch.exp(0.5 * posterior.log_var)), 1)
    p = Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)
    actual = rate(posterior)
    assert actual.shape == (MEMBERS, BATCH)
    torch.testing.assert_close(actual, kl_divergence(q, p))


def test_rate_is_zero_at_the_prior_and_only_there():
    assert rate(Posterior.from_code(torch.zeros(1, 4))).item() == 0.0
    assert (rate(Posterior.from_code(_code(2))) > 0).all()


def test_gradient_is_the_derivative_of_the_rate_in_the_code():
    code = _code(3).requires_grad_()
    (expected,) = torch.autograd.grad(rate(Posterior.from_code(code)).sum(), code)
    torch.testing.assert_close(rate_gradient(Posterior.from_code(code.detach())), expected)


def test_sample_has_the_mean_and_the_variance_of_the_posterior():
    posterior = Posterior(torch.tensor([2.0, -3.0]), torch.tensor([0.0, 1.0]))
    noise = torch.randn(200_000, 2, generator=torch.Generator().manual_seed(4))
    z = posterior.sample(noise)
    torch.testing.assert_close(z.mean(0), posterior.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0).log(), posterior.log_var, atol=0.02, rtol=0)
