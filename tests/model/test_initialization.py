"""Any layer starts from the member's seed, by its own rule; what nothing has initialized is refused by its name."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rdstudy.model import networks
from rdstudy.model.networks import VAE, NetworkShape, build
from rdstudy.model.priors import make_prior

SHAPE = NetworkShape("mlp", 1, 7, 2, (3, 2, 2))


class Gain(nn.Module):
    """A parameter and a buffer as their author makes them, and buffers that no file of weights holds."""

    shift: Tensor
    directions: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.randn(7))
        self.register_buffer("shift", torch.arange(7.0))
        self.register_buffer("directions", torch.randn(7), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x + self.shift + self.directions


class Bare(nn.Module):
    """Memory that nothing sets."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.other = nn.Linear(7, 7)
        if kind == "parameter":
            self.gain = nn.Parameter(torch.empty(7))
        elif kind == "older constructor":
            self.gain = nn.Parameter(torch.Tensor(7))
        elif kind == "buffer":
            self.register_buffer("gain", torch.zeros(7).new_empty(7))
        elif kind == "counts":
            self.register_buffer("gain", torch.empty(7, dtype=torch.int64))
        else:
            self.gain = nn.Parameter(torch.zeros(7))
            with torch.no_grad():
                self.gain[3:].copy_(torch.empty_like(self.gain)[3:])


def use(monkeypatch: pytest.MonkeyPatch, *layers: Callable[[], nn.Module]) -> None:
    def modules_of(shape: NetworkShape) -> VAE:
        made = [layer() for layer in layers]
        return VAE(nn.Sequential(nn.Linear(12, 7), *made, nn.Linear(7, 4)), nn.Linear(2, 12), make_prior(shape))

    monkeypatch.setattr(networks, "modules_of", modules_of)


def tensors_of(vae: VAE) -> dict[str, Tensor]:
    return {**dict(vae.named_parameters()), **dict(vae.named_buffers())}


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "norm": lambda: nn.LayerNorm(7),
    "batch norm": lambda: nn.BatchNorm1d(7),
    "embedding": lambda: nn.Sequential(nn.Unflatten(1, (7, 1)), nn.Conv1d(7, 7, 1), nn.Flatten()),
    "attention": lambda: nn.TransformerEncoderLayer(7, 1, 11, batch_first=True),
    "activation": nn.PReLU,
    "no bias": lambda: nn.Linear(7, 7, bias=False),
    "own": Gain,
}


@pytest.mark.parametrize("initialization", ["default", "he"])
@pytest.mark.parametrize("layer", LAYERS)
def test_any_layer_starts_from_the_seed_alone(layer, initialization, monkeypatch):
    use(monkeypatch, LAYERS[layer])
    torch.manual_seed(7)
    first = tensors_of(build(SHAPE, seed=1, initialization=initialization))
    before = torch.random.get_rng_state()
    again = tensors_of(build(SHAPE, seed=1, initialization=initialization))
    other = tensors_of(build(SHAPE, seed=2, initialization=initialization))
    assert torch.equal(torch.random.get_rng_state(), before), "the global generator was used"
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    assert all(tensor.isfinite().all() for tensor in first.values())


def test_a_layer_keeps_the_rule_of_its_own(monkeypatch):
    use(monkeypatch, Gain, lambda: nn.LayerNorm(7))
    first, second = (tensors_of(build(SHAPE, seed=seed)) for seed in (1, 2))
    assert torch.equal(first["encoder.1.shift"], torch.arange(7.0))
    assert torch.equal(first["encoder.2.weight"], torch.ones(7))
    for name in ("encoder.1.gain", "encoder.1.directions"):
        assert not torch.equal(first[name], second[name])


def test_other_layers_leave_the_bits_of_linear_ones_as_they_are(monkeypatch):
    use(monkeypatch)
    plain = build(SHAPE, seed=1)
    use(monkeypatch, Gain)
    assert torch.equal(tensors_of(build(SHAPE, seed=1))["decoder.weight"], tensors_of(plain)["decoder.weight"])


@pytest.mark.parametrize("kind", ["parameter", "older constructor", "buffer", "counts", "a part of a parameter"])
def test_what_nothing_initializes_is_refused_by_its_name(kind, monkeypatch):
    use(monkeypatch, lambda: Bare(kind))
    with pytest.raises(ValueError, match=r"^a network leaves encoder\.1\.gain uninitialized; allowed: layers that set"):
        build(SHAPE, seed=1)


def test_a_lazy_layer_is_refused_by_its_name(monkeypatch):
    use(monkeypatch, nn.LazyBatchNorm1d)
    with pytest.raises(ValueError, match=r"leaves encoder\.1\.weight, encoder\.1\.bias, encoder\.1\.running_mean"):
        build(SHAPE, seed=1)
