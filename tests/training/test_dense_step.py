"""Fully connected networks by kernels that train a weight where its gradient is made: equal to plain steps.

Triton's interpreter runs the kernels on a CPU. Sizes are distinct primes, so that each tile has an edge, and some are
beyond a tile.
"""

import contextlib
import dataclasses
import gc
import importlib
import logging
import re
import subprocess
import sys
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import triton
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.interpreter import GridExecutor

from rdstudy.datasets.splits import Split
from rdstudy.model.likelihoods import likelihood
from rdstudy.study import Member
from rdstudy.training import Subsets, make_subsets
from rdstudy.training.dense_step import Adam, DenseLayer, Moments, Operations, PyTorch, Rates, Shared, reason_against
from rdstudy.training.precision import RoundedOperands
from rdstudy.training.stacked import StackedTrainer
from rdstudy.training.step_modes import FUSED_MODES, GPU_MODES, StepMode
from tests.training.conftest import IMAGES, MEMBER, SIDE, TRAIN, toy_dataset
from tests.training.test_step_modes import RECORDING

pytestmark = pytest.mark.heavy

CPU = torch.device("cpu")
KERNELS = "rdstudy.training.dense_kernels"
STEPS = 5  # crosses an epoch
PLAIN = StepMode("plain steps", None, None)
WAYS = ("updates", "all")
FUSED = {kernels: StepMode(f"fused {kernels}", None, None, kernels=kernels) for kernels in WAYS}
SHAPE = (3, SIDE, SIDE)


@pytest.fixture(autouse=True)
def interpreter(monkeypatch) -> Iterator[None]:
    """Kernels run in Triton's interpreter, which is chosen as their module is imported."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, KERNELS, raising=False)
    yield
    sys.modules.pop(KERNELS, None)


@pytest.fixture
def images() -> Subsets:
    """After `float64`, where a test asks for both."""
    split = Split(np.arange(TRAIN), np.arange(TRAIN, IMAGES))
    return make_subsets(toy_dataset(), split, MEMBER.evaluation, study_seed=0)


def members_of(
    *, rates: tuple[float, ...] = (1e-3,), decays: tuple[float, ...] = (0.0,), **settings: Any
) -> tuple[Member, ...]:
    """Three members of two seeds in no particular order."""
    names = ("optimizer", "schedule")
    recipe = dataclasses.replace(MEMBER.recipe, **{name: settings.pop(name) for name in names if name in settings})
    pairs = ((0.7, 3), (0.0, 2), (3.0, 3))
    return tuple(
        dataclasses.replace(
            MEMBER,
            beta=beta,
            seed=seed,
            recipe=dataclasses.replace(
                recipe, learning_rate=rates[at % len(rates)], weight_decay=decays[at % len(decays)]
            ),
            **settings,
        )
        for at, (beta, seed) in enumerate(pairs)
    )


def trainer(members: tuple[Member, ...], images: Subsets, *modes: StepMode) -> StackedTrainer:
    return StackedTrainer(members, images.train, image_shape=images.image_shape, device=CPU, modes=modes)


def assert_equal(first: StackedTrainer, other: StackedTrainer) -> None:
    for name, parameter in first.parameters.items():
        torch.testing.assert_close(other.parameters[name], parameter, rtol=1e-9, atol=1e-11)
    assert first.nonfinite_steps == other.nonfinite_steps


PACKS: dict[str, dict[str, Any]] = {
    "paper": {},
    "three layers": {"depth": 3},
    "no hidden layer": {"architecture": "linear"},
    "Gaussian pixels": {"likelihood": "gaussian"},
    "learning rates": {"rates": (1e-3, 3e-3, 1e-2)},
    "decay": {"decays": (0.0, 0.1)},
    "AdamW": {"optimizer": "adamw", "decays": (0.0, 0.1), "rates": (1e-3, 3e-3)},
    "cosine": {"schedule": "cosine", "rates": (1e-3, 3e-3)},
    "warm-up of β": {"objective": "warmup(steps=4)"},
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernels", WAYS)
@pytest.mark.parametrize("pack", PACKS)
def test_fused_steps_equal_plain_ones(images, pack, kernels, caplog):
    members = members_of(**PACKS[pack])
    plain, fused = trainer(members, images, PLAIN), trainer(members, images, FUSED[kernels], PLAIN)
    started = {name: parameter.detach().clone() for name, parameter in plain.parameters.items()}
    for each in (plain, fused):
        each.advance(0, STEPS)
    assert fused.step_mode == f"stacked, fused {kernels}", caplog.text
    assert_equal(plain, fused)
    assert not any(torch.allclose(started[name], parameter) for name, parameter in plain.parameters.items())


@pytest.mark.parametrize("kernels", WAYS)
def test_in_float32_they_are_equal_within_rounding(images, kernels):
    """Of one kind of numbers, rounding is what differs: of Adam's first steps, whose size forgets the gradient's."""
    members = members_of(width=71)
    plain, fused = trainer(members, images, PLAIN), trainer(members, images, FUSED[kernels], PLAIN)
    for each in (plain, fused):
        each.advance(0, 3)
    for name, parameter in plain.parameters.items():
        # where a gradient is next to nothing its rounding is a part of a step, of three steps of 1e-3
        torch.testing.assert_close(fused.parameters[name], parameter, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rates", [(1e-3,), (1e-3, 3e-3)])
@pytest.mark.parametrize("kernels", WAYS)
def test_what_was_interrupted_goes_on_in_either_way(images, kernels, rates):
    """PyTorch's own state of the optimizer is what kernels read and write."""
    members = members_of(rates=rates, architecture="linear")
    plain = trainer(members, images, PLAIN)
    plain.advance(0, STEPS)
    for first, second in ((FUSED[kernels], FUSED[kernels]), (FUSED[kernels], PLAIN), (PLAIN, FUSED[kernels])):
        begun, resumed = trainer(members, images, first), trainer(members, images, second)
        begun.advance(0, 3)
        resumed.advance(0, 1)  # has a state of its own, which is replaced
        resumed.load_state(begun.state())
        resumed.advance(3, STEPS - 3)
        assert_equal(plain, resumed)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernels", WAYS)
