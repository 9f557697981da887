"""What a user's own part must keep to: one that does passes, and each rule that is broken is named in one line."""

import pytest
import torch

from rdstudy.model.contract import check_network
from rdstudy.model.description import NetworkShape
from rdstudy.study import Member, Recipe
from rdstudy.study.sources import Source, keep_source
from rdstudy.training.contract import check_own_parts

SHAPE = (3, 2, 1)
LATENT = 2
HEAD = """
import numpy as np
import torch
from torch import Tensor, nn
from rdstudy.model.likelihoods import Likelihood
from rdstudy.model.priors import Prior
from rdstudy.training.objectives import Objective
"""
NET = """
class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Linear(inputs, 5)
        self.middle = MIDDLE
        self.last = nn.Linear(5, outputs)

    def forward(self, x):
        return self.last(self.middle(self.first(x)))

def build(shape):
    return Net(shape.pixels, 2 * shape.latent_dim), Net(shape.latent_dim, shape.pixels)
"""
PRIOR = """
class Laplace(Prior):
    def __init__(self, shape):
        super().__init__()
        self.latent = shape.latent_dim
        self.log_scale = nn.Parameter(torch.zeros(shape.latent_dim))

    def log_density(self, z, encode):
        return (-z.abs() * torch.exp(-self.log_scale) - self.log_scale - 0.6931471805599453).sum(dim=-1)

    def sample(self, count, generator, encode):
        u = torch.rand(count, self.latent, generator=generator, device=generator.device) - 0.5
        return -torch.exp(self.log_scale) * u.sign() * torch.log1p(-2 * u.abs())
"""
LIKELIHOOD = """
def laplace():
    return Likelihood(
        distortion=lambda output, x: ((output - x).abs() / 0.1 + LOG).sum(dim=-1),
        mean=lambda output: output,
        floor=lambda x: LOG * x.shape[-1] + torch.zeros_like(x[..., 0]),
        simulate=lambda output, generator: output + 0.1 * torch.randn(output.shape, generator=generator),
        gradient=lambda output, x: (output - x).sign() / 0.1,
    )

LOG = -1.6094379124341003
"""
OBJECTIVE = """
def free(*, bits: float = 0.5):
    return Objective(loss=lambda t: t.distortion + t.beta * t.rate.clamp(min=bits))
"""
OPTIMIZER = """
def momentum(groups, capturable):
    return torch.optim.SGD(groups, momentum=0.5)
"""
SCHEDULE = """
def falling():
    return lambda step, steps: 1 - step / steps
"""


def level(name: str, body: str) -> str:
    return f"{name}@{keep_source(Source('mine.py', (HEAD + body).encode())).digest}"


def check(**levels: str) -> None:
    of_recipe = {name: levels.pop(name) for name in ("optimizer", "schedule") if name in levels}
    recipe = Recipe(steps=13, **of_recipe)  # type: ignore[arg-type]
    settings = {"depth": 1, "width": 5, "architecture": "mlp", **levels}
    member = Member("toy", "cv(3)", latent_dim=LATENT, beta=1.0, seed=0, recipe=recipe, **settings)  # type: ignore[arg-type]
    check_own_parts(member.cell, SHAPE)


MIDDLES = {
    "nn.LayerNorm(5)": "",
    "nn.Sequential(nn.Unflatten(1, (5, 1)), nn.GroupNorm(1, 5), nn.Flatten(), nn.SiLU())": "",
    "nn.BatchNorm1d(5)": r"encoder\.middle \(BatchNorm1d\) keeps state between steps; allowed: layers without",
    "nn.BatchNorm1d(5, track_running_stats=False)": r"encoder\.middle \(BatchNorm1d\) lets an image depend on",
    "nn.Sequential(nn.Identity(), nn.Dropout(0.5))": r"encoder\.middle\.1 \(Dropout\) gives another output for",
    "Noise()": r"encoder\.middle \(Noise\) gives another output for the same input",
    "Bare()": r"a network leaves encoder\.middle\.scale, decoder\.middle\.scale uninitialized",
    "Frozen()": r"encoder\.middle\.scale is a parameter that is not trained",
    "Elsewhere()": r"encoder\.middle\.scale is another one when it is made again",
    "Host()": r"two members stacked, mine\.py, line \d+: RuntimeError: ",
    "Raises()": r"mine\.py, line \d+: KeyError: 'no'",
    "nn.LazyLinear(5)": r"uninitialized",
    "nn.Linear(7, 5)": r"RuntimeError: .* shapes cannot be multiplied",
}
LAYERS = """
class Noise(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)

class Scaled(nn.Module):
    def forward(self, x):
        return x * self.scale

class Bare(Scaled):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.empty(5))

class Frozen(Scaled):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(5), requires_grad=False)

class Elsewhere(Scaled):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(np.random.default_rng().normal(size=5), dtype=torch.float32))

class Host(nn.Module):
    def forward(self, x):
        return x if x.is_meta or x[0, 0] > -1e9 else -x

class Raises(nn.Module):
    def forward(self, x):
        raise KeyError("no")
"""


