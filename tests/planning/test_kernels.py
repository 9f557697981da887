"""The bound of a step on a GPU, against the review's own model of it, and against counts by hand."""

import pytest

from rdstudy.model.architectures import network_cost
from rdstudy.model.description import NetworkShape
from rdstudy.planning.cards import CARDS, Card, card_called
from rdstudy.planning.kernels import _of_cost, fused_step_kernels, step_kernels, step_seconds, updated_step_kernels

H100_PEAK = Card("H100 peak", 80, 66.9e12, 494e12, 3.35e12)
H200_REACHED = Card("H200 reached", 141, 48e12, 220e12, 4.1e12)

# Microseconds of a member and step at batch 128, by another program: float32, the same fused, TF32, the same fused.
REVIEWED = {
    ("mlp", 1, H100_PEAK): (61.4, 42.8, 43.5, 31.6),
    ("mlp", 3, H100_PEAK): (83.8, 60.5, 59.4, 45.0),
    ("cnn", 1, H100_PEAK): (64.8, 60.0, 64.6, 59.0),
    ("cnn", 3, H100_PEAK): (175.4, 169.6, 79.3, 74.2),
    ("mlp", 1, H200_REACHED): (67.5, 45.3, 35.5, 26.0),
    ("cnn", 3, H200_REACHED): (221.4, 216.7, 81.4, 76.0),
}


def paper_shape(architecture: str, depth: int, **changed: str) -> NetworkShape:
    return NetworkShape(architecture, depth, 512 if architecture == "mlp" else 64, 10, (3, 32, 32), **changed)


@pytest.mark.parametrize(("architecture", "depth", "card"), REVIEWED)
def test_kernels_add_up_to_what_was_modelled_elsewhere(architecture, depth, card):
    shape = paper_shape(architecture, depth)
    kernels = step_kernels(shape, network_cost(shape), 128)
    fused = fused_step_kernels(shape, 128, members_of_seed=12)
    times = [step_seconds(each, card, how) for how in ("float32", "tf32") for each in (kernels, fused)]
    assert [round(1e6 * seconds, 1) for seconds in times] == list(REVIEWED[architecture, depth, card])


@pytest.mark.parametrize("architecture", ["mlp", "cnn"])
def test_operations_are_those_of_the_cost_and_no_kernel_is_faster_than_its_parts(architecture):
    shape = paper_shape(architecture, 3)
    cost = network_cost(shape)
    kernels = step_kernels(shape, cost, 128)
    assert sum(kernel.operations for kernel in kernels) == cost.step_operations(128)
    for card in CARDS.values():
        together = max(
            sum(kernel.operations for kernel in kernels) / card.float32,
            sum(kernel.traffic for kernel in kernels) / card.bandwidth,
        )
        assert together <= (1 + 1e-9) * step_seconds(kernels, card) <= 2.1 * together


def test_an_update_where_a_gradient_is_made_saves_writing_and_reading_it():
    shape = paper_shape("mlp", 3)
    cost = network_cost(shape)
    kernels, updated = step_kernels(shape, cost, 128), updated_step_kernels(shape, 128)
    assert sum(k.operations for k in updated) == sum(k.operations for k in kernels)
    assert sum(k.traffic for k in kernels) - sum(k.traffic for k in updated) == 2 * 4 * cost.parameters
    assert len(kernels) - len(updated) == 1
    fused = fused_step_kernels(shape, 128, members_of_seed=12)
    assert step_seconds(fused, H100_PEAK) < step_seconds(updated, H100_PEAK) < step_seconds(kernels, H100_PEAK)


def test_the_products_at_the_latent_code_are_float32():
    shape = paper_shape("mlp", 1)
    kernels = step_kernels(shape, network_cost(shape), 128)
    latent = [kernel for kernel in kernels if kernel.is_latent]
    assert sum(kernel.operations for kernel in latent) == 2 * 128 * 3 * (512 * 20 + 10 * 512)
    slow = Card("slow", 1, 1e9, 1e15, 1e15)
    assert step_seconds(kernels, slow, "tf32") == pytest.approx(sum(k.operations for k in latent) / 1e9, rel=1e-2)


def test_a_network_whose_layers_are_not_described_takes_about_as_long():
    for depth in (1, 3):
        shape = paper_shape("mlp", depth)
        layers, sums = step_kernels(shape, network_cost(shape), 128), tuple(_of_cost(network_cost(shape), 128))
        assert step_seconds(sums, CARDS["H100"]) == pytest.approx(step_seconds(layers, CARDS["H100"]), rel=0.02)
    trained = paper_shape("mlp", 1, prior="mixture(k=3)")
    assert [kernel.name for kernel in step_kernels(trained, network_cost(trained), 128)] == [
        "images",
        "products",
        "between products",
        "Adam",
    ]


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L40S", None),
        ("NVIDIA A10", None),
        ("Tesla T4", None),
    ],
)
def test_a_card_is_known_by_what_cuda_calls_it(name, card):
    assert card_called(name) == (CARDS[card] if card else None)


def test_no_more_is_taken_to_be_reached_than_the_sheet_says():
    for card in CARDS.values():
        reached = card.reached
        assert reached.float32 < card.float32
        assert reached.float32 <= reached.tf32 < card.tf32
        assert reached.bandwidth < card.bandwidth
