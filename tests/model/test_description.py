"""What plans sum over is what PyTorch builds."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from rdstudy.model.architectures import describe, network_cost
from rdstudy.model.networks import VAE, NetworkShape, cost_of_modules, modules_of
from rdstudy.model.priors import make_prior
from rdstudy.study import parts

SHAPES = [
    NetworkShape(architecture, depth, width, latent, image_shape)
    for architecture, width in (("mlp", 13), ("cnn", 11), ("linear", 1))
    for depth in (1, 2, 3)
    for latent, image_shape in ((1, (1, 8, 24)), (7, (3, 16, 8)))
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.architecture}-{shape.depth}-{shape.latent_dim}")
def test_counts_on_the_modules_equal_the_sums_of_the_description(shape):
    with torch.device("meta"):
        vae = modules_of(shape)
    assert cost_of_modules(vae, shape) == network_cost(shape)
    assert network_cost(shape).parameters == sum(parameter.numel() for parameter in vae.parameters())


def test_every_architecture_of_a_study_is_described():
    for architecture in parts.names("architecture"):
        description = describe(NetworkShape(architecture, 1, 2, 3, (1, 4, 4)))
        assert description is not None
        assert description.layers


def test_a_strangers_module_has_a_cost():
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(7, 7)
            self.scale = nn.Parameter(torch.ones(7))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y: torch.Tensor = self.inner(x)
            return x + self.scale * y

    encoder = nn.Sequential(nn.Linear(12, 7), nn.LayerNorm(7), Residual(), nn.Linear(7, 4))
    shape = NetworkShape("strange", 1, 7, 2, (3, 2, 2))
    vae = VAE(encoder, nn.Linear(2, 12), make_prior(shape))
    cost = cost_of_modules(vae, shape)
    assert cost.parameters == sum(parameter.numel() for parameter in vae.parameters())
    assert cost.products == 12 * 7 + 7 * 7 + 7 * 4 + 2 * 12
    assert (cost.first_products, cost.largest_layer, cost.widest) == (12 * 7, 13 * 7, 12)
    assert cost.numbers == 7 + 7 + 7 + 7 + 4 + 12


def test_a_description_needs_the_standard_library_alone():
    code = "import sys; import rdstudy.model.architectures; print(*{'torch', 'numpy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
