"""Convolutions as products of patches are the convolutions that they replace, forward and backward, mapped or not."""

import functools

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from rdstudy.model.networks import NetworkShape, build
from rdstudy.model.patches import PatchConvolution, PatchTransposedConvolution, convolve_patches, is_convertible

pytestmark = pytest.mark.usefixtures("float64")

BATCH, MEMBERS, INPUTS, OUTPUTS = 5, 3, 2, 7
GEOMETRY = ((4, 2, 1), (4, 2, 0), (3, 1, 1), (2, 2, 0), (6, 2, 2), (6, 3, 1), (1, 1, 0))


def layers(kernel: int, stride: int, padding: int, *, bias: bool = True) -> list[tuple[nn.Module, nn.Module]]:
    """Each convolution beside its product of patches."""
    plain = nn.Conv2d(INPUTS, OUTPUTS, kernel, stride, padding, bias=bias)
    transposed = nn.ConvTranspose2d(INPUTS, OUTPUTS, kernel, stride, padding, bias=bias)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in (*plain.parameters(), *transposed.parameters()):
            parameter.normal_(generator=generator)
    return [(plain, PatchConvolution(plain)), (transposed, PatchTransposedConvolution(transposed))]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), GEOMETRY)
def test_values_and_gradients_are_those_of_the_convolution(kernel, stride, padding, bias):
    x = torch.randn(BATCH, INPUTS, 11, 13, generator=torch.Generator().manual_seed(1), requires_grad=True)
    for expected, layer in layers(kernel, stride, padding, bias=bias):
        outputs = [each(x) for each in (expected, layer)]
        torch.testing.assert_close(outputs[1], outputs[0])
        weights = torch.randn(outputs[0].shape, generator=torch.Generator().manual_seed(2))
        leaves = [x, *expected.parameters()]
        gradients = [torch.autograd.grad((output * weights).sum(), leaves) for output in outputs]
        for of_patches, of_convolution in zip(gradients[1], gradients[0], strict=True):
            torch.testing.assert_close(of_patches, of_convolution)


def mapped(layer: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    """A layer over the members of weights `[member, ...]` and images `[member, batch, ...]`."""
    output: Tensor = torch.vmap(lambda own, of: functional_call(layer, own, (of,)))(weights, x)
    return output


@pytest.mark.parametrize("at", [0, 1])
def test_mapped_over_members_they_are_a_batched_product_and_no_convolution(at):
    expected, layer = layers(4, 2, 1)[at]
    x = torch.randn(MEMBERS, BATCH, INPUTS, 8, 6, generator=torch.Generator().manual_seed(1))
    weights = {
        name: torch.stack([(member + 1) * value.detach() for member in range(MEMBERS)])
        for name, value in layer.named_parameters()
    }
    torch.testing.assert_close(mapped(layer, weights, x), mapped(expected, weights, x))
    called = {}
    for each in (expected, layer):
        traced = make_fx(functools.partial(mapped, each))(weights, x)
        called[each] = [str(node.target) for node in traced.graph.nodes]
    assert sum("bmm" in name for name in called[layer]) == 1
    assert not any("convolution" in name for name in called[layer])
    assert any("convolution" in name for name in called[expected])


@pytest.mark.parametrize("depth", [1, 3])
def test_a_network_of_patches_keeps_its_parameters_and_its_values(depth):
    shape = NetworkShape(
        architecture="cnn",
        depth=depth,
        width=5,
        latent_dim=2,
        image_shape=(3, 16, 8),
        likelihood="bernoulli",
        prior="normal",
    )
    vae, changed = build(shape, seed=1), convolve_patches(build(shape, seed=1))
    assert not any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in changed.modules())
    assert list(changed.state_dict()) == list(vae.state_dict())
    x = torch.rand(BATCH, shape.pixels, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(changed.encoder(x), vae.encoder(x))
    z = torch.randn(BATCH, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(changed.decoder(z), vae.decoder(z))


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(2, 4, 3, stride=2),
        nn.Conv2d(2, 4, 4, groups=2),
        nn.Conv2d(2, 4, (4, 2)),
        nn.Conv2d(2, 4, 4, dilation=2),
        nn.Conv2d(2, 4, 3, padding="same"),
        nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(2, 4, 4, stride=2, output_padding=1),
    ],
)
def test_other_convolutions_stay_what_they_are(layer):
    assert not is_convertible(layer)
