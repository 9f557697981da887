"""TF32 where it is asked for and nowhere else: rounding, which products are rounded, and what rows say."""

import dataclasses
import struct
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rdstudy.model.full_precision import FullPrecisionLinear, float32_products, keep_latent_layers
from rdstudy.model.networks import NetworkShape, build
from rdstudy.planning.packs import Pack
from rdstudy.study import Recipe
from rdstudy.training.precision import RoundedOperands, rounded, training_products
from rdstudy.training.process import training_settings
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import StepMode
from tests.training.conftest import MEMBER, SIDE, Slot, finish

TF32 = dataclasses.replace(MEMBER, recipe=dataclasses.replace(MEMBER.recipe, precision="tf32"))
SHAPE = (3, SIDE, SIDE)
CPU = torch.device("cpu")


def slowly_rounded(number: float) -> float:
    """The nearest number with 10 bits behind the point, of two the one further from zero."""
    if number == 0 or not np.isfinite(number):
        return number
    scale = 2.0 ** (np.floor(np.log2(abs(number))) - 10)
    return float(np.sign(number) * np.floor(abs(number) / scale + 0.5) * scale)


def test_rounding_is_that_of_the_hardware():
    generator = torch.Generator().manual_seed(5)
    numbers = torch.randn(1009, generator=generator) * 10.0 ** torch.randint(-9, 9, (1009,), generator=generator)
    ties = torch.tensor([1 + 2.0**-11, -1 - 2.0**-11, 1 + 3 * 2.0**-11, 1.0, 0.0, -0.0, float("inf"), -float("inf")])
    for x in (numbers, ties):
        assert rounded(x).tolist() == [slowly_rounded(number) for number in x.tolist()]
    assert struct.pack("f", rounded(torch.tensor(-0.0)).item()) == struct.pack("f", -0.0)
    assert rounded(torch.tensor([float("nan"), 1e38 * float("inf") * 0])).isnan().all()


def reference_step(network: nn.Linear, x: Tensor, cotangent: Tensor, *, wide: bool) -> list[Tensor]:
    """Output and gradients of a linear layer with rounded operands, in products that nothing intercepts."""
    near: Callable[[Tensor], Tensor] = rounded if wide else lambda operand: operand
    weight, bias = network.weight.detach(), network.bias.detach()
    return [
        near(x) @ near(weight).T + bias,
        near(cotangent) @ near(weight),
        near(cotangent).T @ near(x),
        cotangent.sum(0),
    ]


@pytest.mark.parametrize("wide", [True, False])
def test_operands_are_rounded_forward_and_backward_but_for_the_latent_layers(wide):
    generator = torch.Generator().manual_seed(2)
    layer = nn.Linear(7, 3)
    x = torch.randn(5, 7, generator=generator, requires_grad=True)
    cotangent = torch.randn(5, 3, generator=generator)
    network = layer if wide else FullPrecisionLinear(layer)
    with RoundedOperands():
        output = network(x)
        output.backward(cotangent)
    actual = [output, x.grad, layer.weight.grad, layer.bias.grad]
    for one, expected in zip(actual, reference_step(layer, x.detach(), cotangent, wide=wide), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-6, atol=1e-6)
    exact = reference_step(layer, x.detach(), cotangent, wide=False)
    assert ((output - exact[0]).abs().max() > 1e-5) == wide, "TF32 is seen in the output"


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_convolutions_round_their_operands(kind):
    generator = torch.Generator().manual_seed(2)
    layer = kind(3, 5, 4, 2, 1)
    x = torch.randn(2, 3, 4, 4, generator=generator)

    def gradients(images: Tensor, weight: Tensor, cotangent: Tensor) -> list[Tensor]:
        images, weight = images.clone().requires_grad_(), weight.clone().requires_grad_()
        output = torch.func.functional_call(layer, {"weight": weight, "bias": layer.bias}, (images,))
        return [output.detach(), *torch.autograd.grad(output, (images, weight), cotangent)]

    cotangent = torch.randn(layer(x).shape, generator=generator)
    with RoundedOperands():
        actual = gradients(x, layer.weight.detach(), cotangent)
    expected = gradients(rounded(x), rounded(layer.weight.detach()), rounded(cotangent))
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    assert (actual[0] - layer(x)).abs().max() > 1e-5


def test_the_gradient_of_a_bias_is_a_sum():
    layer, x = nn.Conv2d(3, 5, 4, 2, 1), torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(3))
    cotangent = torch.randn(2, 5, 2, 2, generator=torch.Generator().manual_seed(4))
    with RoundedOperands():
        layer(x).backward(cotangent)
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias.grad, cotangent.sum((0, 2, 3)))


