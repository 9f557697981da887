"""Images of several members at once: each has the values that it has alone, and memory is bounded."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from rdstudy.measures import fitted_importance
from rdstudy.measures.fitted_importance import FittedLogMarginal, fitted_log_marginal
from rdstudy.measures.image_distortion import ImageDistortion
from rdstudy.measures.layout import Layout, even
from rdstudy.measures.noise import MemberNoise
from rdstudy.measures.stacked_distortion import StackedDistortion, StackedNetworks
from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods import likelihood

MEMBERS, IMAGES, LATENT, PIXELS, COMPONENTS = 3, 5, 2, 7, 4
ENOUGH = 1e9

pytestmark = pytest.mark.usefixtures("float64")


@dataclasses.dataclass
class Models:
    """Members of a decoder with one hidden layer, and a prior: N(0, I), or a mixture of each member's own."""

    has_prior: bool
    rows: list[int] = dataclasses.field(default_factory=list)  # of all calls of decoders, members counted

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(11)

        def draw(*shape: int) -> Tensor:
            return torch.randn(MEMBERS, *shape, generator=generator)

        self.hidden, self.shift, self.output = draw(LATENT, 13), draw(1, 13), draw(13, PIXELS)
        self.means = 2 * draw(COMPONENTS, LATENT)
        self.x = torch.rand(IMAGES, PIXELS, generator=generator)
        self.encoded = Posterior(draw(IMAGES, LATENT), draw(IMAGES, LATENT) - 1)

    def decode(self, members: Any, z: Tensor) -> Tensor:
        self.rows.append(z.shape[:-1].numel())
        return torch.tanh(z @ self.hidden[members] + self.shift[members]) @ self.output[members]

    def log_prior(self, members: Any) -> Callable[[Tensor], Tensor] | None:
        """A function of z `[row, latent]` of a member, or `[row, member, latent]` of some."""
        if not self.has_prior:
            return None

        def log_density(z: Tensor) -> Tensor:
            away = (z[..., None, :] - self.means[members]).square().sum(dim=-1)
            return torch.logsumexp(-0.5 * away, dim=-1) - torch.log(torch.tensor(COMPONENTS * 2 * torch.pi))

        return log_density

    def alone(self, member: int, memory_bytes: float = ENOUGH) -> ImageDistortion:
        return ImageDistortion(
            lambda z: self.decode(member, z),
            likelihood("bernoulli").distortion,
            self.x,
            memory_bytes=memory_bytes,
            log_prior=self.log_prior(member),
        )

    def networks(self, members: tuple[int, ...]) -> StackedNetworks:
        chosen = list(members)
        return StackedNetworks(lambda z: self.decode(chosen, z), self.log_prior(chosen))

    def together(self, memory_bytes: float = ENOUGH) -> StackedDistortion:
        return StackedDistortion.of(
            self.networks,
            likelihood("bernoulli").distortion,
            self.x.repeat(MEMBERS, 1),
            layout=even(range(MEMBERS), IMAGES),
            memory_bytes=memory_bytes,
        )

    def all_encoded(self) -> Posterior:
        return Posterior(self.encoded.mean.flatten(0, 1), self.encoded.log_var.flatten(0, 1))


def generators() -> tuple[torch.Generator, ...]:
    """Two members of one seed, and one of another."""
    return tuple(torch.Generator().manual_seed(seed) for seed in (5, 5, 3))


