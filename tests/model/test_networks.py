"""Shapes, sizes and initial weights of the networks of the paper."""

import pytest
import torch
from torch import nn

from rdstudy.model.networks import NetworkShape, build


def _weights(vae: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in vae.parameters()])


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize(("architecture", "width"), [("mlp", 11), ("cnn", 3)])
def test_encoder_and_decoder_map_between_images_and_codes(architecture, width, depth):
    vae = build(NetworkShape(architecture, depth, width, 2, (3, 32, 32)), seed=1)
    x = torch.rand(5, 3 * 32 * 32)
    assert vae.encoder(x).shape == (5, 4)
    assert vae.decoder(torch.zeros(5, 2)).shape == (5, 3 * 32 * 32)


def test_a_linear_vae_is_two_affine_maps_whatever_the_depth_and_width():
    vae = build(NetworkShape("linear", 3, 512, 2, (1, 3, 5)), seed=1).double()
    assert [tuple(weights.shape) for weights in vae.parameters()] == [(4, 15), (4,), (15, 2), (15,)]
    generator = torch.Generator().manual_seed(2)
    for network, inputs in ((vae.encoder, 15), (vae.decoder, 2)):
        x, y = torch.randn(2, 7, inputs, generator=generator, dtype=torch.float64)
        torch.testing.assert_close(network(0.3 * x + 0.7 * y), 0.3 * network(x) + 0.7 * network(y))
        assert (network(x) < 0).any(), "nothing is cut off"


def test_paper_mlp_has_the_layers_of_the_paper():
    vae = build(NetworkShape("mlp", 3, 512, 10, (3, 32, 32)), seed=1)
    sizes = [tuple(module.weight.shape) for module in vae.modules() if isinstance(module, nn.Linear)]
    assert sizes == [(512, 3072), (512, 512), (512, 512), (20, 512), (512, 10), (512, 512), (512, 512), (3072, 512)]


def test_paper_cnn_has_the_layers_of_the_paper():
    vae = build(NetworkShape("cnn", 3, 64, 10, (3, 32, 32)), seed=1)
    down = [m for m in vae.encoder.modules() if isinstance(m, nn.Conv2d)]
    up = [m for m in vae.decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [(m.in_channels, m.out_channels) for m in down] == [(3, 64), (64, 64), (64, 64)]
    assert [(m.in_channels, m.out_channels) for m in up] == [(64, 64), (64, 64), (64, 3)]
    assert {(m.kernel_size, m.stride, m.padding) for m in [*down, *up]} == {((4, 4), (2, 2), (1, 1))}
    linear = [tuple(m.weight.shape) for m in vae.modules() if isinstance(m, nn.Linear)]
    assert linear == [(20, 64 * 4 * 4), (64 * 4 * 4, 10)]


@pytest.mark.parametrize(("architecture", "width"), [("mlp", 11), ("cnn", 3), ("linear", 1)])
def test_initial_weights_depend_on_the_seed_alone(architecture, width):
    shape = NetworkShape(architecture, 2, width, 2, (3, 8, 8))
    torch.manual_seed(7)
    first = _weights(build(shape, seed=1))
    before = torch.random.get_rng_state()
    torch.manual_seed(8)
    torch.testing.assert_close(_weights(build(shape, seed=1)), first, rtol=0, atol=0)
    assert not torch.equal(_weights(build(shape, seed=2)), first)
    torch.manual_seed(7)
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"


@pytest.mark.parametrize(("architecture", "width"), [("mlp", 64), ("cnn", 16)])
def test_initial_weights_have_the_spread_of_pytorchs_own(architecture, width):
    shape = NetworkShape(architecture, 2, width, 10, (3, 32, 32))
    ours = build(shape, seed=1)
    for module in ours.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            reference = module.weight.detach().clone()
            spread = module.weight.detach().std()
            module.reset_parameters()
            torch.testing.assert_close(spread, module.weight.detach().std(), rtol=0.15, atol=0)
            assert reference.shape == module.weight.shape


@pytest.mark.parametrize(("architecture", "width"), [("mlp", 64), ("cnn", 16)])
def test_he_weights_are_normal_with_variance_two_over_fan_in_and_no_bias(architecture, width):
    vae = build(NetworkShape(architecture, 2, width, 10, (3, 32, 32)), seed=1, initialization="he")
    for module in vae.modules():
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            fan_in = module.weight[0].numel()
            if isinstance(module, nn.ConvTranspose2d):  # stride 2: a place is fed by a quarter of the 4 × 4 kernel
                fan_in = module.in_channels * 4
            assert module.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.15)
            assert module.bias is not None
            assert not module.bias.any()


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_he_weights_keep_the_scale_of_what_passes_where_the_default_loses_it(architecture):
    shape = NetworkShape(architecture, 3, 64 if architecture == "mlp" else 16, 10, (3, 32, 32))
    z = torch.randn(997, 10, generator=torch.Generator().manual_seed(1))
    he, default = (build(shape, seed=1, initialization=name).decoder(z).std().item() for name in ("he", "default"))
    assert 0.5 < he < 3
    assert default < 0.2