def test_a_member_that_becomes_nan_is_noted_and_touches_no_other(images, kernels):
    members = members_of()
    plain, fused = trainer(members, images, PLAIN), trainer(members, images, FUSED[kernels])
    for each in (plain, fused):
        each.advance(0, 3)
        with torch.no_grad():
            each.parameters["encoder.0.weight"][1] = torch.nan
        each.advance(3, 2)
    assert fused.nonfinite_steps == plain.nonfinite_steps == (None, 3, None)
    for name, parameter in plain.parameters.items():
        torch.testing.assert_close(fused.parameters[name], parameter, rtol=1e-9, atol=1e-11, equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kernels", WAYS)
def test_a_members_numbers_do_not_depend_on_its_neighbours(images, kernels):
    members = members_of(rates=(1e-3, 3e-3), architecture="linear")
    together, few = trainer(members, images, FUSED[kernels]), trainer(members[1:3], images, FUSED[kernels])
    for each in (together, few):
        each.advance(0, 3)
    for name, parameter in few.parameters.items():
        torch.testing.assert_close(parameter, together.parameters[name][1:3], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"architecture": "cnn"}, "architecture cnn is not of fully connected layers alone"),
        ({"prior": "mixture(k=3)"}, "prior mixture(k=3) is not normal"),
        ({"likelihood": "gaussian(sigma=optimal)"}, "likelihood gaussian(sigma=optimal) has no closed form"),
        ({"objective": "no_marginal_kl"}, "objective no_marginal_kl is not β times the rate"),
        ({"optimizer": "sgd"}, "optimizer sgd is not one of adam, adamw"),
    ],
)
def test_what_is_not_supported_is_not_tried_and_the_reason_is_logged(images, settings, reason, caplog):
    members = members_of(**settings)
    refused = reason_against(members[0], SHAPE)
    assert refused is not None
    assert refused.startswith(reason)
    with caplog.at_level(logging.INFO):
        pack = trainer(members, images, FUSED["updates"], PLAIN)
        pack.advance(0, 2)
    assert pack.step_mode == "stacked, plain steps"
    assert [(record.levelname, refused in record.message) for record in caplog.records] == [("INFO", True)]