@pytest.mark.parametrize("memory_bytes", [ENOUGH, 4 * 8 * PIXELS * 6, 1.0])
@pytest.mark.parametrize("has_prior", [False, True])
@pytest.mark.parametrize("chosen", [None, [0, 3, 4, 10], [6, 5], [2, 1, 9, 8, 14]])
def test_distortion_prior_and_derivatives_are_those_of_each_member_alone(chosen, has_prior, memory_bytes):
    models = Models(has_prior)
    images = models.together(memory_bytes)
    at = torch.arange(MEMBERS * IMAGES) if chosen is None else torch.tensor(chosen)
    images = images.select(at)
    z = torch.randn(11, len(at), LATENT, generator=torch.Generator().manual_seed(2))
    distortion, with_gradient, curvature = images.at(z), images.with_gradient(z), images.with_curvature(z[0])
    of_prior, density = images.prior.with_curvature(z[0]), images.prior.log_density(z)
    slope = images.prior.with_gradient(z)
    for column, (member, image) in enumerate(divmod(number, IMAGES) for number in at.tolist()):
        alone = models.alone(member).select(slice(image, image + 1))
        own = z[:, column : column + 1]
        expected = alone.with_gradient(own), alone.with_curvature(own[0]), alone.prior.with_curvature(own[0])
        same(distortion[:, column], alone.at(own)[:, 0])
        same(with_gradient.distortion[:, column], expected[0].distortion[:, 0])
        same(with_gradient.gradient[:, column], expected[0].gradient[:, 0])
        same(curvature.distortion[column], expected[1].distortion[0])
        same(curvature.gradient[column], expected[1].gradient[0])
        same(curvature.curvature[column], expected[1].curvature[0])
        same(of_prior.energy[column], expected[2].energy[0])
        same(of_prior.gradient[column], expected[2].gradient[0])
        same(of_prior.curvature[column], expected[2].curvature[0])
        same(density[:, column], alone.prior.log_density(own)[:, 0])
        same(slope.gradient[:, column], alone.prior.with_gradient(own).gradient[:, 0])


def same(value: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("has_prior", "memory_bytes"), [(False, ENOUGH), (True, 4 * 8 * PIXELS * 31)])
def test_log_marginals_of_members_together_are_those_of_each_alone(has_prior, memory_bytes, monkeypatch):
    monkeypatch.setattr(fitted_importance, "_TEMPERATURES", 5)  # sixty make 0.02 nats of a rounding: moves are chaotic
    models = Models(has_prior)
    settings: dict[str, Any] = {"samples": 5, "refit_steps": 7, "most_annealed": 2}
    together = fitted_log_marginal(
        models.together(memory_bytes),
        models.all_encoded(),
        generator=MemberNoise(generators(), (IMAGES,) * MEMBERS),
        **settings,
    )
    annealed = 0
    for member, (generator, part) in enumerate(zip(generators(), models.together().members(), strict=True)):
        encoded = Posterior(models.encoded.mean[member], models.encoded.log_var[member])
        alone = fitted_log_marginal(models.alone(member), encoded, generator=generator, **settings)
        annealed += int(alone.annealed.sum())
        own = together.of(part)
        for field in dataclasses.fields(FittedLogMarginal):
            torch.testing.assert_close(getattr(own, field.name), getattr(alone, field.name), rtol=1e-7, atol=1e-7)
    assert annealed, "annealing is tried, too"


def test_no_call_of_the_decoders_exceeds_the_memory():
    models = Models(has_prior=False)
    rows = 13
    images = models.together(4 * 8 * PIXELS * rows).select(torch.tensor([0, 1, 2, 3, 5, 10, 11]))
    assert images.rows_at_once == rows
    images.at(torch.zeros(17, 7, LATENT))
    assert len(models.rows) > 7
    assert max(models.rows) <= rows


@pytest.mark.parametrize("counts", [(3, 3, 3), (5, 0, 1), (0, 2, 7), (1,), (4, 4, 0, 1)])
def test_a_layout_spreads_and_gathers_and_cuts_into_what_fits(counts):
    layout = Layout(counts)
    values = torch.arange(2 * layout.images * 5).view(2, layout.images, 5).double()
    spread = layout.spread(values)
    assert spread.shape == (2, layout.slots, 5)
    assert torch.equal(layout.gather(spread), values)
    of_member = spread.unflatten(1, (len(layout.present), -1))
    for row, at in enumerate(layout.present):
        assert torch.equal(of_member[:, row, : counts[at]], values[:, layout.slices()[at]])
    for slots in range(1, layout.slots + 2):
        cuts = list(layout.cuts(slots))
        assert [number for cut in cuts for number in range(cut.start, cut.stop)] == list(range(layout.images))
        assert all(layout.select(cut).slots <= slots for cut in cuts)
    for first, last in itertools.combinations(range(layout.images + 1), 2):
        by_slice = layout.select(slice(first, last))
        assert by_slice == layout.select(torch.arange(first, last))
        assert by_slice.images == last - first
