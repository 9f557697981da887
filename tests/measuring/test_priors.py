"""Members of other priors and likelihoods are measured under the prior in use, from their settings to their rows."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from rdstudy.datasets import Dataset
from rdstudy.measures.rate_parts import NO_DIMENSION_KL
from rdstudy.model.gaussian import Posterior
from rdstudy.study import Evaluation, Measures, Recipe
from rdstudy.training.subsets import sample_of, to_unit
from tests.measuring.test_measuring import SMALL, by_subset, measure, only, subsets_of, trained
from tests.training.conftest import MEMBER, TRAIN, toy_dataset


@pytest.mark.usefixtures("few_temperatures")
@pytest.mark.parametrize(
    ("prior", "likelihood"),
    [
        ("mixture(k=3)", "bernoulli"),
        ("vamp(k=5)", "gaussian(sigma=optimal)"),
        ("flow(layers=2)", "bernoulli"),
        ("normal", "continuous_bernoulli"),
    ],
)
def test_every_measure_is_taken_and_its_identities_hold(prior, likelihood):
    member = dataclasses.replace(MEMBER, prior=prior, likelihood=likelihood)
    subsets = subsets_of(toy_dataset(), member, TRAIN)
    trainer = trained(member, subsets)
    rows = by_subset(measure(trainer, subsets, SMALL))
    for name, row in rows.items():
        assert row["mutual_information"] + row["marginal_kl"] == pytest.approx(row["aggregate_rate"], abs=1e-6)
        assert row["mutual_information"] <= math.log(row["aggregate_images"]) + 1e-9
        assert ("dimension_kl" in row) == (prior == "normal")
        assert (NO_DIMENSION_KL in row["null_reasons"]) == (prior != "normal")
        assert row["inference_gap"] >= row["refit_gain"] >= 0
        assert np.mean(row["image_log_marginal"]) == pytest.approx(row["log_marginal"] + row["log_marginal_floor"])
        assert ("optimal_distortion" in row) == (likelihood == "bernoulli")
        assert 0 <= row["active_units"] <= member.latent_dim
        assert {"annealed_lower", "annealed_upper", "cross_rate", "memorization"} <= set(row) or name == "train"
        reasons = [reason.split(":")[0] for reason in row["null_reasons"].split(" | ")]
        allowed = {"batch_rate_parts", "rate_parts", "optimal_decoder", "memorization", "reconstructions and controls"}
        assert set(reasons) <= allowed | {"reconstructions of the optimal decoder"}, row["null_reasons"]


@pytest.mark.usefixtures("float64")
def test_the_rate_is_that_of_the_prior_in_use():
    """The mean of log q(z|x) - log p(z) over all z of all images: here by many draws of each."""
    member = dataclasses.replace(MEMBER, prior="mixture(k=3)")
    subsets = subsets_of(toy_dataset(), member, TRAIN)
    trainer = trained(member, subsets)
    with torch.no_grad():
        trainer.vae.prior.get_parameter("mean").mul_(3)
        x = to_unit(torch.cat(list(subsets.whole["train"].blocks())))
        posterior = Posterior.from_code(trainer.vae.encoder(x))
        noise = torch.randn(4_001, len(x), 2, generator=torch.Generator().manual_seed(1))
        z = posterior.sample(noise)
        log_q = -0.5 * (noise.square() + posterior.log_var + math.log(2 * math.pi)).sum(dim=-1)
        expected = (log_q - trainer.vae.prior.log_density(z, trainer.vae.encoder)).mean().item()
        standard = (log_q + 0.5 * (z.square() + math.log(2 * math.pi)).sum(dim=-1)).mean().item()
    measures = only("rate_parts", latent_samples=TRAIN)
    rows = [
        by_subset(measure(again, subsets, measures))["train"]
        for seed in range(40)
        for again in [_with_seed(trainer, seed)]
    ]
    values = np.array([row["aggregate_rate"] for row in rows])
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean() - expected) < 4 * error
    assert abs(expected - standard) > 10 * error, "the standard normal would give another number"


def _with_seed(trainer, seed):
    """The same weights, measured with the noise of another seed."""
    trainer.members = (dataclasses.replace(trainer.members[0], seed=seed),)
    return trainer


def test_log_marginal_of_a_linear_vae_with_a_mixture_prior_is_the_closed_form():
    """log Σ_k w_k N(x; W m_k + b, W S_k Wᵀ + σ² I), by the whole path from weights to a row."""
    torch.set_default_dtype(torch.float64)
    try:
        _check_closed_form()
    finally:
        torch.set_default_dtype(torch.float32)


def _check_closed_form() -> None:
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, size=(211, 1, 1, 7)).astype(np.uint8)
    member = dataclasses.replace(
        MEMBER,
        architecture="linear",
        width=1,
        likelihood="gaussian(sigma=0.3)",
        prior="mixture(k=3)",
        latent_dim=2,
        beta=1.0,
        recipe=Recipe(steps=101, batch_size=53, learning_rate=1e-2),
        evaluation=Evaluation(),
    )
    subsets = subsets_of(Dataset(images, None), member, 101)
    trainer = trained(member, subsets, steps=101)
    with torch.no_grad():
        trainer.vae.prior.get_parameter("mean").mul_(4)
        trainer.vae.prior.get_parameter("log_var").sub_(1)
    measures = Measures(names=["log_marginal"], importance_images=53, importance_samples=401)
    row = by_subset(measure(trainer, subsets, measures))["test"]
    sample = sample_of(subsets.whole["test"], 53, "importance test", member.study_seed)
    x = torch.cat(list(sample.blocks())).double() / 255
    exact = _log_density(x, trainer.weights(0), sigma=0.3)
    assert row["log_marginal_passed"] > 0.9
    away = torch.tensor(row["image_log_marginal"]) - x.shape[1] / 2 * math.log(2 * math.pi * 0.3**2) - exact
    assert away.abs().max() < 0.15
    assert away.mean().abs() < 0.02
    assert exact.std() > 1, "images differ by more than the estimates miss them"


def _log_density(x: Tensor, weights: dict[str, Tensor], *, sigma: float) -> Tensor:
    matrix, offset = weights["decoder.0.weight"], weights["decoder.0.bias"]
    mean, variance = weights["prior.mean"], weights["prior.log_var"].exp()
    log_weight = weights["prior.logit"].log_softmax(dim=0)
    noise = sigma**2 * torch.eye(x.shape[1])
    parts = [
        MultivariateNormal(matrix @ m + offset, matrix @ torch.diag(v) @ matrix.T + noise).log_prob(x)
        for m, v in zip(mean, variance, strict=True)
    ]
    return torch.logsumexp(torch.stack(parts, dim=1) + log_weight, dim=1)