def test_the_paper_can_take_the_fused_step_which_waits_until_a_gpu_has_confirmed_it(images):
    assert [mode.kernels for mode in FUSED_MODES] == ["updates", "all"]
    assert not set(FUSED_MODES) & set(GPU_MODES)
    assert reason_against(members_of()[0], SHAPE) is None
    assert all(mode.kernels is None for mode in trainer(members_of(), images, PLAIN)._modes)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("trouble", ["no Triton", "a wrong update", "a wrong product"])
def test_what_cannot_be_used_gives_way_and_no_step_is_lost(images, trouble, monkeypatch, caplog):
    if trouble == "no Triton":
        monkeypatch.setitem(sys.modules, KERNELS, None)
    else:
        from rdstudy.training.dense_kernels import Kernels

        update, product = Kernels.update, Kernels.input_gradient
        if trouble == "a wrong update":
            monkeypatch.setattr(Kernels, "update", lambda me, at, x, of, *rest: update(me, at, x, 1.01 * of, *rest))
        else:
            monkeypatch.setattr(Kernels, "input_gradient", lambda *given: 1.01 * product(*given))
    members = members_of()
    plain, other = trainer(members, images, PLAIN), trainer(members, images, FUSED["all"], PLAIN)
    for each in (plain, other):
        each.advance(0, 3)
    assert other.step_mode == "stacked, plain steps"
    assert_equal(plain, other)
    assert len(caplog.records) == 1
    said = {
        "no Triton": KERNELS,
        "a wrong update": "an update with weights",
        "a wrong product": "a product with weights",
    }
    assert said[trouble] in caplog.text


@pytest.mark.usefixtures("float64")
def test_fused_steps_can_be_recorded_and_replayed(images):
    """As a graph of a GPU is, but for the kernels: the reference stands for them, which PyTorch's recorder can see."""
    members = members_of(rates=(1e-3, 3e-3), schedule="cosine")
    from rdstudy.training.dense_kernels import Kernels

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kernels, "update", lambda _, *arguments: PyTorch().update(*arguments))
        plain = trainer(members, images, PLAIN)
        replayed = trainer(members, images, dataclasses.replace(FUSED["updates"], capture=RECORDING))
        for each in (plain, replayed):
            each.advance(0, 67)  # past a chunk of noise
    assert replayed.step_mode == "stacked, fused updates"
    assert_equal(plain, replayed)


@pytest.mark.usefixtures("float64")
def test_a_pack_that_has_ended_holds_nothing(images):
    pack = trainer(members_of(architecture="linear"), images, FUSED["updates"])
    pack.advance(0, 1)
    assert pack._dense is not None
    held = weakref.ref(pack._dense)
    gc.collect()
    gc.disable()
    try:
        pack.close()
        assert held() is None, "no collection is needed"
    finally:
        gc.enable()


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # PyTorch's compiler itself
@pytest.mark.parametrize("kernels", WAYS)
def test_what_is_between_kernels_can_be_compiled(images, kernels, caplog):
    """The compiler of a GPU's path, with its CPU part."""
    members = members_of(optimizer="adamw", rates=(1e-3, 3e-3))
    plain = trainer(members, images, PLAIN)
    fused = trainer(members, images, dataclasses.replace(FUSED[kernels], backend="inductor"), PLAIN)
    for each in (plain, fused):
        each.advance(0, 2)
    assert fused.step_mode == f"stacked, fused {kernels}", caplog.text
    assert_equal(plain, fused)