@pytest.mark.parametrize(
    ("architecture", "prior", "latent"),
    [
        ("mlp", "normal", ["encoder.4", "decoder.0"]),
        ("cnn", "normal", ["encoder.6", "decoder.0"]),
        ("mlp", "flow(layers=2)", ["encoder.4", "decoder.0", "prior"]),
    ],
)
def test_the_latent_layers_are_kept_and_no_others(architecture, prior, latent):
    shape = NetworkShape(architecture, 2, 11, 2, (3, 8, 8), prior)
    before, vae = build(shape, seed=3), keep_latent_layers(build(shape, seed=3), 2)
    kept = {name for name, module in vae.named_modules() if isinstance(module, FullPrecisionLinear)}
    assert {name if name in latent else name.partition(".")[0] for name in kept} == set(latent)
    assert not any(type(module) is nn.Linear for module in vae.prior.modules())
    assert list(vae.state_dict()) == list(before.state_dict())
    assert all(torch.equal(value, before.state_dict()[name]) for name, value in vae.state_dict().items())
    x = torch.rand(5, 192, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(vae.encoder(x), before.encoder(x))


def test_an_architecture_without_a_fully_connected_latent_layer_is_refused():
    vae = build(NetworkShape("cnn", 1, 5, 2, (3, 8, 8)), seed=3)
    vae.encoder = nn.Sequential(nn.Conv2d(3, 5, 4))
    with pytest.raises(ValueError, match=r"encoder has none; allowed for this architecture: float32"):
        keep_latent_layers(vae, 2)


def test_full_precision_is_switched_on_around_the_product_alone(monkeypatch):
    """What a GPU would see: TF32 for all products of a step but those of the latent layers."""
    seen: list[tuple[str, bool]] = []

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
                seen.append((str(func), torch.backends.cuda.matmul.allow_tf32))
            return func(*args, **(kwargs or {}))

    plain, kept = nn.Linear(7, 3), FullPrecisionLinear(nn.Linear(3, 2))
    product = torch.matmul

    def watched(left: Tensor, right: Tensor) -> Tensor:
        seen.append(("kept", _allowed()))
        return product(left, right)

    monkeypatch.setattr(torch, "matmul", watched)
    with training_settings():
        torch.backends.cuda.matmul.allow_tf32 = True
        with Watch():
            kept(plain(torch.ones(5, 7, requires_grad=True))).sum().backward()
        with float32_products():
            assert not _allowed()
        assert _allowed()
    assert {flag for name, flag in seen if name == "kept"} == {False}
    assert sum(name == "kept" for name, _ in seen) == 3, "forward, and two gradients"
    assert {flag for name, flag in seen if name != "kept"} == {True}


def _allowed() -> bool:
    return bool(torch.backends.cuda.matmul.allow_tf32)


@pytest.mark.parametrize(("architecture", "backend"), [("mlp", None), ("cnn", None), ("mlp", "aot_eager")])
def test_a_pack_in_tf32_is_what_its_members_are_alone(subsets, architecture, backend):
    """The latent layers alone are special to a compiler, and alike in all architectures."""
    members = [
        dataclasses.replace(TF32, beta=beta, architecture=architecture, depth=1, width=5) for beta in (0.1, 1.0, 3.0)
    ]
    modes = None if backend is None else (StepMode("compiled", backend, None),)
    pack = StackedTrainer(members, subsets.train, image_shape=SHAPE, device=CPU, modes=modes)
    alone = StackedTrainer(members[1:2], subsets.train, image_shape=SHAPE, device=CPU)
    precisions = [None if backend else "tf32", None if backend else "tf32"]
    for trainer, precision in zip((pack, alone), precisions, strict=True):
        with training_settings(), training_products(precision or "float32", CPU):
            trainer.advance(0, 7)
    torch.testing.assert_close(pack.weights(1), alone.weights(0), rtol=1e-3, atol=1e-5)


def test_members_in_tf32_train_to_other_numbers_and_their_rows_say_so(subsets):
    finished = {}
    for member in (MEMBER, TF32):
        result = finish(Pack((member,)), subsets, Slot())
        assert result is not None
        finished[member.recipe.precision] = result.members[0]
    exact, near = finished["float32"], finished["tf32"]
    assert exact["precision"] == exact["product_precision"] == "float32"
    assert (near["precision"], near["product_precision"]) == (
        "tf32",
        "tf32 by rounded operands, float32 at the latent code",
    )
    assert near["distortion"] != exact["distortion"]
    assert near["distortion"] == pytest.approx(exact["distortion"], rel=0.05)


def test_what_was_used_is_remembered_through_an_interruption(subsets):
    slot = Slot()
    assert finish(Pack((TF32,)), subsets, slot, stop_after=6) is None
    resumed, whole = (finish(Pack((TF32,)), subsets, each) for each in (slot, Slot()))
    assert resumed is not None
    assert whole is not None
    drop = {"wall_seconds", "peak_memory_bytes"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in resumed.members] == [
        {k: v for k, v in row.items() if k not in drop} for row in whole.members
    ]


def test_measures_are_not_rounded(subsets):
    trainer = StackedTrainer([TF32], subsets.train, image_shape=SHAPE, device=CPU)
    plain = StackedTrainer([MEMBER], subsets.train, image_shape=SHAPE, device=CPU)
    values = [each.measure(subsets.final["test"].blocks(), purpose="final test") for each in (trainer, plain)]
    assert values[0].distortion == pytest.approx(values[1].distortion, rel=1e-6)


def test_rows_say_what_a_gpu_used_and_not_what_was_asked(monkeypatch):
    gpu: Any = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    with training_settings():
        with training_products("float32", gpu) as used:
            assert used == "float32"
        with training_products("tf32", gpu) as used:
            assert used == "tf32, float32 at the latent code"
            assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
        torch.backends.cudnn.allow_tf32 = True
        with training_products("float32", gpu) as used:
            assert used == "products float32, convolutions tf32"
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        with training_products("tf32", gpu) as used:
            assert used == "float32"


def test_a_gpu_without_tf32_is_refused(monkeypatch):
    gpu: Any = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with (
        pytest.raises(ValueError, match=r"Tesla T4 does not have; allowed there: float32"),
        training_products("tf32", gpu),
    ):
        pass


def test_an_id_says_tf32_and_says_nothing_of_float32():
    assert Recipe().precision == "float32"
    assert dataclasses.replace(MEMBER, recipe=dataclasses.replace(MEMBER.recipe, precision="float32")) == MEMBER
    assert TF32.member_id != MEMBER.member_id
    assert TF32.stack != MEMBER.stack, "they take different steps"