@pytest.mark.parametrize(("middle", "expected"), MIDDLES.items())
def test_layers_of_an_architecture(middle, expected):
    body = LAYERS + NET.replace("MIDDLE", middle)
    if not expected:
        return check(architecture=level("build", body))
    with pytest.raises(ValueError, match=rf"^architecture build@[0-9a-f]{{16}}.*{expected}"):
        check(architecture=level("build", body))


GOOD_NET = NET.replace("MIDDLE", "nn.ReLU()")
BROKEN = {
    "another width": (
        "architecture",
        "build",
        GOOD_NET.replace("2 * shape.latent_dim", "shape.latent_dim"),
        r"encoder\(input \[2, 6\]\) is \[2, 2\], torch.float32; allowed: \[2, 4\]",
    ),
    "one module": (
        "architecture",
        "build",
        GOOD_NET.replace("return Net(shape.pixels, 2 * shape.latent_dim),", "return"),
        r"makes a Net; allowed: \(encoder, decoder\)",
    ),
    "a prior for an architecture": (
        "architecture",
        "Laplace",
        PRIOR,
        r"makes a Laplace; allowed: \(encoder, decoder\)",
    ),
    "an architecture for a prior": ("prior", "build", GOOD_NET, r"makes a tuple; allowed: a Prior"),
    "no sum": ("prior", "Laplace", PRIOR.replace(".sum(dim=-1)", ""), r"log_density\(z\) is \[2, 2\]"),
    "no density": (
        "prior",
        "Laplace",
        PRIOR.replace("- 0.6931471805599453", "- float('inf')"),
        r"log_density\(z\) is not finite",
    ),
    "no derivative": (
        "prior",
        "Laplace",
        PRIOR.replace("(-z.abs()", "(-z.detach().abs()"),
        r"derivative|differentiated",
    ),
    "a look at a number": (
        "prior",
        "Laplace",
        PRIOR.replace("(self, z, encode):", "(self, z, encode):\n        float(self.latent * torch.ones(1))"),
        r"on PyTorch's meta device, where its cost is counted, mine\.py, line \d+: RuntimeError",
    ),
    "a number that stays where it is": (
        "architecture",
        "build",
        GOOD_NET.replace("return self.last(", "return ONES * self.last(") + "\nONES = torch.ones(1)\n",
        r"on PyTorch's meta device, .* mine\.py, line \d+: RuntimeError: .*; allowed: .* parameters and buffers$",
    ),
    "another generator": (
        "prior",
        "Laplace",
        PRIOR.replace("generator=generator, device=generator.device", ""),
        r"sample draws by something else than the generator",
    ),
    "an uncertain density": (
        "prior",
        "Laplace",
        PRIOR.replace("(-z.abs()", "(-(z + torch.randn_like(z)).abs()"),
        r"log_density\(z\) is another one at the second call",
    ),
    "a floor too high": (
        "likelihood",
        "laplace",
        LIKELIHOOD.replace("floor=lambda x: LOG", "floor=lambda x: 99"),
        r"floor \d.* is above a distortion",
    ),
    "a wrong gradient": (
        "likelihood",
        "laplace",
        LIKELIHOOD.replace("gradient=lambda output, x: (output - x)", "gradient=lambda output, x: (x - output)"),
        r"gradient is not the derivative of distortion",
    ),
    "a mean of all": (
        "likelihood",
        "laplace",
        LIKELIHOOD.replace("mean=lambda output: output", "mean=lambda output: output.mean()"),
        r"mean is \[\]",
    ),
    "no likelihood": ("likelihood", "free", OBJECTIVE, r"makes a Objective; allowed: a Likelihood"),
    "a loss of the batch": (
        "objective",
        "free",
        OBJECTIVE.replace("min=bits)", "min=bits).mean()"),
        r"loss lets a member depend on another",
    ),
    "a loss without a term an image": (
        "objective",
        "free",
        OBJECTIVE.replace("t.distortion +", "t.distortion.mean() + 0 *").replace("t.rate.clamp(min=bits)", "1"),
        r"loss is \[3, 1\]",
    ),
    "an infinite loss": ("objective", "free", OBJECTIVE.replace("t.distortion +", "t.distortion / 0 +"), "not finite"),
    "a negative factor": (
        "schedule",
        "falling",
        SCHEDULE.replace("1 - step", "0.5 - step"),
        r"factor at step \d+ is -0\.\d+; allowed: a finite number",
    ),
    "no optimizer": (
        "optimizer",
        "falling",
        SCHEDULE.replace("falling()", "falling(groups, capturable)"),
        "makes a func",
    ),
    "an optimizer that couples": (
        "optimizer",
        "momentum",
        OPTIMIZER + "\nclass Clipped(torch.optim.SGD):\n    def step(self, closure=None):\n"
        "        nn.utils.clip_grad_norm_(self.param_groups[0]['params'], 1.0)\n        super().step()\n"
        "def momentum(groups, capturable):\n    return Clipped(groups)\n",
        r"moved by the gradients of another",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_is_one_line_that_names_it(name):
    kind, made, body, expected = BROKEN[name]
    with pytest.raises(ValueError, match=rf"^{kind} {made}@[0-9a-f]{{16}}.*(?:{expected})") as caught:
        check(**{kind: level(made, body)})
    assert "\n" not in str(caught.value)


def test_parts_that_keep_to_it_pass():
    check(
        architecture=level("build", GOOD_NET),
        prior=level("Laplace", PRIOR),
        likelihood=level("laplace", LIKELIHOOD),
        objective=level("free", OBJECTIVE),
        optimizer=level("momentum", OPTIMIZER),
        schedule=level("falling", SCHEDULE),
    )


def test_weights_shared_by_encoder_and_decoder_are_refused():
    """The stacked decoder would not see those that are the encoder's."""
    shared = f"""{GOOD_NET.replace("nn.ReLU()", "nn.Linear(5, 5)")}
def sharing(shape):
    encoder, decoder = build(shape)
    decoder.middle.weight = encoder.middle.weight
    return encoder, decoder
"""
    with pytest.raises(ValueError, match=r"two members stacked: decoder gives other outputs or gradients"):
        check(architecture=level("sharing", shared))


def test_built_in_parts_are_not_looked_at(monkeypatch):
    monkeypatch.setattr("rdstudy.model.contract.build", None)
    check_network(NetworkShape("mlp", 1, 5, LATENT, SHAPE, "mixture(k=2)", "gaussian"))


def test_the_generators_are_where_they_were():
    before = torch.random.get_rng_state()
    check(architecture=level("build", GOOD_NET + "# once"), prior=level("Laplace", PRIOR + "# once"))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_layer_that_is_called_twice_is_stacked_and_one_of_two_names_is_refused():
    twice = GOOD_NET.replace("nn.ReLU()", "nn.Linear(5, 5)")
    called = twice.replace("self.middle(self.first(x))", "self.middle(self.middle(self.first(x)))")
    check(architecture=level("build", called))
    named = called.replace("self.middle =", "self.again = self.middle =").replace(
        "self.middle(self.mid", "self.again(self.mid"
    )
    with pytest.raises(ValueError, match=r"encoder\.again and encoder\.middle are one module; allowed: one name"):
        check(architecture=level("build", named))


def test_a_parameter_that_stands_at_two_places_of_a_network_is_stacked():
    tied = GOOD_NET.replace("nn.ReLU()", "nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))").replace(
        "        self.last =", "        self.middle[1].weight = self.middle[0].weight\n        self.last ="
    )
    check(architecture=level("build", tied))