class Watched(TorchDispatchMode):
    """The shapes of all tensors that PyTorch makes, and this project's kernels by name."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.launched: Counter[str] = Counter()
        launch = GridExecutor.__call__

        def noted(executor, *arguments, **settings):
            self.launched[executor.fn.__name__] += 1
            with _disable_current_modes():  # the interpreter's own copies
                return launch(executor, *arguments, **settings)

        patch.setattr(GridExecutor, "__call__", noted)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.shapes += [tuple(leaf.shape) for leaf in tree_leaves(output) if isinstance(leaf, torch.Tensor)]
        return output


KERNELS_OF: dict[str, dict[str, int]] = {
    "plain": {},
    "updates": {"_update": 4},
    "all": {"_outputs": 4, "_input_gradient": 3, "_update": 4},
}


@pytest.mark.parametrize("way", KERNELS_OF)
def test_what_is_fused_is_never_stored(images, monkeypatch, way):
    """No gradient of a weight; and of numbers an image and member, the gradient of the output alone."""
    members = members_of()
    pack = trainer(members, images, {"plain": PLAIN, **FUSED}[way])
    pack.advance(0, 1)
    with Watched(monkeypatch) as watched:
        pack._take()
    weights = {tuple(parameter.shape) for parameter in pack.parameters.values() if parameter.ndim == 3}
    assert bool(weights & set(watched.shapes)) == (way == "plain")
    of_all_pixels = watched.shapes.count((len(members), MEMBER.recipe.batch_size, 3 * SIDE * SIDE))
    assert of_all_pixels == 1 if way == "all" else of_all_pixels > 2
    assert watched.launched == KERNELS_OF[way]


def layer_of(inputs: int, outputs: int, *, is_latent: bool = False) -> DenseLayer:
    generator = torch.Generator().manual_seed(2)
    weight, *of_weight = (torch.randn(3, inputs, outputs, generator=generator).abs() for _ in range(3))
    bias, *of_bias = (torch.randn(3, outputs, generator=generator).abs() for _ in range(3))
    flags = {"is_rectified": True, "reads_rectified": True, "is_latent": is_latent}
    return DenseLayer(weight, bias, Moments(*of_weight), Moments(*of_bias), **flags)


@pytest.mark.parametrize("is_latent", [True, False])
def test_tf32_rounds_as_the_reference_does_but_for_the_latent_layers(is_latent):
    from rdstudy.training.dense_kernels import Kernels

    generator = torch.Generator().manual_seed(5)
    x = Shared(torch.randn(2, 37, 67, generator=generator), torch.tensor([1, 0, 1]))
    gradient = torch.randn(3, 37, 71, generator=generator)
    rates = Rates(*(torch.rand(3, generator=generator) for _ in range(3)))
    adam = Adam(0.9, 0.999, 1e-8, is_decoupled=False)
    exact, reference, fused = (layer_of(67, 71, is_latent=is_latent) for _ in range(3))
    PyTorch().update(exact, x, gradient, rates, adam)
    with RoundedOperands():
        PyTorch().update(reference, x, gradient, rates, adam)
    Kernels(3, CPU, is_tf32=True).update(fused, x, gradient, rates, adam)
    for value, expected in zip(fused.numbers, reference.numbers, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    off = (exact.of_weight.mean - fused.of_weight.mean).abs().max()
    assert (off > 1e-4) == (not is_latent), "TF32 is seen"


@pytest.mark.parametrize("is_tf32", [False, True])
@pytest.mark.parametrize("is_latent", [True, False])
def test_products_are_those_of_pytorch_with_what_follows_them(is_tf32, is_latent):
    """Rows are shared, tiles have edges, and a NaN passes a ReLU as it does in PyTorch."""
    from rdstudy.training.dense_kernels import Kernels

    generator = torch.Generator().manual_seed(5)
    layer = layer_of(67, 71, is_latent=is_latent)
    x, images = (
        Shared(torch.randn(2, 131, features, generator=generator), torch.tensor([1, 0, 1])) for features in (67, 71)
    )
    gradient = torch.randn(3, 131, 71, generator=generator)
    x.values[0, 5, 11] = torch.nan

    def results(operations: Operations) -> list[torch.Tensor]:
        last = dataclasses.replace(layer, is_rectified=False)
        return [
            operations.outputs(layer, x),
            operations.output_gradient(last, x, images, likelihood("bernoulli")),
            operations.input_gradient(layer, gradient, x.of_members),
        ]

    exact = results(PyTorch())
    with RoundedOperands() if is_tf32 else contextlib.nullcontext():
        reference = results(PyTorch())
    fused = results(Kernels(3, CPU, is_tf32=is_tf32))
    for value, expected in zip(fused, reference, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert expected.isnan().any() == (value is not fused[2])
    off = max(float((near - right).nan_to_num().abs().max()) for near, right in zip(fused, exact, strict=True))
    assert (off > 1e-3) == (is_tf32 and not is_latent), "TF32 is seen"


@pytest.mark.slow
@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("is_tf32", [False, True])
def test_kernels_compile_for_gpus_and_need_no_more_registers_than_there_are(tmp_path, monkeypatch, capability, is_tf32):
    """Without a GPU: what the interpreter takes, the compiler need not take."""
    monkeypatch.delenv("TRITON_INTERPRET")
    dense_kernels = importlib.import_module(KERNELS)  # as the fixture left it: not there
    tile, images, inner = dense_kernels.TILE, dense_kernels.BATCH, dense_kernels.INNER
    of_update = {"beta_mean": 0.9, "beta_square": 0.999, "epsilon": 1e-8, "is_decoupled": False}
    kernels = {
        dense_kernels._update: of_update | {"input_block": tile, "output_block": tile, "batch_block": inner},
        dense_kernels._outputs: {"is_rectified": True, "is_bernoulli": True}
        | {"batch_block": images, "output_block": tile, "input_block": inner},
        dense_kernels._input_gradient: {"is_rectified": True}
        | {"batch_block": images, "input_block": tile, "output_block": inner},
    }
    for kernel, constants in kernels.items():
        code = compiled(kernel, dense_kernels.WARPS, constants | {"is_tf32": is_tf32}, capability)
        (tmp_path / "kernel").write_bytes(code)
        used = subprocess.run(
            [triton.knobs.nvidia.cuobjdump.path, "--dump-resource-usage", str(tmp_path / "kernel")],
            capture_output=True,
            text=True,
            check=True,
        )
        print(capability, is_tf32, kernel.__name__, used.stdout)
        assert re.findall(r"STACK:(\d+)", used.stdout) == ["0"], used.stdout


def compiled(kernel: Any, warps: int, constants: dict[str, Any], capability: int) -> bytes:
    """The machine code of a kernel for pointers and sizes that are multiples of 16."""
    signature = {name: _type_of(name) for name in kernel.arg_names} | dict.fromkeys(constants, "constexpr")
    source = ASTSource(
        kernel,
        signature,
        constexprs={(kernel.arg_names.index(name),): value for name, value in constants.items()},
        attrs={(at,): [["tt.divisibility", 16]] for at, kind in enumerate(signature.values()) if kind != "constexpr"},
    )
    code: bytes = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps}).asm[
        "cubin"
    ]
    return code


def _type_of(argument: str) -> str:
    kinds = dict.fromkeys(("batch", "inputs", "outputs"), "i32")
    return (kinds | dict.fromkeys(("row_of_member", "image_of_member"), "*i64")).get(argument, "*fp32")
