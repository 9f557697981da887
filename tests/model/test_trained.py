"""A model that was trained, whatever parts it is made of, through its file: what goes in and out."""

import dataclasses

import pytest
import torch

from rdstudy.model.gaussian import Posterior
from rdstudy.model.likelihoods import likelihood
from rdstudy.model.networks import NetworkShape, build
from rdstudy.model.trained import TrainedModel
from rdstudy.model.weights import Header, WeightsError, from_bytes, to_bytes
from rdstudy.study import Member, parts

SHAPE = (2, 7, 11)
MEMBER = Member(dataset="shapes", split="cv(7)", beta=1.0, seed=3, width=13, latent_dim=5)
PRIORS = ("normal", "mixture(k=3)", "vamp(k=3)", "flow(layers=2)")
X = torch.rand(3, *SHAPE, generator=torch.Generator().manual_seed(7))


def file_of(member: Member, image_shape: tuple[int, int, int] = SHAPE) -> bytes:
    vae = build(NetworkShape.of(member, image_shape), seed=11)
    header = Header.of(member, run_id="r", image_shape=image_shape, code_version="c")
    return to_bytes(vae.state_dict(), header)


def model_of(member: Member, image_shape: tuple[int, int, int] = SHAPE) -> TrainedModel:
    return TrainedModel.of(from_bytes(file_of(member, image_shape), path="x"), path="x")


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", parts.names("likelihood"))
def test_pictures_are_means_for_draws_from_the_prior_in_use(name, prior):
    member = dataclasses.replace(MEMBER, likelihood=name, prior=prior)
    model, vae = model_of(member), build(NetworkShape.of(member, SHAPE), seed=11)
    with torch.no_grad():
        z = vae.prior.sample(4, torch.Generator().manual_seed(17), vae.encoder)
        expected = likelihood(name).mean(vae.decoder(z)).clamp(0, 1).reshape(4, *SHAPE)
        posterior = Posterior.from_code(vae.encoder(X.flatten(1)))
        again = likelihood(name).mean(vae.decoder(posterior.mean)).clamp(0, 1).reshape(3, *SHAPE)
    assert torch.equal(model.sample(4, seed=17), expected)
    assert torch.equal(model.encode(X).mean, posterior.mean)
    assert torch.equal(model.encode(X).log_var, posterior.log_var)
    assert torch.equal(model(X), again)


def test_convolutions_come_back_from_a_file_in_whatever_layout_they_were():
    member = dataclasses.replace(MEMBER, architecture="cnn", depth=2)
    vae, model = build(NetworkShape.of(member, (3, 32, 32)), seed=11), model_of(member, (3, 32, 32))
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(7))
    assert torch.equal(model.encode(x).mean, vae.encoder(x.flatten(1)).chunk(2, dim=-1)[0])


def test_grey_levels_are_pixels_over_255():
    grey = (255 * X).round().to(torch.uint8)
    model = model_of(MEMBER)
    assert torch.equal(model.encode(grey).mean, model.encode(grey / 255.0).mean)
    assert torch.equal(model.encode(grey.numpy()).mean, model.encode(grey).mean)


def test_weights_are_trained_no_more_and_a_gradient_reaches_the_images():
    model, x = model_of(MEMBER), X.clone().requires_grad_()
    assert not [name for name, weight in model.named_parameters() if weight.requires_grad]
    model(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "other", [{"width": 17}, {"depth": 2}, {"latent_dim": 3}, {"prior": "vamp(k=3)"}, {"architecture": "linear"}]
)
def test_weights_of_another_network_are_one_line(other):
    kept = from_bytes(file_of(dataclasses.replace(MEMBER, **other)), path="x")
    stolen = dataclasses.replace(kept, header=dataclasses.replace(kept.header, member=MEMBER))
    with pytest.raises(WeightsError, match=r"^here does not fit the network of its member: \S+ has shape ") as refused:
        TrainedModel.of(stolen, path="here")
    assert "\n" not in str(refused.value)


def test_no_bit_of_a_file_can_turn_unseen():
    content = file_of(dataclasses.replace(MEMBER, width=2, latent_dim=1), (1, 2, 3))
    whole = from_bytes(content, path="x")
    for bit in range(0, 8 * len(content), 5):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            read = from_bytes(bytes(flipped), path="x")
        except WeightsError:
            continue
        assert read.header == whole.header  # such as the case of a digit in \u00e9: the same, written otherwise
        assert all(torch.equal(read.tensors[name], value) for name, value in whole.tensors.items())
